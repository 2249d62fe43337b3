package schema_test

import (
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema"
)

func TestKeys(t *testing.T) {
	var k schema.Keys
	tests := []struct {
		got, want string
		ref       schema.Ref
	}{
		{k.Agent("n"), "/vpp-cni/v1/nodes/n/agent", schema.Ref{Kind: schema.KeyAgent, Node: "n"}},
		{k.Host("n", "c", "i"), "/vpp-cni/v1/nodes/n/host/c/i", schema.Ref{Kind: schema.KeyHost, Node: "n", Container: "c", IfName: "i"}},
		{k.HostStatus("n", "c", "i"), "/vpp-cni/v1/nodes/n/host-status/c/i", schema.Ref{Kind: schema.KeyHostStatus, Node: "n", Container: "c", IfName: "i"}},
		{k.PodInterface("n", "p", "i"), "/vpp-cni/v1/nodes/n/pods/p/interfaces/i", schema.Ref{Kind: schema.KeyPodInterface, Node: "n", Pod: "p", IfName: "i"}},
		{k.PodStatus("n", "p", "i"), "/vpp-cni/v1/nodes/n/pods/p/status/i", schema.Ref{Kind: schema.KeyPodStatus, Node: "n", Pod: "p", IfName: "i"}},
		{k.Network("b"), "/vpp-cni/v1/networks/b", schema.Ref{Kind: schema.KeyNetwork, Network: "b"}},
		{k.BridgeDomain(7), "/vpp-cni/v1/bridge-domains/7", schema.Ref{Kind: schema.KeyBridgeDomain, DomainID: 7}},
		{k.Release("n"), "/vpp-cni/v1/nodes/n/release", schema.Ref{Kind: schema.KeyRelease, Node: "n"}},
		// Names that look like the grammar's own words.
		{k.Agent("host"), "/vpp-cni/v1/nodes/host/agent", schema.Ref{Kind: schema.KeyAgent, Node: "host"}},
		{k.Host("agent", "pods", "status"), "/vpp-cni/v1/nodes/agent/host/pods/status", schema.Ref{Kind: schema.KeyHost, Node: "agent", Container: "pods", IfName: "status"}},
		{k.PodStatus("pods", "interfaces", "agent"), "/vpp-cni/v1/nodes/pods/pods/interfaces/status/agent", schema.Ref{Kind: schema.KeyPodStatus, Node: "pods", Pod: "interfaces", IfName: "agent"}},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("key %s, want %s", tt.got, tt.want)
		}
		if ref, err := k.Parse(tt.want); err != nil || ref != tt.ref {
			t.Errorf("%s is %+v, %v, want %+v", tt.want, ref, err, tt.ref)
		}
	}
}

func TestPrefixesEndInASlash(t *testing.T) {
	var k schema.Keys
	for _, p := range []string{
		k.Root(), k.NodesPrefix(), k.NodePrefix("n"), k.HostPrefix("n"), k.HostStatusPrefix("n"), k.PodsPrefix("n"),
		k.PodPrefix("n", "p"), k.NetworksPrefix(), k.BridgeDomainsPrefix(), schema.PodInterfacesPrefix, schema.PodStatusPrefix,
		schema.HostInterfacesPrefix, schema.HostStatusesPrefix,
	} {
		if !strings.HasSuffix(p, "/") {
			t.Errorf("prefix %s does not end in a slash: it would match longer names", p)
		}
	}
	if strings.HasPrefix(k.Host("node-10", "c", "i"), k.NodePrefix("node-1")) {
		t.Error("node-1's prefix covers node-10")
	}
	if strings.HasPrefix(k.HostStatus("n", "c", "i"), k.HostPrefix("n")) {
		t.Error("the prefix of desired ends covers statuses: an agent would wake itself")
	}
}

func TestParseRefuses(t *testing.T) {
	var k schema.Keys
	root := k.Root()
	for _, key := range []string{
		"", "/", root, root + "nodes", root + "nodes/", root + "nodes/n", root + "nodes/n/", root + "nodes//agent", root + "nodes//release", root + "nodes/n/release/x", root + "nodes/n/agent/", root + "nodes/n/agent/x",
		root + "nodes/-n/agent", root + "nodes/n/host", root + "nodes/n/host/c", root + "nodes/n/host/c/", root + "nodes/n/host//i", root + "nodes/n/host/c/i/", root + "nodes/n/host/c/i/x",
		root + "nodes/n/host/../i", root + "nodes/n/host/c/..", root + "nodes/n/host/c/" + strings.Repeat("i", 16), root + "nodes/n/host/c\n/i",
		root + "nodes/n/pods/p", root + "nodes/n/pods/p/", root + "nodes/n/pods/p/interfaces/", root + "nodes/n/pods//interfaces/i", root + "nodes/n/pods/p/interfaces/i/x", root + "nodes/n/pods/p/other/i",
		root + "networks/", root + "networks/a/b", root + "networks/..", root + "bridge-domains/", root + "bridge-domains/x", root + "bridge-domains/07", root + "bridge-domains/-1", root + "bridge-domains/4294967296",
		root + "bridge-domains/0", root + "bridge-domains/16777215", root + "ipam/x", "/vpp-cni/v2/networks/b", "x" + root + "networks/b", "/vpp-cni/v1networks/b",
	} {
		if ref, err := k.Parse(key); err == nil {
			t.Errorf("%q is %+v, want an error", key, ref)
		} else if ref != (schema.Ref{}) {
			t.Errorf("%q gives %+v beside an error, want nothing", key, ref)
		}
	}
}

func TestNewKeys(t *testing.T) {
	for prefix, want := range map[string]string{"": "/vpp-cni/v1/", "/lab": "/lab/v1/", "/lab/": "/lab/v1/", "/a/b.c-d_e": "/a/b.c-d_e/v1/"} {
		if k, err := schema.NewKeys(prefix); err != nil || k.Root() != want {
			t.Errorf("prefix %q: root %s, %v, want %s", prefix, k.Root(), err, want)
		}
	}
	for _, prefix := range []string{"/", "//", "lab", "/a//b", "/../b", "/a b", "/a\n", "/ä"} {
		if _, err := schema.NewKeys(prefix); err == nil {
			t.Errorf("prefix %q was taken", prefix)
		}
	}
}
