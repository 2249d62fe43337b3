package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/test/kubernetes/cluster"
)

// bootID is where the node's programs read which boot this is.
const bootID = runDir + "/boot_id"

// vppImageEnv names an image of a real VPP, which make test-kubernetes has docker
// save; without it the simulator is the VPP of all.
const vppImageEnv = "VPP_IMAGE"

// images are the archives that deploy/images has made, and VPP's.
func images() []string {
	vpp := "vppsim"
	if os.Getenv(vppImageEnv) != "" {
		vpp = "vpp"
	}
	var files []string
	for _, name := range []string{"agent", "cni", "container-agent", "etcd", vpp} {
		files = append(files, bin("kubernetes/images/"+name+".tar"))
	}
	return files
}

// nameVPP gives the image of a real VPP the name that the manifests have for
// VPP's, as the images: of an overlay would.
func nameVPP(ctx context.Context, c *cluster.Cluster) error {
	name := os.Getenv(vppImageEnv)
	if name == "" {
		return nil
	}
	if !strings.Contains(name, "/") {
		name = "library/" + name // as docker and the kubelet read it
	}
	_, err := c.Ctr(ctx, "images", "tag", "docker.io/"+name, "docker.io/vpp-cni/vppsim:latest")
	return err
}

// asksStatus says whether the runtime is containerd 2, which asks the plugin for
// STATUS; containerd 1.6 knows of no such call.
func asksStatus() bool { return os.Getenv("CTD2") != "" }

// overlay is what is applied first.
func overlay() string {
	if asksStatus() {
		return "testdata/containerd2"
	}
	return "testdata/only-cni"
}

// up starts the cluster.
func up(t *testing.T) *world {
	t.Helper()
	logs := bin("kubernetes/logs")
	if err := os.RemoveAll(logs); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	start := time.Now()
	runtime := ""
	if asksStatus() {
		runtime = bin("kubernetes/containerd2")
	}
	c, err := cluster.Start(ctx, cluster.Config{
		Containerd: runtime,
		Kube:       bin("kubernetes/kube"), Pause: bin("kubernetes/pause"), Images: images(), LogDir: logs,
		Plugins: []string{bin("kubernetes/loopback")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if stopErr := c.Stop(); stopErr != nil {
			t.Error(stopErr)
		}
	})
	if err = nameVPP(ctx, c); err != nil {
		t.Fatal(err)
	}
	version, err := c.Kubectl(ctx, "get", "nodes", "-o", "wide", "--no-headers")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a node registered after %.1f s: %s", time.Since(start).Seconds(), strings.Join(strings.Fields(version), " "))
	w := &world{Cluster: c, overlay: overlay(), networks: map[string]string{"eth0": "pods"}}
	t.Cleanup(func() {
		w.tell(t)
		if w.etcd != nil {
			_ = w.etcd.Close()
		}
	})
	return w
}

// tell shows, after a failure, what an operator would look at.
func (w *world) tell(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"get", "nodes,pods", "-A", "-o", "wide"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		{"logs", "-n", system, "daemonset/vpp-agent", "--all-containers", "--tail=40"},
		{"logs", "-n", system, "statefulset/etcd", "--tail=10"},
		{"logs", "-n", samples, "-l", "app.kubernetes.io/name=ping", "--all-containers", "--tail=20"},
	} {
		out, err := w.Kubectl(ctx, args...)
		t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	t.Logf("kubelet:\n%s\ncontainerd:\n%s", w.Kubelet.LogTail(15), w.Containerd.LogTail(30))
}

// install does what the documentation tells an operator to do.
func (w *world) install(t *testing.T) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(runDir, 0o755), os.WriteFile(bootID, []byte("first\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	secrets := certificates(t, pki, cluster.NodeIP)
	w.kubectl(t, "label", "node", cluster.NodeName, "node-restriction.kubernetes.io/vpp-cni-etcd=true")
	w.kubectl(t, "apply", "-k", filepath.Join(deployDir, "namespace"))
	if _, err := w.KubectlApply(t.Context(), secrets, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	w.kubectl(t, "apply", "-k", w.overlay)
	w.etcd = connect(t, "client")
}

// nodeReady is nil if the node is Ready.
func (w *world) nodeReady(ctx context.Context) error {
	out, err := w.Kubectl(ctx, "get", "node", cluster.NodeName, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")]}`)
	if err == nil && !strings.Contains(out, `"status":"True"`) {
		err = fmt.Errorf("%s", out)
	}
	return err
}

// rolledOut waits until an object of ours is as its template says. What is
// updated OnDelete has no rollout: there its pods have to be ready.
func (w *world) rolledOut(t *testing.T, object string) {
	t.Helper()
	w.eventually(t, object+" is rolled out", func(ctx context.Context) error {
		args := []string{"rollout", "status", object}
		if object == "daemonset/vpp" {
			args = []string{"wait", "--for=condition=Ready", "pod", "-l", "app.kubernetes.io/name=vpp"}
		}
		_, err := w.Kubectl(ctx, append(args, "-n", system, "--timeout=2s")...)
		return err
	})
}
