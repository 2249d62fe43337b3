package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/test/kubernetes/cluster"
)

// TestKubernetes walks one cluster through a node's life. What a step leaves
// behind is what the next one begins with, and each ends with the whole looked
// over (world.well); the first that fails is the last.
func TestKubernetes(t *testing.T) {
	w := up(t)
	_ = t.Run("everything comes up from nothing", w.comesUp) &&
		t.Run("the API server takes every manifest", w.manifests) &&
		t.Run("two pods ping", w.twoPods) &&
		t.Run("pods have nothing else of the node", w.admission) &&
		t.Run("the node gets a certificate of its own", w.ownCertificate) &&
		t.Run("the checks bite", w.checksBite) &&
		t.Run("a pod is deleted", w.deletePod) &&
		t.Run("a pod is deleted by force", w.deletePodByForce) &&
		t.Run("a pause process is killed", w.killPause) &&
		t.Run("a pod is deleted during its ADD", w.deleteDuringADD) &&
		t.Run("containerd restarts", w.restartContainerd) &&
		t.Run("the kubelet restarts", w.restartKubelet) &&
		t.Run("the agent restarts", w.restartAgent) &&
		t.Run("VPP restarts", w.restartVPP) &&
		t.Run("the agent is updated under traffic", w.updateAgent) &&
		t.Run("etcd is away", w.etcdAway) &&
		t.Run("the node is drained", w.drain) &&
		t.Run("the node reboots", w.reboot) &&
		t.Run("all pods go", w.allGo) &&
		t.Run("Multus attaches three more networks", w.multus) &&
		t.Run("the scheduler counts attachments", w.counted) &&
		t.Run("the plugin is uninstalled", w.uninstall)
}

func (w *world) comesUp(t *testing.T) {
	if err := w.nodeReady(t.Context()); err == nil {
		t.Fatal("the node is Ready without a network")
	}
	w.install(t)
	w.eventually(t, "the node is Ready", w.nodeReady)
	for _, o := range []string{"statefulset/etcd", "daemonset/vpp", "daemonset/vpp-agent"} {
		w.rolledOut(t, o)
	}
	var err error
	if w.empty, err = vppObjects(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, "nothing is there of pods", func(ctx context.Context) error { return w.exactly(ctx, nil) })
}

// manifests lets the API server check what is delivered, as it is: the tests' own
// overlays change it for a node that is alone.
func (w *world) manifests(t *testing.T) {
	w.kubectl(t, "apply", "-f", "testdata/multus/crd.yaml")
	w.kubectl(t, "wait", "--for=condition=Established", "crd/network-attachment-definitions.k8s.cni.cncf.io", "--timeout=30s")
	for _, dir := range []string{"overlays/only-cni", "overlays/multus", "overlays/shared-etcd", "uninstall"} {
		w.kubectl(t, "apply", "--dry-run=server", "--validate=strict", "-k", filepath.Join(deployDir, dir))
	}
}

func (w *world) twoPods(t *testing.T) {
	w.kubectl(t, "apply", "-k", filepath.Join(deployDir, "samples/ping"))
	w.well(t)
	t.Logf("kubectl get pods -A -o wide\n%s", w.kubectl(t, "get", "pods", "-A", "-o", "wide"))
	for _, args := range [][]string{{"get", "nodes"}, {"get", "attachments"}} {
		out, err := w.cnictl(t.Context(), args...)
		if err != nil {
			t.Error(err)
		}
		t.Logf("vpp-cnictl %s\n%s", strings.Join(args, " "), out)
	}
}

