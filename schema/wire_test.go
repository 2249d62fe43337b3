package schema_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	addr   = netip.MustParseAddr
	prefix = netip.MustParsePrefix
)

func full() (schema.HostInterface, schema.PodInterface) {
	pod := schema.PodRef{ID: "6f1b1c1e-8d1f-4c57-9b1a-2f4f1a7f6a11", Namespace: "default", Name: "web-0"}
	host := schema.HostInterface{
		Network: "blue", Pod: pod, Sandbox: "/var/run/netns/cni-1", BootID: "b007", DeviceID: "attachment-0007", IfType: schema.Memif, NetType: schema.NetInterface,
		Memif: &schema.MemifEnd{Role: schema.MemifMaster, Mode: schema.MemifEthernet, Socket: "net1.memif", Secret: schema.NewSecret(`a"<b>&\c`)},
		MAC:   schema.MAC{2, 0xfe, 0, 0, 0, 1}, MTU: 1500, VRF: 10,
		Gateways:     []netip.Addr{addr("10.0.0.1"), addr("fd00::1")},
		PodAddresses: []netip.Addr{addr("10.0.0.2"), addr("fd00::2")},
	}
	end := schema.PodInterface{
		Network: "blue", Container: "5cca5b4d29c5", Pod: pod, IfType: schema.Memif, NetType: schema.NetInterface,
		Memif: &schema.MemifEnd{Role: schema.MemifSlave, Mode: schema.MemifEthernet, Socket: "net1.memif", Secret: schema.NewSecret(`a"<b>&\c`)},
		MAC:   schema.MAC{2, 0xfe, 0, 0, 0, 2}, MTU: 1500, VLAN: 100, Routed: true,
		Addresses: []netip.Prefix{prefix("10.0.0.2/24"), prefix("fd00::2/64")},
		Gateways:  []netip.Addr{addr("10.0.0.1"), addr("fd00::1")},
		DNS:       &schema.DNS{Nameservers: []string{"10.0.0.53"}, Domain: "lab", Search: []string{"lab", "example.net"}, Options: []string{"ndots:2"}},
		Routes:    []schema.Route{{Dst: prefix("0.0.0.0/0"), GW: addr("10.0.0.1")}, {Dst: prefix("10.9.0.0/16")}},
	}
	return host, end
}

// TestWireFormat: what is in etcd today must be readable tomorrow. A golden file
// that changes is a change of the contract.
func TestWireFormat(t *testing.T) {
	host, pod := full()
	since := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	index := uint32(0)
	bridged := schema.HostInterface{
		Network: "red", Pod: schema.PodRef{ID: "c1"}, IfType: schema.VhostUser, NetType: schema.NetBridge,
		VhostUser: &schema.VhostEnd{Role: schema.VhostServer, Socket: "net1.vhost"},
		Bridge:    &schema.BridgeEnd{Name: "red", DomainID: schema.FirstNamedDomain, VLAN: 100},
	}
	golden(t, "host-routed-memif", host)
	golden(t, "host-bridged-vhost-user", bridged)
	golden(t, "host-least", schema.HostInterface{
		Network: "n", Pod: schema.PodRef{ID: "p"}, IfType: schema.Memif, NetType: schema.NetNone,
		Memif: &schema.MemifEnd{Role: schema.MemifSlave, Mode: schema.MemifIP, Socket: "s"},
	})
	golden(t, "pod-routed-memif", pod)
	golden(t, "status-ready", schema.InterfaceStatus{
		SpecRevision: 42, State: schema.Ready, Reason: schema.ReasonApplied, Interface: "memif1/0",
		SwIfIndex: &index, MAC: schema.MAC{2, 0xfe, 0, 0, 0, 1}, MTU: 9000, Link: schema.LinkUp, SocketPath: "/run/vpp-cni/pods/p/net1.memif", Since: since,
	})
	golden(t, "status-failed", schema.InterfaceStatus{SpecRevision: 42, State: schema.Failed, Reason: schema.ReasonUnknownField, Message: `unknown field "x"`, Since: since})
	golden(t, "agent", schema.AgentInfo{
		Node: "worker-1", AgentVersion: "v0.1.0", Instance: "i1", PID: 4242, BootID: "b007", VPPVersion: "25.10", VPPPID: 77,
		RunDir: "/run/vpp-cni", Ready: false, Reason: schema.ReasonVPPDown, Message: "no VPP", Held: 3, Since: since,
	})
	golden(t, "status-removed", schema.InterfaceStatus{SpecRevision: 41, State: schema.Removed, Reason: schema.ReasonDetached, Since: since})
	golden(t, "release", schema.Release{Instance: "i1", At: since})
	golden(t, "network", schema.Network{DomainID: schema.FirstNamedDomain, VRF: 10, MTU: 1500})
	golden(t, "network-empty", schema.Network{})
	golden(t, "bridge-domain", schema.BridgeDomain{Network: "red"})
}

// golden compares v's JSON with testdata/<name>.json and reads it back.
func golden[V schema.Value](t *testing.T, name string, v V) {
	t.Helper()
	got, err := schema.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err = os.WriteFile(path, append(got, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.TrimSuffix(want, []byte("\n")); !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
	back, err := schema.Decode[V](want)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !reflect.DeepEqual(back, v) {
		t.Errorf("%s reads back as\n%+v\nwant\n%+v", name, back, v)
	}
}

// TestWireFieldsAreCovered: every field of every value stands in some golden file.
func TestWireFieldsAreCovered(t *testing.T) {
	seen := map[string]bool{}
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		names(v, seen)
	}
	for _, v := range []any{schema.HostInterface{}, schema.PodInterface{}, schema.InterfaceStatus{}, schema.AgentInfo{}, schema.Network{}, schema.BridgeDomain{}, schema.Release{}} {
		for _, name := range fieldNames(reflect.TypeOf(v)) {
			if !seen[name] {
				t.Errorf("%T: field %s is in no golden file", v, name)
			}
		}
	}
}

func names(v any, seen map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			seen[k] = true
			names(e, seen)
		}
	case []any:
		for _, e := range v {
			names(e, seen)
		}
	}
}

// fieldNames are the JSON names of a struct's fields and of those inside them.
func fieldNames(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[schema.Network]().PkgPath() || t == reflect.TypeFor[schema.Secret]() {
		return nil
	}
	var out []string
	for i := range t.NumField() {
		name, _, _ := bytes.Cut([]byte(t.Field(i).Tag.Get("json")), []byte(","))
		out = append(append(out, string(name)), fieldNames(t.Field(i).Type)...)
	}
	return out
}
