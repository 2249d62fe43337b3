package vpptest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/core"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// kindCase is one kind of object: what it stands on, the object, what an
// operator may do to it, and what the driver finds then.
type kindCase struct {
	name string
	// base is put first and stays.
	base []model.Object
	want model.Object
	// drift is what an operator does; nil where VPP offers nothing.
	drift func(e env)
	// change is what Compare must say about what is found then; gone means that
	// the object must not be found.
	change model.Change
	gone   bool
	// swept are objects that appear through the drift and are cleaned away.
	swept bool
}

// env is what a drift works with.
type env struct {
	t      *testing.T
	ctx    context.Context
	conn   *core.Connection
	driver *vpp.VPP
}

const (
	tagMemif = model.Tag("vpp-cni/net1/pod-a")
	tagVhost = model.Tag("vpp-cni/net2/pod-a")
	tagLoop  = model.Tag("vpp-cni/gw/blue")
	tagSub   = model.Tag("vpp-cni/net1/pod-a:100")
)

var (
	macA = model.MAC{2, 0, 0, 0, 0, 0xa}
	macB = model.MAC{2, 0, 0, 0, 0, 0xb}
)

func kindCases(sock string) []kindCase {
	var (
		socket = model.Socket{Path: sock}
		m      = model.Memif{Tag: tagMemif, Socket: sock, Master: true, MAC: macA, Secret: model.NewSecret("s3cret")}
		loop   = model.Loopback{Tag: tagLoop, MAC: macB}
		bd     = model.BridgeDomain{DomainID: 77}
		on     = []model.Object{socket, m}
	)
	return []kindCase{
		{
			name: "table ip4", want: model.Table{VRF: 42}, gone: true,
			drift: func(e env) { e.table(ip.IPTable{TableID: 42}, false) },
		},
		{
			name: "table ip6", want: model.Table{VRF: 42, V6: true}, gone: true,
			drift: func(e env) { e.table(ip.IPTable{TableID: 42, IsIP6: true}, false) },
		},
		{
			name: "bridge domain", want: bd, gone: true,
			drift: func(e env) {
				must(l2.NewServiceClient(e.conn).BridgeDomainAddDelV2(e.ctx, &l2.BridgeDomainAddDelV2{BdID: 77}))(e.t)
			},
		},
		{
			name: "bridge domain that stopped learning", want: bd, change: model.Update,
			drift: func(e env) {
				must(l2.NewServiceClient(e.conn).BridgeFlags(e.ctx, &l2.BridgeFlags{BdID: 77, Flags: l2.BRIDGE_API_FLAG_LEARN}))(e.t)
			},
		},
		{
			name: "loopback", want: loop, change: model.Update,
			drift: func(e env) { e.mac(tagLoop) },
		},
		{
			name: "socket", want: socket, gone: true,
			drift: func(e env) {
				must(memif.NewServiceClient(e.conn).MemifSocketFilenameAddDelV2(e.ctx, &memif.MemifSocketFilenameAddDelV2{SocketID: 1}))(e.t)
			},
		},
		{
			name: "memif with another MAC", base: []model.Object{socket}, want: m, change: model.Update,
			drift: func(e env) { e.mac(tagMemif) },
		},
		{
			name: "memif deleted", base: []model.Object{socket}, want: m, gone: true,
			drift: func(e env) {
				must(memif.NewServiceClient(e.conn).MemifDelete(e.ctx, &memif.MemifDelete{SwIfIndex: e.idx(tagMemif)}))(e.t)
			},
		},
		{
			name: "memif with another tag", base: []model.Object{socket}, want: m, gone: true, swept: true,
			drift: func(e env) {
				i := e.idx(tagMemif)
				must(interfaces.NewServiceClient(e.conn).SwInterfaceTagAddDel(e.ctx, &interfaces.SwInterfaceTagAddDel{SwIfIndex: i}))(e.t)
				must(interfaces.NewServiceClient(e.conn).SwInterfaceTagAddDel(e.ctx, &interfaces.SwInterfaceTagAddDel{IsAdd: true, SwIfIndex: i, Tag: "mine"}))(e.t)
			},
		},
		{
			name: "memif ip mode", base: []model.Object{socket},
			want: model.Memif{Tag: tagMemif, Socket: sock, Master: true, IPMode: true}, gone: true,
			drift: func(e env) {
				must(memif.NewServiceClient(e.conn).MemifDelete(e.ctx, &memif.MemifDelete{SwIfIndex: e.idx(tagMemif)}))(e.t)
			},
		},
		{
			name: "memif slave", base: []model.Object{socket},
			want: model.Memif{Tag: tagMemif, Socket: sock, MAC: macA}, change: model.Update,
			drift: func(e env) { e.mac(tagMemif) },
		},
		{
			name: "vhost-user server", want: model.VhostUser{Tag: tagVhost, Socket: sock + ".vh", Server: true, MAC: macA},
			gone: true, drift: func(e env) { e.deleteVhost() },
		},
		{
			name: "vhost-user client", want: model.VhostUser{Tag: tagVhost, Socket: sock + ".vh", MAC: macA},
			change: model.Update, drift: func(e env) { e.mac(tagVhost) },
		},
		{
			name: "sub-interface", base: on, want: model.SubInterface{Tag: tagSub, Parent: m.ID(), VLAN: 100, Popped: true},
			change: model.Update,
			drift: func(e env) {
				must(l2.NewServiceClient(e.conn).L2InterfaceVlanTagRewrite(e.ctx, &l2.L2InterfaceVlanTagRewrite{SwIfIndex: e.idx(tagSub)}))(e.t)
			},
		},
		{
			name: "interface table", base: append(on[:2:2], model.Table{VRF: 42}),
			want: model.InterfaceTable{Interface: m.ID(), VRF: 42}, gone: true,
			drift: func(e env) {
				must(interfaces.NewServiceClient(e.conn).SwInterfaceSetTable(e.ctx, &interfaces.SwInterfaceSetTable{SwIfIndex: e.idx(tagMemif)}))(e.t)
			},
		},
		{
			name: "mtu", base: on, want: model.MTU{Interface: m.ID(), Bytes: 1450}, change: model.Update,
			drift: func(e env) { e.mtu(tagMemif, 1300) },
		},
		{
			name: "mtu back at the default", base: on, want: model.MTU{Interface: m.ID(), Bytes: 1450}, gone: true,
			drift: func(e env) { e.mtu(tagMemif, 9000) },
		},
		{
			name: "address ip4", base: on, want: model.Address{Interface: m.ID(), Prefix: pfx("10.5.0.1/24")}, gone: true,
			drift: func(e env) { e.dropAddresses(tagMemif) },
		},
		{
			name: "address ip6", base: on, want: model.Address{Interface: m.ID(), Prefix: pfx("fd05::1/64")}, gone: true,
			drift: func(e env) { e.dropAddresses(tagMemif) },
		},
		{
			name: "unnumbered",
			base: append(on[:2:2], loop, model.Address{Interface: loop.ID(), Prefix: pfx("10.5.0.1/32")}),
			want: model.Unnumbered{Interface: m.ID(), Lender: loop.ID()}, gone: true,
			drift: func(e env) {
				must(interfaces.NewServiceClient(e.conn).SwInterfaceSetUnnumbered(e.ctx, &interfaces.SwInterfaceSetUnnumbered{
					SwIfIndex: e.idx(tagLoop), UnnumberedSwIfIndex: e.idx(tagMemif),
				}))(e.t)
			},
		},
		{
			name: "bridge member", base: append(on[:2:2], bd), want: model.BridgeMember{Interface: m.ID(), DomainID: 77},
			change: model.Update, drift: func(e env) { e.bridge(tagMemif, 78, true) },
		},
		{
			name: "bridge member that left", base: append(on[:2:2], bd), want: model.BridgeMember{Interface: m.ID(), DomainID: 77},
			gone: true, drift: func(e env) { e.bridge(tagMemif, 77, false) },
		},
		{
			name: "admin up", base: on, want: model.AdminUp{Interface: m.ID()}, gone: true,
			drift: func(e env) {
				e.admin(tagMemif, false)
			},
		},
		{
			name: "route on the link", base: append(on[:2:2], model.Address{Interface: m.ID(), Prefix: pfx("10.5.0.1/24")}),
			want: model.Route{Prefix: pfx("10.6.0.7/32"), Interface: m.ID()}, gone: true,
			drift: func(e env) { e.dropRoute("10.6.0.7/32", tagMemif, "") },
		},
		{
			name: "route by a next hop", base: append(on[:2:2], model.Address{Interface: m.ID(), Prefix: pfx("10.5.0.1/24")}),
			want: model.Route{Prefix: pfx("0.0.0.0/0"), Interface: m.ID(), NextHop: addr("10.5.0.9")}, change: model.Update,
			drift: func(e env) { e.addRoute("0.0.0.0/0", tagMemif, "10.5.0.8", false) },
		},
		{
			name: "route with a second path", base: append(on[:2:2], model.Address{Interface: m.ID(), Prefix: pfx("10.5.0.1/24")}),
			want: model.Route{Prefix: pfx("10.9.0.0/16"), Interface: m.ID(), NextHop: addr("10.5.0.9")}, change: model.Update,
			drift: func(e env) { e.addRoute("10.9.0.0/16", tagMemif, "10.5.0.8", true) },
		},
		{
			name: "route ip6 in a table", want: model.Route{VRF: 42, Prefix: pfx("fd09::/64"), Interface: m.ID(), NextHop: addr("fd05::9")},
			base: append(on[:2:2], model.Table{VRF: 42, V6: true}, model.InterfaceTable{Interface: m.ID(), VRF: 42, V6: true},
				model.Address{Interface: m.ID(), VRF: 42, Prefix: pfx("fd05::1/64")}),
		},
		{
			name: "neighbor ip4", base: append(on[:2:2], model.Address{Interface: m.ID(), Prefix: pfx("10.5.0.1/24")}),
			want: model.Neighbor{Interface: m.ID(), Addr: addr("10.5.0.7"), MAC: macA}, change: model.Update,
			drift: func(e env) { e.neighbor(tagMemif, "10.5.0.7", macB) },
		},
		{
			name: "neighbor ip6", base: append(on[:2:2], model.Address{Interface: m.ID(), Prefix: pfx("fd05::1/64")}),
			want: model.Neighbor{Interface: m.ID(), Addr: addr("fd05::7"), MAC: macA}, change: model.Update,
			drift: func(e env) { e.neighbor(tagMemif, "fd05::7", macB) },
		},
	}
}