// checksBite puts something of a pod that is not there in each place that is
// looked at.
func (w *world) checksBite(t *testing.T) {
	pods := w.pair(t)
	key := keyPrefix + "nodes/" + cluster.NodeName + "/host/" + strings.Repeat("0", 64) + "/eth0"
	dir := filepath.Join(runDir, "pods", "11111111-1111-1111-1111-111111111111")
	address := "/var/lib/cni/networks/pods/10.244.0.250"
	netns := "/run/netns/stray"
	if _, err := w.etcd.Put(t.Context(), key, `{"mac":1}`); err != nil {
		t.Fatal(err)
	}
	if err := w.keysOf(t.Context(), pods); err == nil {
		t.Error("a stray key is not found")
	}
	if _, err := w.etcd.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := directoriesOf(pods); err == nil {
		t.Error("a stray directory is not found")
	}
	if err := errors.Join(os.RemoveAll(dir), os.WriteFile(address, nil, 0o600), os.WriteFile(netns, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := w.addressesOf(pods); err == nil {
		t.Error("a stray address is not found")
	}
	if err := w.namespacesOf(pods); err == nil {
		t.Error("a stray network namespace is not found")
	}
	if err := errors.Join(os.Remove(address), os.Remove(netns)); err != nil {
		t.Fatal(err)
	}
	w.cutIsSeen(t, pods)
	w.well(t)
}

// cutIsSeen stops the host's VPP for as long as a memif that is made anew is away.
func (w *world) cutIsSeen(t *testing.T, pods []pod) {
	t.Helper()
	flow, err := startTraffic(t.Context(), pods[0], pods[1])
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	vpp := w.podOf(t, "vpp")
	w.signal(t, system, vpp, "vpp", syscall.SIGSTOP)
	time.Sleep(time.Second)
	w.signal(t, system, vpp, "vpp", syscall.SIGCONT)
	if said, err := flow.end(); err == nil {
		t.Errorf("a second without VPP is not found: %s", said)
	}
}

func (w *world) deletePod(t *testing.T) {
	old := w.pair(t)[0]
	w.kubectl(t, "delete", "pod", "-n", samples, old.Name)
	w.without(t, old)
}

func (w *world) deletePodByForce(t *testing.T) {
	old := w.pair(t)[0]
	w.kubectl(t, "delete", "pod", "-n", samples, old.Name, "--force", "--grace-period=0")
	w.without(t, old)
}

// without waits until two pods are well, the old one not among them.
func (w *world) without(t *testing.T, old pod) {
	t.Helper()
	pods := w.well(t)
	if slices.ContainsFunc(pods, func(p pod) bool { return p.UID == old.UID }) {
		t.Errorf("pod %s is still there: %v", old.UID, pods)
	}
}

// killPause lets a sandbox die under its pod: the runtime makes another one for
// the same UID, and tells of the old one's end later.
func (w *world) killPause(t *testing.T) {
	old := w.pair(t)[0]
	w.signal(t, samples, old.Name, "", syscall.SIGKILL)
	w.eventually(t, "the pod has a new sandbox", func(ctx context.Context) error {
		id, err := w.sandbox(ctx, old.UID)
		if err == nil && id == old.Sandbox {
			err = errors.New("it is the old one")
		}
		return err
	})
	w.well(t)
}

// deleteDuringADD holds the agent while the plugin waits for it.
func (w *world) deleteDuringADD(t *testing.T) {
	before := w.pair(t)
	agent := w.podOf(t, "vpp-agent")
	w.signal(t, system, agent, "agent", syscall.SIGSTOP)
	defer w.signal(t, system, agent, "agent", syscall.SIGCONT)
	w.kubectl(t, "scale", "-n", samples, "deployment/ping", "--replicas=3")
	w.eventually(t, "an ADD waits for the agent", func(ctx context.Context) error {
		resp, err := w.etcd.Get(ctx, keyPrefix+"nodes/"+cluster.NodeName+"/host/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil && resp.Count != 3 {
			err = errors.New("no key of it is there")
		}
		return err
	})
	w.kubectl(t, "scale", "-n", samples, "deployment/ping", "--replicas=2")
	w.signal(t, system, agent, "agent", syscall.SIGCONT)
	if after := w.well(t); !cmp.Equal(before, after) {
		t.Errorf("the pods were %v, they are %v", before, after)
	}
}

// unmoved runs what must not touch pods: they are the same as before, no packet
// between them is lost meanwhile, and the agents have nothing to say of it.
func (w *world) unmoved(t *testing.T, run func()) {
	t.Helper()
	before := w.pair(t)
	revisions := w.statuses(t)
	flow, err := startTraffic(t.Context(), before[0], before[1])
	if err != nil {
		t.Fatal(err)
	}
	run()
	said, err := flow.end()
	if err != nil {
		t.Error(err)
	}
	t.Log(said)
	if after := w.well(t); !cmp.Equal(before, after) {
		t.Errorf("the pods were %v, they are %v", before, after)
	}
	if now := w.statuses(t); !maps.Equal(revisions, now) {
		t.Errorf("statuses were written meanwhile:\n%s", cmp.Diff(revisions, now))
	}
}

// statuses are the revisions of what the agents say of attachments.
func (w *world) statuses(t *testing.T) map[string]int64 {
	t.Helper()
	resp, err := w.etcd.Get(t.Context(), keyPrefix+"nodes/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, kv := range resp.Kvs {
		if key := string(kv.Key); strings.Contains(key, "status/") {
			out[key] = kv.ModRevision
		}
	}
	return out
}

func (w *world) restartContainerd(t *testing.T) {
	w.unmoved(t, func() {
		if err := errors.Join(w.Containerd.Kill(), w.Containerd.Start()); err != nil {
			t.Fatal(err)
		}
		w.eventually(t, "the node is Ready", w.nodeReady)
		time.Sleep(5 * time.Second)
	})
}

func (w *world) restartKubelet(t *testing.T) {
	w.unmoved(t, func() {
		if err := errors.Join(w.Kubelet.Kill(), w.Kubelet.Start()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		w.eventually(t, "the node is Ready", w.nodeReady)
	})
}

func (w *world) restartAgent(t *testing.T) {
	w.unmoved(t, func() { w.restarted(t, w.podOf(t, "vpp-agent"), "agent") })
}

// restarted kills a container and waits for the kubelet to start it again.
func (w *world) restarted(t *testing.T, pod, container string) {
	t.Helper()
	count := func(ctx context.Context) (string, error) {
		return w.Kubectl(ctx, "get", "pod", "-n", system, pod, "-o", `jsonpath={.status.containerStatuses[?(@.name=="`+container+`")].restartCount}`)
	}
	before, err := count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.signal(t, system, pod, container, syscall.SIGKILL)
	w.eventually(t, container+" is started again", func(ctx context.Context) error {
		after, err := count(ctx)
		if err == nil && after == before {
			err = errors.New("not yet")
		}
		return err
	})
	w.kubectl(t, "wait", "-n", system, "--for=condition=Ready", "pod/"+pod, "--timeout=60s")
}

// restartVPP takes the data path away: pods stay, and it comes back.
func (w *world) restartVPP(t *testing.T) {
	before := w.pair(t)
	w.restarted(t, w.podOf(t, "vpp"), "vpp")
	if after := w.well(t); !cmp.Equal(before, after) {
		t.Errorf("the pods were %v, they are %v", before, after)
	}
}

func (w *world) updateAgent(t *testing.T) {
	w.unmoved(t, func() {
		old := w.podOf(t, "vpp-agent")
		w.kubectl(t, "rollout", "restart", "-n", system, "daemonset/vpp-agent")
		w.rolledOut(t, "daemonset/vpp-agent")
		if now := w.podOf(t, "vpp-agent"); now == old {
			t.Errorf("the agent's pod is still %s", old)
		}
	})
}

// etcdAway takes etcd away for a minute: what runs goes on, a pod that is deleted
// waits.
func (w *world) etcdAway(t *testing.T) {
	const away = time.Minute
	before := w.pair(t)
	w.unmoved(t, func() {
		w.kubectl(t, "scale", "-n", system, "statefulset/etcd", "--replicas=0")
		time.Sleep(away)
		if err := w.nodeReady(t.Context()); (err != nil) != asksStatus() {
			t.Errorf("without etcd the node is: %v", err)
		}
		w.kubectl(t, "scale", "-n", system, "statefulset/etcd", "--replicas=1")
		w.rolledOut(t, "statefulset/etcd")
		w.rolledOut(t, "daemonset/vpp-agent")
		w.eventually(t, "the node is Ready", w.nodeReady)
	})
	w.kubectl(t, "scale", "-n", system, "statefulset/etcd", "--replicas=0")
	w.kubectl(t, "wait", "-n", system, "--for=delete", "pod/etcd-0", "--timeout=60s")
	w.kubectl(t, "delete", "pod", "-n", samples, before[0].Name, "--wait=false")
	time.Sleep(10 * time.Second)
	if _, err := os.Stat(filepath.Join(runDir, "pods", before[0].UID)); err != nil {
		t.Errorf("a pod's directory went while nobody could know that it may: %v", err)
	}
	w.kubectl(t, "scale", "-n", system, "statefulset/etcd", "--replicas=1")
	w.without(t, before[0])
}

// drain moves pods off the node; etcd's budget keeps its last member there.
func (w *world) drain(t *testing.T) {
	out, err := w.Kubectl(t.Context(), "drain", cluster.NodeName, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=15s")
	if err == nil || !strings.Contains(err.Error(), "disruption budget") {
		t.Errorf("the drain did not wait for etcd's disruption budget: %v: %s", err, out)
	}
	w.eventually(t, "nothing is left of the pods", func(ctx context.Context) error { return w.exactly(ctx, nil) })
	w.kubectl(t, "uncordon", cluster.NodeName)
	w.well(t)
}

func (w *world) reboot(t *testing.T) {
	old := w.pair(t)
	if err := w.PowerOff(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(runDir, 0o755), os.WriteFile(bootID, []byte("second\n"), 0o600), w.PowerOn(t.Context())); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, "the pods are those of this boot", func(ctx context.Context) error {
		for _, p := range old {
			if id, err := w.sandbox(ctx, p.UID); err != nil || id == p.Sandbox {
				return errors.Join(err, fmt.Errorf("pod %s: sandbox %s", p.Name, id))
			}
		}
		return nil
	})
	for _, p := range w.well(t) {
		if slices.ContainsFunc(old, func(o pod) bool { return o.Sandbox == p.Sandbox }) {
			t.Errorf("pod %s has the sandbox of the boot before", p.Name)
		}
	}
}

func (w *world) allGo(t *testing.T) {
	w.kubectl(t, "delete", "-k", filepath.Join(deployDir, "samples/ping"))
	w.eventually(t, "nothing is left", func(ctx context.Context) error { return w.exactly(ctx, nil) })
}

func (w *world) uninstall(t *testing.T) {
	w.kubectl(t, "delete", "-k", w.overlay, "--timeout=60s")
	w.kubectl(t, "apply", "-k", filepath.Join(deployDir, "uninstall"))
	w.rolledOut(t, "daemonset/vpp-cni-uninstall")
	for _, path := range []string{"/opt/cni/bin/vpp-cni", "/opt/cni/bin/userspace", "/etc/cni/net.d/00-vpp-cni.conflist", "/etc/vpp-cni/config.yaml", "/etc/vpp-cni/tls"} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	w.kubectl(t, "delete", "-k", filepath.Join(deployDir, "uninstall"), "--timeout=60s")
}
