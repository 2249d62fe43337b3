package kubernetes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/kubernetes/cluster"
)

const (
	resource = "vpp-cni.io/attachment"
	// limit is agent.maxAttachments of testdata/multus.
	limit = 16
	// infoDir is where Multus reads what devices attachments are.
	infoDir = "/var/run/k8s.cni.cncf.io/devinfo/cni"
)

// tooMany is a pod that asks for more attachments than the node has left.
const tooMany = `apiVersion: v1
kind: Pod
metadata: {name: too-many, namespace: vpp-cni-samples}
spec:
  automountServiceAccountToken: false
  containers:
    - name: app
      image: registry.k8s.io/pause:3.10
      imagePullPolicy: IfNotPresent
      resources: {limits: {vpp-cni.io/attachment: %d}}
`

// counted walks through what the kubelet and the scheduler make of the agent as a
// device plugin, on a node with Multus.
func (w *world) counted(t *testing.T) {
	w.networks = map[string]string{"eth0": "pods", "net1": "counted"}
	w.eventually(t, "all attachments can be had", w.allocatable(limit))
	w.kubectl(t, "apply", "-k", filepath.Join(deployDir, "samples/counted"))
	pods := w.well(t)
	for _, p := range pods {
		w.described(t, p)
	}
	// Each pod's eth0 is an attachment that it did not ask for as a device.
	w.eventually(t, "two less can be had", w.allocatable(limit-2))
	// Two of those are the pods' own: limit-4 are left.
	w.overfull(t, limit-3, "Pending", "Insufficient "+resource)
	w.overfull(t, limit-4, "Running", "")
	w.registersAgain(t, pods)
	w.kubectl(t, "delete", "-k", filepath.Join(deployDir, "samples/counted"))
	w.eventually(t, "nothing is left", func(ctx context.Context) error {
		files, err := names(infoDir, nil)
		if err == nil && len(files) > 0 {
			err = fmt.Errorf("device information is left: %v", files)
		}
		return errors.Join(err, w.exactly(ctx, nil))
	})
	w.eventually(t, "all can be had again", w.allocatable(limit))
}

// allocatable is how many attachments the API server has the node offer, of limit.
func (w *world) allocatable(want int) func(context.Context) error {
	return func(ctx context.Context) error {
		got, err := w.Kubectl(ctx, "get", "node", cluster.NodeName, "-o",
			`jsonpath={.status.allocatable.vpp-cni\.io/attachment} of {.status.capacity.vpp-cni\.io/attachment}`)
		if err == nil && got != fmt.Sprintf("%d of %d", want, limit) {
			err = fmt.Errorf("allocatable is %s, %d of %d is wanted", got, want, limit)
		}
		return err
	}
}

// described holds what Multus tells of a pod's device to what the pod has.
func (w *world) described(t *testing.T, p pod) {
	t.Helper()
	annotation := w.kubectl(t, "get", "pod", "-n", samples, p.Name, "-o", `jsonpath={.metadata.annotations.k8s\.v1\.cni\.cncf\.io/network-status}`)
	t.Logf("%s: %s", networkStatus, annotation)
	var list []struct {
		Interface string
		Info      map[string]any `json:"device-info"`
	}
	if err := json.Unmarshal([]byte(annotation), &list); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(runDir, "pods", p.UID, "net1.memif")
	want := fmt.Sprint(map[string]any{"type": "memif", "version": "1.1.0", "memif": map[string]any{"role": "slave", "mode": "ethernet", "path": path}})
	for _, i := range list {
		if got := fmt.Sprint(i.Info); i.Interface == "net1" && got != want {
			t.Errorf("device-info %s, want %s", got, want)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Type() != os.ModeSocket {
		t.Errorf("the socket that it names: %v, %v", st, err)
	}
	if len(list) != 2 {
		t.Errorf("%d interfaces, want 2", len(list))
	}
	for ifname, device := range map[string]bool{"eth0": false, "net1": true} {
		resp, err := w.etcd.Get(t.Context(), keyPrefix+"nodes/"+cluster.NodeName+"/host/"+p.Sandbox+"/"+ifname)
		if err != nil || len(resp.Kvs) != 1 {
			t.Fatalf("%s of %s: %v, %v", ifname, p.Name, resp, err)
		}
		host, err := schema.Decode[schema.HostInterface](resp.Kvs[0].Value)
		if err != nil || strings.HasPrefix(host.DeviceID, "attachment-") != device {
			t.Errorf("%s of %s has the device %q, %v", ifname, p.Name, host.DeviceID, err)
		}
	}
}

// overfull starts a pod that asks for n attachments, and waits until it is where it
// must come to.
func (w *world) overfull(t *testing.T, n int, phase, why string) {
	t.Helper()
	if _, err := w.KubectlApply(t.Context(), fmt.Sprintf(tooMany, n), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, fmt.Sprintf("a pod that asks for %d is %s", n, phase), func(ctx context.Context) error {
		out, err := w.Kubectl(ctx, "get", "pod", "-n", samples, "too-many", "-o", `jsonpath={.status.phase} {.status.conditions[?(@.type=="PodScheduled")].message}`)
		if err == nil && (!strings.HasPrefix(out, phase) || !strings.Contains(out, why)) {
			err = errors.New(out)
		}
		return err
	})
	w.kubectl(t, "delete", "pod", "-n", samples, "too-many", "--grace-period=1")
}

// registersAgain restarts the kubelet: it forgets its device plugins and removes
// their sockets.
func (w *world) registersAgain(t *testing.T, before []pod) {
	t.Helper()
	heard := func(ctx context.Context) (int, error) { // logs come through the kubelet
		out, err := w.Kubectl(ctx, "logs", "-n", system, "daemonset/vpp-agent", "-c", "agent")
		return strings.Count(out, "kubelet knows of the devices"), err
	}
	count, err := heard(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err = errors.Join(w.Kubelet.Kill(), w.Kubelet.Start()); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, "the agent has registered again", func(ctx context.Context) error {
		now, err := heard(ctx)
		if err == nil && now <= count {
			err = fmt.Errorf("the kubelet has heard of the devices %d times, before it was %d", now, count)
		}
		return err
	})
	w.eventually(t, "as many can be had as before", w.allocatable(limit-2))
	for i, p := range w.well(t) {
		if p.UID != before[i].UID || p.Sandbox != before[i].Sandbox {
			t.Errorf("pod %v, before the kubelet's restart it was %v", p, before[i])
		}
	}
}
