package schema_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema"
)

// checkNames fails the test where a name of r cannot be one element of a path:
// names from outside become directories and sockets.
func checkNames(t *testing.T, r schema.Ref) {
	t.Helper()
	for _, s := range []string{string(r.Node), string(r.Container), string(r.Pod), string(r.IfName), string(r.Network)} {
		if s != "" {
			checkElement(t, s)
		}
	}
}

func checkElement(t *testing.T, s string) {
	t.Helper()
	if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\x00\n\r\t\x1b") || filepath.Join("/d", s) != "/d/"+s || !filepath.IsLocal(s) {
		t.Fatalf("%q was taken for a name", s)
	}
}

func FuzzParse(f *testing.F) {
	var k schema.Keys
	for _, s := range []string{k.Agent("n"), k.Host("n", "c", "i"), k.HostStatus("n", "c", "i"), k.PodInterface("n", "p", "i"), k.PodStatus("n", "p", "i"), k.Network("b"), k.BridgeDomain(9), k.Release("n"), "/", "//"} {
		f.Add(s)
	}
	lab, err := schema.NewKeys("/lab")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key string) {
		ref, err := k.Parse(key)
		if err != nil {
			if ref != (schema.Ref{}) {
				t.Fatalf("%q gives %+v beside an error", key, ref)
			}
			return
		}
		if back := build(k, ref); back != key {
			t.Fatalf("%q is %+v, whose key is %q", key, ref, back)
		}
		checkNames(t, ref)
		if ref.Node != "" && !strings.HasPrefix(key, k.NodePrefix(ref.Node)) {
			t.Fatalf("%q is of node %q and not under its prefix", key, ref.Node)
		}
		if ref.Pod != "" && !strings.HasPrefix(key, k.PodPrefix(ref.Node, ref.Pod)) {
			t.Fatalf("%q is of pod %q and not under its prefix", key, ref.Pod)
		}
		if _, err := lab.Parse(key); err == nil {
			t.Fatalf("%q is a key under two roots", key)
		}
	})
}

// FuzzParsePodKey: the gateway lets a pod choose these keys.
func FuzzParsePodKey(f *testing.F) {
	for _, s := range []string{"interfaces/net1", "status/net1", "interfaces/", "status/..", "interfaces/a/b", "interface/net1", "/status/net1", "status/net1/", "status/\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		ref, err := schema.ParsePodKey(key)
		if err != nil {
			return
		}
		checkNames(t, ref)
		back := schema.PodInterfaceKey(ref.IfName)
		if ref.Kind == schema.KeyPodStatus {
			back = schema.PodStatusKey(ref.IfName)
		}
		if back != key || ref.Node != "" || ref.Pod != "" || ref.Container != "" {
			t.Fatalf("%q is %+v, whose key is %q", key, ref, back)
		}
		var k schema.Keys
		if full, err := k.Parse(k.PodPrefix("n", "p") + key); err != nil || full.Pod != "p" || full.IfName != ref.IfName || full.Kind != ref.Kind {
			t.Fatalf("%q is %+v, under a pod's prefix it is %+v, %v", key, ref, full, err)
		}
	})
}

func FuzzParseHostKey(f *testing.F) {
	for _, s := range []string{"host/c/i", "host-status/c/i", "host/c", "host/../i", "host/c/i/x", "host//i", "host/c/", "hosts/c/i", "host/\xff/i"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		ref, err := schema.ParseHostKey(key)
		if err != nil {
			return
		}
		checkNames(t, ref)
		back := schema.HostKey(ref.Container, ref.IfName)
		if ref.Kind == schema.KeyHostStatus {
			back = schema.HostStatusKey(ref.Container, ref.IfName)
		}
		if back != key || ref.Node != "" || ref.Pod != "" {
			t.Fatalf("%q is %+v, whose key is %q", key, ref, back)
		}
		var k schema.Keys
		if full, err := k.Parse(k.NodePrefix("n") + key); err != nil || full.Container != ref.Container || full.IfName != ref.IfName || full.Kind != ref.Kind {
			t.Fatalf("%q is %+v, under a node's prefix it is %+v, %v", key, ref, full, err)
		}
	})
}

