package hostplan

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

// FuzzDecode: whatever stands in etcd makes a plan or an error. A plan stays in
// the pod's directory, names each object once, builds on nothing that is not in
// it, and is the same the next time.
func FuzzDecode(f *testing.F) {
	add := func(key string, h schema.HostInterface) {
		data, err := schema.Encode(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(key, data)
	}
	const key = "host/" + container + "/net1"
	add(key, memif(nil))
	add(key, memif(func(h *schema.HostInterface) { h.Pod.ID, h.Memif.Socket = "..", "../x" }))
	add(key, vhost(schema.VhostServer))
	add("host/c/~untagged", vhost(schema.VhostClient))
	add(key, routed(10, []string{"10.0.0.1", "fd00::1"}, []string{"10.0.0.2", "fd00::2"}))
	add(key, routed(4294967294, []string{"10.0.0.1", "10.0.0.1"}, []string{"10.0.0.2", "10.0.0.2", "10.0.0.1"}))
	add("host-status/c/net1", memif(nil))
	add(key, memif(func(h *schema.HostInterface) {
		h.NetType, h.Bridge = schema.NetBridge, &schema.BridgeEnd{Name: "red", DomainID: 7, VLAN: 100}
	}))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		p, err := planner.Decode(key, value)
		if err != nil {
			if len(p.Objects) > 0 {
				t.Fatalf("objects beside an error: %v", p.Objects)
			}
			return
		}
		again, err := planner.Decode(key, value)
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("planned once more: %v, %v, first %v", again, err, p)
		}
		h, err := schema.Decode[schema.HostInterface](value)
		if err != nil {
			t.Fatalf("a plan of what cannot be read: %v", err)
		}
		checkPlan(t, p, "/run/vpp-cni/pods/"+string(h.Pod.ID))
		if !strings.Contains(key, "/"+string(h.Pod.ID)+"/") && strings.Contains(string(p.Interface), "/"+string(h.Pod.ID)+"/") {
			t.Fatalf("the tag %s is of the value's pod, not of the key", p.Interface)
		}
	})
}

// checkPlan fails the test where a path leaves dir, an object comes twice or
// stands on one that is not planned.
func checkPlan(t *testing.T, p Plan, dir string) {
	t.Helper()
	inDir := func(path string) {
		if filepath.Dir(path) != dir || filepath.Clean(path) != path || filepath.Base(path) == schema.GatewaySocket || len(path) > schema.MaxSocketPath {
			t.Fatalf("socket %q, the pod's directory is %q", path, dir)
		}
	}
	isDir := func(path string) {
		if path != dir || filepath.Clean(path) != path || filepath.Dir(path) != "/run/vpp-cni/pods" {
			t.Fatalf("directory %q, the pod's is %q", path, dir)
		}
	}
	planned := map[model.ID]bool{}
	for _, o := range p.Objects {
		if planned[o.ID()] {
			t.Fatalf("%s comes twice", o.ID())
		}
		for _, d := range o.Deps() {
			if !planned[d] {
				t.Fatalf("%s stands on %s, which does not come before it", o.ID(), d)
			}
		}
		planned[o.ID()] = true
		switch o := o.(type) {
		case model.Directory:
			isDir(o.Path)
		case model.Socket:
			inDir(o.Path)
		case model.Memif:
			inDir(o.Socket)
			isDir(o.Dir)
		case model.VhostUser:
			inDir(o.Socket)
			isDir(o.Dir)
		}
		if o.ID().Kind.Interface() && (len(o.ID().Name) > 63 || !model.Ours(o.ID().Name) || model.Leftover(o.ID())) {
			t.Fatalf("tag %q", o.ID().Name)
		}
	}
	if p.Failed != "" && len(p.Objects) > 0 {
		t.Fatalf("failed (%s), and yet objects are wanted", p.Failed)
	}
}
