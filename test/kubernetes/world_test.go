package kubernetes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/test/kubernetes/cluster"
	"github.com/vpp-cni/vpp-cni/test/lab"
	"github.com/vpp-cni/vpp-cni/test/proc"
)

const (
	deployDir = "../../deploy/kubernetes"
	runDir    = "/run/vpp-cni"
	system    = "vpp-cni"
	samples   = "vpp-cni-samples"
	keyPrefix = "/vpp-cni/v1/"
	// settle is how long the node may take to be as it should after a fault:
	// kubelet and runtime try again with back-off.
	settle = 90 * time.Second
)

// world is the cluster with VPP CNI in it.
type world struct {
	*cluster.Cluster
	etcd *clientv3.Client
	// overlay is what is applied of deploy/kubernetes.
	overlay string
	// empty is what the host's VPP held before the first pod.
	empty []string
	// networks are the names of the pods' networks by interface.
	networks map[string]string
}

// pod is a running pod of the samples, with its address by interface.
type pod struct {
	Name, UID, Sandbox string
	IPs                map[string]string
}

// vpp is the pod's VPP, as the host sees its socket.
func (p pod) vpp() *proc.VPP {
	dir := filepath.Join("/var/lib/kubelet/pods", p.UID, "volumes/kubernetes.io~empty-dir/vpp")
	return &proc.VPP{Process: proc.New(p.Name, dir, ""), Dir: dir, APISocket: filepath.Join(dir, "api.sock")}
}

func hostVPP() *proc.VPP {
	return &proc.VPP{Process: proc.New("vpp", "/run/vpp", ""), Dir: "/run/vpp", APISocket: "/run/vpp/api.sock"}
}