// FuzzPrefix: a root that is taken keeps its keys to itself.
func FuzzPrefix(f *testing.F) {
	for _, s := range []string{"", "/", "/lab", "/lab/", "/a/b", "//", "/../x", "/vpp-cni/v1", "lab", "/a/./b", "/a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, prefix string) {
		k, err := schema.NewKeys(prefix)
		if err != nil {
			return
		}
		root := k.Root()
		if !strings.HasPrefix(root, "/") || !strings.HasSuffix(root, "/v1/") || filepath.Clean(root)+"/" != root {
			t.Fatalf("prefix %q makes root %q", prefix, root)
		}
		for e := range strings.SplitSeq(strings.Trim(root, "/"), "/") {
			checkElement(t, e)
		}
		key := k.PodStatus("n", "p", "i")
		if ref, err := k.Parse(key); err != nil || build(k, ref) != key {
			t.Fatalf("prefix %q: %q is %+v, %v", prefix, key, ref, err)
		}
	})
}

// FuzzNames: whatever is taken for a name of any kind is one harmless element
// of a path, and no interface's socket meets the gateway's.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"net1", ".", "..", "a/b", "etcd.sock", "etcd", "a\x00b", "-rf", ".hidden", "eth0@x", "~", "a:b", "é", strings.Repeat("a", 254)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		valid := map[string]error{
			"node": schema.Node(s).Validate(), "container": schema.ContainerID(s).Validate(), "pod": schema.PodID(s).Validate(),
			"network": schema.NetworkName(s).Validate(), "interface": schema.IfName(s).Validate(), "socket": schema.CheckSocketName("socket", s),
		}
		for kind, err := range valid {
			if err == nil {
				checkElement(t, s)
				continue
			}
			if text := err.Error(); len(text) > 600 || strings.ContainsAny(text, "\x00\n\x1b") {
				t.Fatalf("%s: the error is %q", kind, text)
			}
		}
		if valid["interface"] != nil {
			return
		}
		for _, kind := range []schema.IfType{schema.Memif, schema.VhostUser} {
			if name := schema.SocketName(kind, schema.IfName(s)); name == schema.GatewaySocket {
				t.Fatalf("the socket of %q is the gateway's", s)
			}
		}
	})
}

func FuzzBuild(f *testing.F) {
	f.Add("node-1", "c1", "p1", "net1", "blue", uint32(5))
	f.Add("a.b", "C_1.x", "6f1b1c1e-8d1f", "eth0@x", "n.-_", uint32(1<<24-2))
	f.Fuzz(func(t *testing.T, n, c, p, i, name string, id uint32) {
		var k schema.Keys
		all := []interface{ Validate() error }{schema.Node(n), schema.ContainerID(c), schema.PodID(p), schema.IfName(i), schema.NetworkName(name)}
		for _, v := range all {
			if v.Validate() != nil {
				return
			}
		}
		for _, ref := range []schema.Ref{
			{Kind: schema.KeyAgent, Node: schema.Node(n)},
			{Kind: schema.KeyHost, Node: schema.Node(n), Container: schema.ContainerID(c), IfName: schema.IfName(i)},
			{Kind: schema.KeyHostStatus, Node: schema.Node(n), Container: schema.ContainerID(c), IfName: schema.IfName(i)},
			{Kind: schema.KeyPodInterface, Node: schema.Node(n), Pod: schema.PodID(p), IfName: schema.IfName(i)},
			{Kind: schema.KeyPodStatus, Node: schema.Node(n), Pod: schema.PodID(p), IfName: schema.IfName(i)},
			{Kind: schema.KeyNetwork, Network: schema.NetworkName(name)},
			{Kind: schema.KeyBridgeDomain, DomainID: 1 + id%schema.MaxDomain},
			{Kind: schema.KeyRelease, Node: schema.Node(n)},
		} {
			if back, err := k.Parse(build(k, ref)); err != nil || back != ref {
				t.Fatalf("%s is %+v, %v, want %+v", build(k, ref), back, err, ref)
			}
		}
	})
}

func build(k schema.Keys, r schema.Ref) string {
	switch r.Kind {
	case schema.KeyAgent:
		return k.Agent(r.Node)
	case schema.KeyHost:
		return k.Host(r.Node, r.Container, r.IfName)
	case schema.KeyHostStatus:
		return k.HostStatus(r.Node, r.Container, r.IfName)
	case schema.KeyPodInterface:
		return k.PodInterface(r.Node, r.Pod, r.IfName)
	case schema.KeyPodStatus:
		return k.PodStatus(r.Node, r.Pod, r.IfName)
	case schema.KeyNetwork:
		return k.Network(r.Network)
	case schema.KeyBridgeDomain:
		return k.BridgeDomain(r.DomainID)
	case schema.KeyRelease:
		return k.Release(r.Node)
	}
	return ""
}
