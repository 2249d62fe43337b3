package vppsim_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.fd.io/govpp/binapi/ethernet_types"
	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/binapi/vhost_user"
	"go.fd.io/govpp/binapi/vxlan"
)

func TestBridgeRetvals(t *testing.T) {
	c := dial(t, start(t))
	add := func(id uint32) *l2.BridgeDomainAddDelV2 {
		return &l2.BridgeDomainAddDelV2{BdID: id, IsAdd: true, BdTag: "tagged", Learn: true, Forward: true, Flood: true, UuFlood: true}
	}
	del := func(id uint32) *l2.BridgeDomainAddDelV2 { return &l2.BridgeDomainAddDelV2{BdID: id} }
	set := func(i interface_types.InterfaceIndex, id uint32, on bool) *l2.SwInterfaceSetL2Bridge {
		return &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: i, BdID: id, Enable: on}
	}
	c.run([]step{
		{"loopback to bridge", &interfaces_api.CreateLoopback{}, 0},
		{"add", add(5), 0},
		{"add twice", add(5), -119},
		{"add 0", add(0), -119},
		{"delete 0", del(0), -121},
		{"add 2^24", add(1 << 24), -122},
		{"delete a missing one", del(6), -6},
		{"interface in", set(1, 5, true), 0},
		{"missing interface in", set(99, 5, true), -2},
		{"into 2^24", set(1, 1<<24, true), -122},
		{"unknown port type", &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: 1, BdID: 5, PortType: 7, Enable: true}, -7},
		{"delete with a member", del(5), -120},
		{"move to one that is not there", set(1, 42, true), 0},
		{"delete without members", del(5), 0},
		{"out", set(1, 0, false), 0},
		{"out again", set(1, 0, false), 0},
	})
	got := dump[l2.BridgeDomainDetails](c, &l2.BridgeDomainDump{BdID: anyIndex, SwIfIndex: anyIface})
	if len(got) != 1 || got[0].BdID != 42 || got[0].BdTag != "" || !got[0].Learn || !got[0].Flood || !got[0].Forward ||
		!got[0].UuFlood || got[0].ArpTerm || got[0].BviSwIfIndex != anyIface {
		t.Errorf("the bridge domain that an interface made: %+v", got)
	}
}

func TestBridgeIDDrawn(t *testing.T) {
	c := dial(t, start(t))
	var r l2.BridgeDomainAddDelV2Reply
	for _, want := range []uint32{7271263, 5253426} {
		c.must(&l2.BridgeDomainAddDelV2{BdID: anyIndex, IsAdd: true}, &r)
		if r.BdID != want {
			t.Errorf("drawn bridge domain id %d, want %d as VPP draws", r.BdID, want)
		}
	}
}

func TestVLANRetvals(t *testing.T) {
	c := dial(t, start(t))
	vlan := func(i interface_types.InterfaceIndex, id uint32) *interfaces_api.CreateVlanSubif {
		return &interfaces_api.CreateVlanSubif{SwIfIndex: i, VlanID: id}
	}
	rewrite := func(i interface_types.InterfaceIndex, op uint32) *l2.L2InterfaceVlanTagRewrite {
		return &l2.L2InterfaceVlanTagRewrite{SwIfIndex: i, VtrOp: op}
	}
	up := func(i interface_types.InterfaceIndex) *interfaces_api.SwInterfaceSetFlags {
		return &interfaces_api.SwInterfaceSetFlags{SwIfIndex: i, Flags: admin}
	}
	c.run([]step{
		{"parent", &interfaces_api.CreateLoopback{}, 0},
		{"VLAN 100", vlan(1, 100), 0},
		{"VLAN 100 again", vlan(1, 100), -56},
		{"VLAN 0", vlan(1, 0), -55},
		{"VLAN 4096", vlan(1, 4096), -55},
		{"VLAN on a missing interface", vlan(99, 7), -2},
		{"no class of packets", &interfaces_api.CreateSubif{SwIfIndex: 1, SubID: 9}, -1},
		{"up while the parent is down", up(2), -1},
		{"parent up", up(1), 0},
		{"up", up(2), 0},
		{"pop one", rewrite(2, 3), 0},
		{"pop two of one", rewrite(2, 4), -72},
		{"pop of the untagged parent", rewrite(1, 3), -72},
		{"unknown operation", rewrite(2, 99), -7},
		{"delete the parent as a sub-interface", &interfaces_api.DeleteSubif{SwIfIndex: 1}, -98},
		{"hardware MTU of a sub-interface", &interfaces_api.HwInterfaceSetMtu{SwIfIndex: 2, Mtu: 1500}, -7},
	})
	got := c.iface(2)
	if got.InterfaceName != "loop0.100" || got.SupSwIfIndex != 1 || got.SubOuterVlanID != 100 || got.SubNumberOfTags != 1 ||
		got.VtrOp != 3 || got.Type != interface_types.IF_API_TYPE_SUB || got.Flags != admin|link || got.SubIfFlags != 18 {
		t.Errorf("sub-interface: %+v", got)
	}
	c.run([]step{
		{"delete", &interfaces_api.DeleteSubif{SwIfIndex: 2}, 0},
		{"delete again", &interfaces_api.DeleteSubif{SwIfIndex: 2}, -2},
	})
}