// TestKinds puts, finds, spoils, mends and deletes every kind of object.
func TestKinds(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	d := v.Driver(t)
	for _, tc := range kindCases(v.Socket(t, "pod-a", "net1")) {
		t.Run(tc.name, func(t *testing.T) {
			t.Cleanup(func() { sweep(t, d, conn) })
			vpptest.Put(t, d, tc.base...)
			vpptest.Put(t, d, tc.want, tc.want)
			everything := append(tc.base[:len(tc.base):len(tc.base)], tc.want)
			same(t, d, everything...)
			if tc.drift != nil {
				spoilAndMend(t, tc, env{t, deadline(t), conn, d}, everything)
			}
			for range 2 {
				if err := d.Delete(deadline(t), tc.want); err != nil {
					t.Fatal(err)
				}
			}
			same(t, d, tc.base...)
			for n := len(tc.base) - 1; n >= 0; n-- {
				if err := d.Delete(deadline(t), tc.base[n]); err != nil {
					t.Fatal(err)
				}
			}
			same(t, d)
		})
	}
}

// sweep deletes all that the driver finds, in the order in which VPP can give
// it up, and what a drift left; then VPP has nothing but its own local0.
func sweep(t *testing.T, d *vpp.VPP, conn *core.Connection) {
	t.Helper()
	found, err := d.Dump(context.Background())
	if err != nil {
		t.Error(err)
	}
	slices.SortStableFunc(found, func(a, b model.Object) int { return int(b.ID().Kind) - int(a.ID().Kind) })
	for _, o := range found {
		if delErr := d.Delete(context.Background(), o); delErr != nil {
			t.Error(delErr)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _ = l2.NewServiceClient(conn).BridgeDomainAddDelV2(ctx, &l2.BridgeDomainAddDelV2{BdID: 78})
	stream, err := interfaces.NewServiceClient(conn).SwInterfaceDump(ctx, &interfaces.SwInterfaceDump{SwIfIndex: all})
	for _, i := range collect(t, stream, err) {
		if i.InterfaceName != "local0" {
			t.Errorf("interface %s (tag %q) is left", i.InterfaceName, i.Tag)
		}
	}
}

// spoilAndMend lets the operator do his deed and the driver mend it.
func spoilAndMend(t *testing.T, tc kindCase, e env, everything []model.Object) {
	t.Helper()
	tc.drift(e)
	found := dump(t, e.driver)
	have := found[tc.want.ID()]
	switch {
	case tc.gone && have != nil:
		t.Fatalf("%s is gone but found: %+v", tc.want.ID(), have)
	case !tc.gone && have == nil:
		t.Fatalf("%s is not found any more", tc.want.ID())
	case !tc.gone && tc.want.Compare(have) != tc.change:
		t.Fatalf("comparing %s gives %d, want %d\nwant %+v\nhave %+v", tc.want.ID(), tc.want.Compare(have), tc.change, tc.want, have)
	}
	if tc.swept {
		for id, o := range found {
			if id.Kind == tc.want.ID().Kind {
				if err := e.driver.Delete(e.ctx, o); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := e.driver.Put(e.ctx, tc.want, have); err != nil {
		t.Fatalf("mend: %v", err)
	}
	same(t, e.driver, everything...)
}
