package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema"
)

func TestAddAndDelBridged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(bridgedHost, w.hostLocal("host-local"))
	o := w.call(runtimeOf("ADD").saying(ofPod("uid-1")), conf).ok(t)

	host := w.hostValue(testContainer, "net1")
	pod := w.podValue("uid-1", "net1")
	if want := (&schema.BridgeEnd{Name: "4", DomainID: 4}); !cmp.Equal(host.Bridge, want) || host.Memif.Role != schema.MemifMaster || pod.Memif.Role != schema.MemifSlave {
		t.Errorf("wrong ends: %+v %+v", host, pod)
	}
	if host.Pod != (schema.PodRef{ID: "uid-1", Namespace: "ns", Name: "pod"}) || host.Sandbox != "/var/run/netns/test" || host.BootID == "" {
		t.Errorf("wrong pod: %+v", host)
	}
	if len(host.Gateways)+len(host.PodAddresses) != 0 {
		t.Errorf("a bridged host end has addresses: %+v", host)
	}
	if got := show(pod.Addresses); got != `["10.1.0.2/24"]` {
		t.Errorf("pod has addresses %s", got)
	}
	want := `{
  "cniVersion": "1.1.0",
  "interfaces": [
    {"name": "net1", "mac": "` + pod.MAC.String() + `", "mtu": 9000, "sandbox": "/var/run/netns/test", "socketPath": "/run/vpp-cni/pods/uid-1/net1.memif"},
    {"name": "memif1/0", "mac": "` + host.MAC.String() + `", "mtu": 9000, "socketPath": "/run/vpp-cni/pods/uid-1/net1.memif"}
  ],
  "ips": [{"interface": 0, "address": "10.1.0.2/24", "gateway": "10.1.0.1"}],
  "routes": [{"dst": "0.0.0.0/0"}]
}`
	sameJSON(t, want, o.stdout)

	w.call(runtimeOf("CHECK").saying(ofPod("uid-1")), w.conf(bridgedHost, w.hostLocal("host-local"), `"prevResult":`+o.stdout)).ok(t)
	w.call(runtimeOf("DEL").saying(ofPod("uid-1")), conf).ok(t)
	w.nothingLeft()
}

// sameJSON compares two JSON texts by content.
func sameJSON(t *testing.T, want, got string) {
	t.Helper()
	var w, g any
	mustJSON(t, want, &w)
	mustJSON(t, got, &g)
	if d := cmp.Diff(w, g); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

var _ = strings.Contains