func TestInterfaceSettings(t *testing.T) {
	c := dial(t, start(t))
	c.socket(1, filepath.Join(t.TempDir(), "s"))
	eth := c.memif(&memif.MemifCreateV2{SocketID: 1})
	ip := c.memif(&memif.MemifCreateV2{SocketID: 1, ID: 1, Mode: memif.MEMIF_MODE_API_IP})
	mac := ethernet_types.MacAddress{2, 1, 2, 3, 4, 5}
	long := "0123456789012345678901234567890123456789012345678901234567890123"
	setTag := func(i interface_types.InterfaceIndex, tag string) *interfaces_api.SwInterfaceTagAddDel {
		return &interfaces_api.SwInterfaceTagAddDel{IsAdd: true, SwIfIndex: i, Tag: tag}
	}
	c.run([]step{
		{"tag of 64 characters", setTag(eth, long), 0},
		{"empty tag", setTag(eth, ""), -7},
		{"tag of nothing", setTag(99, "x"), -2},
		{"MTU", &interfaces_api.SwInterfaceSetMtu{SwIfIndex: eth, Mtu: []uint32{1500, 0, 0, 0}}, 0},
		{"hardware MTU in ip mode", &interfaces_api.HwInterfaceSetMtu{SwIfIndex: ip, Mtu: 1500}, -30},
		{"MAC", &interfaces_api.SwInterfaceSetMacAddress{SwIfIndex: eth, MacAddress: mac}, 0},
		{"MAC in ip mode", &interfaces_api.SwInterfaceSetMacAddress{SwIfIndex: ip, MacAddress: mac}, -9},
		{"MAC of nothing", &interfaces_api.SwInterfaceGetMacAddress{SwIfIndex: 99}, -2},
	})
	got := c.iface(eth)
	if got.Tag != long[:63] || got.Mtu[0] != 1500 || got.LinkMtu != 9000 || got.L2Address != mac {
		t.Errorf("after settings: %+v", got)
	}
	c.must(&interfaces_api.HwInterfaceSetMtu{SwIfIndex: eth, Mtu: 2000}, &interfaces_api.HwInterfaceSetMtuReply{})
	if got := c.iface(eth); got.Mtu[0] != 2000 || got.LinkMtu != 2000 {
		t.Errorf("the hardware MTU moves both: %+v", got)
	}
	named := dump[interfaces_api.SwInterfaceDetails](c, &interfaces_api.SwInterfaceDump{NameFilterValid: true, NameFilter: "IF1/1"})
	if len(named) != 1 || named[0].SwIfIndex != ip {
		t.Errorf("dump by part of the name: %+v", named)
	}
	if got := dump[interfaces_api.SwInterfaceDetails](c, &interfaces_api.SwInterfaceDump{SwIfIndex: 99}); got != nil {
		t.Errorf("dump of a missing interface: %+v", got)
	}
}

func TestLoopback(t *testing.T) {
	c := dial(t, start(t))
	c.run([]step{
		{"first", &interfaces_api.CreateLoopback{}, 0},
		{"instance 0, taken", &interfaces_api.CreateLoopbackInstance{IsSpecified: true}, -31},
		{"instance 300", &interfaces_api.CreateLoopbackInstance{IsSpecified: true, UserInstance: 300}, 0},
		{"instance too high", &interfaces_api.CreateLoopbackInstance{IsSpecified: true, UserInstance: 70000}, -31},
		{"hardware MTU", &interfaces_api.HwInterfaceSetMtu{SwIfIndex: 1, Mtu: 1500}, -126},
		{"as a memif", &memif.MemifDelete{SwIfIndex: 1}, -2},
	})
	if got := c.iface(2); got.InterfaceName != "loop300" || got.InterfaceDevType != "Loopback" ||
		got.L2Address.String() != "de:ad:00:00:00:2c" {
		t.Errorf("loop300: %+v", got)
	}
	c.admin(1, true)
	if got := c.iface(1).Flags; got != admin|link {
		t.Errorf("loopback up: flags %v", got)
	}
	c.admin(1, false)
	if got := c.iface(1).Flags; got != 0 {
		t.Errorf("loopback down: flags %v", got)
	}
	c.run([]step{
		{"delete", &interfaces_api.DeleteLoopback{SwIfIndex: 1}, 0},
		{"delete again", &interfaces_api.DeleteLoopback{SwIfIndex: 1}, -2},
	})
}

