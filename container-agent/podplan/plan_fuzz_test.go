package podplan

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

// FuzzDecode: whatever stands in etcd makes a plan or an error. A plan stays in
// the pod's directory, names each object once, builds on nothing that is not in
// it, and is the same the next time.
func FuzzDecode(f *testing.F) {
	add := func(key string, v schema.PodInterface) {
		data, err := schema.Encode(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(key, data)
	}
	add("interfaces/net1", end(nil))
	add("interfaces/net1", end(addressed))
	add("interfaces/~untagged", end(func(v *schema.PodInterface) { addressed(v); v.VLAN, v.Routed = 7, true }))
	add("status/net1", end(nil))
	add("interfaces/..", end(func(v *schema.PodInterface) { v.Memif.Socket = "../x" }))
	add("interfaces/net1", end(func(v *schema.PodInterface) {
		v.IfType, v.Memif, v.VhostUser = schema.VhostUser, nil, &schema.VhostEnd{Role: schema.VhostClient, Socket: "net1.vhost"}
	}))
	add("interfaces/net1", end(func(v *schema.PodInterface) {
		v.NetType, v.Bridge = schema.NetBridge, &schema.BridgeEnd{Name: "red", DomainID: 7, VLAN: 100}
	}))
	add("interfaces/net1", end(func(v *schema.PodInterface) { // the same, again and again
		addressed(v)
		v.Addresses = append(v.Addresses, v.Addresses...)
		v.Addresses = append(v.Addresses, netip.MustParsePrefix("10.0.0.2/25"))
		v.Routes = append(v.Routes, v.Routes...)
		v.Routes = append(v.Routes, schema.Route{Dst: v.Routes[0].Dst, GW: netip.MustParseAddr("10.0.0.9")}, schema.Route{Dst: v.Routes[0].Dst})
		v.Gateways = append(v.Gateways, netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.1"))
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
		inDir(t, p.SocketPath)
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
			case model.Socket:
				inDir(t, o.Path)
			case model.Memif:
				inDir(t, o.Socket)
			case model.Directory, model.VhostUser:
				t.Fatalf("a pod's VPP is to have %s", o.ID())
			}
			if o.ID().Kind.Interface() && (len(o.ID().Name) > 63 || !model.Ours(o.ID().Name) || model.Leftover(o.ID())) {
				t.Fatalf("tag %q", o.ID().Name)
			}
		}
	})
}

func inDir(t *testing.T, path string) {
	t.Helper()
	if filepath.Dir(path) != planner.SocketDir || filepath.Clean(path) != path || filepath.Base(path) == schema.GatewaySocket || len(path) > schema.MaxSocketPath {
		t.Fatalf("socket %q, the pod's directory is %q", path, planner.SocketDir)
	}
}