// kubectl runs kubectl; what it cannot do ends the test.
func (w *world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	out, err := w.Kubectl(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually waits until ok has no objection; the last one ends the test.
func (w *world) eventually(t *testing.T, what string, ok func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	start := time.Now()
	var last error
	for {
		err := ok(ctx)
		if err == nil {
			t.Logf("%s: after %.1f s", what, time.Since(start).Seconds())
			return
		}
		if last == nil || ctx.Err() == nil { // an objection says more than the end of the time
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, settle, last)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// podList is what is used of kubectl get pods -o json.
type podList struct {
	Items []struct {
		Metadata struct {
			Name, UID         string
			DeletionTimestamp *string
			Annotations       map[string]string
		}
		Status struct {
			PodIP      string
			Phase      string
			Conditions []struct{ Type, Status string }
		}
	}
}

// pods are the samples' pods that are not going; an error unless all are ready.
func (w *world) pods(ctx context.Context) ([]pod, error) {
	out, err := w.Kubectl(ctx, "get", "pods", "-n", samples, "-o", "json")
	if err != nil {
		return nil, err
	}
	var list podList
	if err = json.Unmarshal([]byte(out), &list); err != nil {
		return nil, err
	}
	var pods []pod
	for _, i := range list.Items {
		ready := slices.ContainsFunc(i.Status.Conditions, func(c struct{ Type, Status string }) bool { return c.Type == "Ready" && c.Status == "True" })
		if i.Metadata.DeletionTimestamp != nil || !ready {
			return nil, fmt.Errorf("pod %s is %s, ready %v, deletion %v", i.Metadata.Name, i.Status.Phase, ready, i.Metadata.DeletionTimestamp)
		}
		p := pod{Name: i.Metadata.Name, UID: i.Metadata.UID, IPs: map[string]string{"eth0": i.Status.PodIP}}
		if err = p.readStatus(i.Metadata.Annotations[networkStatus]); err != nil {
			return nil, err
		}
		if len(p.IPs) != len(w.networks) {
			return nil, fmt.Errorf("pod %s has the addresses %v, its networks are %v", p.Name, p.IPs, w.networks)
		}
		if p.Sandbox, err = w.sandbox(ctx, p.UID); err != nil {
			return nil, err
		}
		pods = append(pods, p)
	}
	slices.SortFunc(pods, func(a, b pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, nil
}

// networkStatus is where Multus tells what a pod's interfaces got.
const networkStatus = "k8s.v1.cni.cncf.io/network-status"

// readStatus takes the addresses that Multus tells of.
func (p pod) readStatus(annotation string) error {
	if annotation == "" {
		return nil
	}
	var list []struct {
		Name, Interface string
		IPs             []string
	}
	if err := json.Unmarshal([]byte(annotation), &list); err != nil {
		return fmt.Errorf("pod %s: %s: %w", p.Name, networkStatus, err)
	}
	for _, n := range list {
		if len(n.IPs) != 1 {
			return fmt.Errorf("pod %s: %s: %s", p.Name, networkStatus, annotation)
		}
		p.IPs[n.Interface] = n.IPs[0]
	}
	return nil
}

// sandbox is the id of the pod's live sandbox, as the runtime has it. The kubelet
// keeps the last dead one of a pod too.
func (w *world) sandbox(ctx context.Context, uid string) (string, error) {
	tasks, err := w.tasks(ctx, sandboxLabel+`,labels."io.kubernetes.pod.uid"==`+uid)
	if err != nil {
		return "", err
	}
	if len(tasks) != 1 {
		return "", fmt.Errorf("pod %s has the sandboxes %v, one is wanted", uid, tasks)
	}
	for id := range tasks {
		return id, nil
	}
	return "", nil
}

// ping lets each pod's VPP ping each other pod on each network.
func (w *world) ping(ctx context.Context, pods []pod) error {
	for _, from := range pods {
		for _, to := range pods {
			for ifname := range w.networks {
				if from.UID == to.UID {
					continue
				}
				if err := pingOne(ctx, from, to.IPs[ifname]); err != nil {
					return fmt.Errorf("%s to %s on %s: %w", from.Name, to.Name, ifname, err)
				}
			}
		}
	}
	return nil
}

func pingOne(ctx context.Context, from pod, to string) error {
	dst, err := netip.ParseAddr(to)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, _, err = lab.Ping(ctx, from.vpp(), dst, 3)
	return err
}

// well waits until two pods are ready, ping each other, and nothing is there of any
// other: what every scenario ends with.
func (w *world) well(t *testing.T) []pod {
	t.Helper()
	var pods []pod
	w.eventually(t, "two pods are ready, ping each other, and nothing is there of others", func(ctx context.Context) (err error) {
		if pods, err = w.pods(ctx); err != nil {
			return err
		}
		if len(pods) != 2 {
			return fmt.Errorf("there are %d pods", len(pods))
		}
		if err = w.ping(ctx, pods); err != nil {
			return err
		}
		return w.exactly(ctx, pods)
	})
	return pods
}

// pair is the two pods that the scenario before has left.
func (w *world) pair(t *testing.T) []pod {
	t.Helper()
	pods, err := w.pods(t.Context())
	if err == nil && len(pods) != 2 {
		err = fmt.Errorf("there are %d pods", len(pods))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

// exactly compares what is on the node and in etcd with what these pods need.
func (w *world) exactly(ctx context.Context, pods []pod) error {
	return errors.Join(w.keysOf(ctx, pods), directoriesOf(pods), w.addressesOf(pods), w.namespacesOf(pods), w.vppOf(ctx, pods))
}

func (w *world) keysOf(ctx context.Context, pods []pod) error {
	resp, err := w.etcd.Get(ctx, keyPrefix+"nodes/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	var got []string
	for _, kv := range resp.Kvs {
		got = append(got, strings.TrimPrefix(string(kv.Key), keyPrefix+"nodes/"+cluster.NodeName+"/"))
	}
	want := []string{"agent"}
	for _, p := range pods {
		for ifname := range w.networks {
			want = append(want, "host/"+p.Sandbox+"/"+ifname, "host-status/"+p.Sandbox+"/"+ifname, "pods/"+p.UID+"/interfaces/"+ifname, "pods/"+p.UID+"/status/"+ifname)
		}
	}
	return same("keys in etcd", got, want)
}

func directoriesOf(pods []pod) error {
	got, err := names(filepath.Join(runDir, "pods"), nil)
	if err != nil {
		return err
	}
	var want []string
	for _, p := range pods {
		want = append(want, p.UID)
	}
	return same("directories of sockets", got, want)
}

func (w *world) addressesOf(pods []pod) error {
	var got, want []string
	for ifname, network := range w.networks {
		files, err := names(filepath.Join("/var/lib/cni/networks", network), func(name string) bool {
			_, err := netip.ParseAddr(name)
			return err == nil
		})
		if err != nil {
			return err
		}
		got = append(got, files...)
		for _, p := range pods {
			want = append(want, p.IPs[ifname])
		}
	}
	return same("addresses in host-local's store", got, want)
}

func (w *world) namespacesOf(pods []pod) error {
	got, err := names("/run/netns", nil)
	if err != nil {
		return err
	}
	if len(got) != len(pods) {
		return fmt.Errorf("network namespaces %v, %d are wanted", got, len(pods))
	}
	return nil
}

// vppOf holds VPP to etcd by vpp-cnictl, and an idle VPP to what it was at the
// beginning.
func (w *world) vppOf(ctx context.Context, pods []pod) error {
	out, err := w.cnictl(ctx, "verify")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if len(pods) > 0 {
		return nil
	}
	now, err := vppObjects(ctx)
	if err != nil {
		return err
	}
	return same("objects in the host's VPP", now, w.empty)
}

func vppObjects(ctx context.Context) ([]string, error) {
	objects, err := (&lab.Node{VPP: hostVPP()}).VPPObjects(ctx)
	slices.Sort(objects)
	return objects, err
}

// cnictl runs vpp-cnictl with the node's configuration.
func (w *world) cnictl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, bin("vpp-cnictl"), args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("vpp-cnictl %s: %w", strings.Join(args, " "), err)
	}
	return string(out), err
}

// names lists a directory, all or those that count; one that is missing is empty.
func names(dir string, counts func(string) bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if counts == nil || counts(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

func same(what string, got, want []string) error {
	slices.Sort(got)
	slices.Sort(want)
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("%s (- wanted, + there):\n%s", what, cmp.Diff(want, got))
}