func TestVhostUser(t *testing.T) {
	c := dial(t, start(t))
	path := filepath.Join(t.TempDir(), "vh")
	server := func(path string) *vhost_user.CreateVhostUserIfV2 {
		return &vhost_user.CreateVhostUserIfV2{IsServer: true, SockFilename: path, Tag: "tagged"}
	}
	c.run([]step{
		{"server", server(path), 0},
		{"path in use", server(path), -79},
		{"no path", server(""), -73},
		{"no directory", server(path + "/x"), -12},
		{"client", &vhost_user.CreateVhostUserIfV2{SockFilename: path + "2"}, 0},
		{"hardware MTU", &interfaces_api.HwInterfaceSetMtu{SwIfIndex: 1, Mtu: 1500}, -126},
	})
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o755 {
		t.Errorf("socket file mode %o, want 755", mode)
	}
	if got := c.iface(1); got.InterfaceName != "VirtualEthernet0/0/0" || got.InterfaceDevType != "vhost-user" || got.Tag != "tagged" {
		t.Errorf("interface: %+v", got)
	}
	got := dump[vhost_user.SwInterfaceVhostUserDetails](c, &vhost_user.SwInterfaceVhostUserDump{SwIfIndex: anyIface})
	if len(got) != 2 || !got[0].IsServer || got[0].SockFilename != path || got[1].IsServer || got[1].SockErrno != 2 {
		t.Errorf("dump: %+v", got)
	}
	c.run([]step{
		{"delete", &vhost_user.DeleteVhostUserIf{SwIfIndex: 1}, 0},
		{"delete again", &vhost_user.DeleteVhostUserIf{SwIfIndex: 1}, -2},
	})
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the server's socket file stays: %v", err)
	}
}

func TestVXLAN(t *testing.T) {
	c := dial(t, start(t))
	tunnel := func(add bool, dst string, instance uint32) *vxlan.VxlanAddDelTunnelV3 {
		return &vxlan.VxlanAddDelTunnelV3{
			IsAdd: add, Instance: instance, Vni: 7, McastSwIfIndex: anyIface, DecapNextIndex: anyIndex,
			SrcAddress: address(t, "10.0.0.1"), DstAddress: address(t, dst),
		}
	}
	c.run([]step{
		{"add", tunnel(true, "10.0.0.2", anyIndex), 0},
		{"add again", tunnel(true, "10.0.0.2", anyIndex), -75},
		{"to itself", tunnel(true, "10.0.0.1", anyIndex), -82},
		{"instance in use", tunnel(true, "10.0.0.3", 0), -147},
		{"other family", tunnel(true, "2001:db8::1", anyIndex), -7},
		{"delete a missing one", tunnel(false, "10.0.0.3", anyIndex), -6},
	})
	if got := c.iface(1); got.InterfaceName != "vxlan_tunnel0" || got.Flags != admin|link {
		t.Errorf("tunnel: %+v", got)
	}
	got := dump[vxlan.VxlanTunnelV2Details](c, &vxlan.VxlanTunnelV2Dump{SwIfIndex: anyIface})
	if len(got) != 1 || got[0].Vni != 7 || got[0].DstPort != 4789 || got[0].DecapNextIndex != 1 {
		t.Errorf("dump: %+v", got)
	}
	c.run([]step{{"delete", tunnel(false, "10.0.0.2", anyIndex), 0}})
}

// A bridge domain's place in the dump is the first free one.
func TestBridgeOrder(t *testing.T) {
	c := dial(t, start(t))
	for _, id := range []uint32{30, 10, 20} {
		c.must(&l2.BridgeDomainAddDelV2{BdID: id, IsAdd: true}, &l2.BridgeDomainAddDelV2Reply{})
	}
	c.must(&l2.BridgeDomainAddDelV2{BdID: 10}, &l2.BridgeDomainAddDelV2Reply{})
	c.must(&l2.BridgeDomainAddDelV2{BdID: 5, IsAdd: true}, &l2.BridgeDomainAddDelV2Reply{})
	var got []uint32
	for _, d := range dump[l2.BridgeDomainDetails](c, &l2.BridgeDomainDump{BdID: anyIndex, SwIfIndex: anyIface}) {
		got = append(got, d.BdID)
	}
	if want := []uint32{30, 5, 20}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}
