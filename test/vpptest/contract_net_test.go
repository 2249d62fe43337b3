package vpptest_test

import (
	"os"
	"testing"

	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/vhost_user"
	"go.fd.io/govpp/binapi/vxlan"
	"go.fd.io/govpp/core"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

func bridges(t *testing.T, conn *core.Connection) map[uint32]*l2.BridgeDomainDetails {
	t.Helper()
	stream, err := l2.NewServiceClient(conn).BridgeDomainDump(deadline(t), &l2.BridgeDomainDump{BdID: ^uint32(0), SwIfIndex: all})
	found := map[uint32]*l2.BridgeDomainDetails{}
	for _, d := range collect(t, stream, err) {
		found[d.BdID] = d
	}
	return found
}

func bridge(t *testing.T, conn *core.Connection, id uint32) *l2.BridgeDomainDetails {
	t.Helper()
	d := bridges(t, conn)[id]
	if d == nil {
		t.Fatalf("bridge domain %d is not there", id)
	}
	return d
}

func loopback(t *testing.T, conn *core.Connection) index {
	t.Helper()
	return must(interfaces.NewServiceClient(conn).CreateLoopbackInstance(deadline(t), &interfaces.CreateLoopbackInstance{}))(t).SwIfIndex
}

func setBridge(t *testing.T, conn *core.Connection, i index, bd uint32, in bool) int32 {
	t.Helper()
	_, err := l2.NewServiceClient(conn).SwInterfaceSetL2Bridge(deadline(t), &l2.SwInterfaceSetL2Bridge{
		RxSwIfIndex: i, BdID: bd, Enable: in,
	})
	return retval(t, err)
}

func TestBridgeDomains(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	rpc := l2.NewServiceClient(conn)
	add := func(id uint32, in bool) int32 {
		t.Helper()
		_, err := rpc.BridgeDomainAddDelV2(deadline(t), &l2.BridgeDomainAddDelV2{
			BdID: id, IsAdd: in, Flood: true, UuFlood: true, Forward: true, Learn: true, BdTag: "vpp-cni/bd/5",
		})
		return retval(t, err)
	}
	i := loopback(t, conn)
	expect(t, "add", add(5, true), 0)
	expect(t, "add twice", add(5, true), -119)
	if d := bridge(t, conn, 5); d.BdTag != "vpp-cni/bd/5" || !d.Learn || !d.Flood || !d.UuFlood || !d.Forward || d.ArpTerm {
		t.Errorf("dumped as %+v", d)
	}
	expect(t, "member", setBridge(t, conn, i, 5, true), 0)
	if d := bridge(t, conn, 5); d.NSwIfs != 1 || d.SwIfDetails[0].SwIfIndex != i {
		t.Errorf("dumped with member as %+v", d)
	}
	expect(t, "delete with a member", add(5, false), -120)
	expect(t, "member of one that is not there", setBridge(t, conn, i, 6, true), 0)
	if d := bridge(t, conn, 6); d.BdTag != "" || d.NSwIfs != 1 {
		t.Errorf("VPP made %+v, want one without a tag", d)
	}
	if d := bridge(t, conn, 5); d.NSwIfs != 0 {
		t.Errorf("the interface is in two bridge domains: %+v", d)
	}
	expect(t, "delete", add(5, false), 0)
	expect(t, "delete twice", add(5, false), -6)
}

func setAddress(t *testing.T, conn *core.Connection, i index, p string, add bool) int32 {
	t.Helper()
	prefix := must(ip_types.ParsePrefix(p))(t)
	_, err := interfaces.NewServiceClient(conn).SwInterfaceAddDelAddress(deadline(t), &interfaces.SwInterfaceAddDelAddress{
		SwIfIndex: i, IsAdd: add, Prefix: ip_types.AddressWithPrefix(prefix),
	})
	return retval(t, err)
}

// One address stands on one interface of a table; IPv6 says so with another
// number.
func TestAddresses(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	a, b := loopback(t, conn), loopback(t, conn)
	for p, again := range map[string]int32{"10.1.0.1/24": -105, "fd01::1/64": -127} {
		expect(t, "add "+p, setAddress(t, conn, a, p, true), 0)
		expect(t, "add "+p+" again", setAddress(t, conn, a, p, true), again)
		expect(t, "add "+p+" on another interface", setAddress(t, conn, b, p, true), again)
		expect(t, "delete "+p, setAddress(t, conn, a, p, false), 0)
		if code := setAddress(t, conn, a, p, false); code != -60 {
			t.Errorf("delete %s twice: retval %d, want -60", p, code)
		}
		expect(t, "add "+p+" on the other interface then", setAddress(t, conn, b, p, true), 0)
	}
}

func tables(t *testing.T, conn *core.Connection) map[ip.IPTable]bool {
	t.Helper()
	stream, err := ip.NewServiceClient(conn).IPTableDump(deadline(t), &ip.IPTableDump{})
	found := map[ip.IPTable]bool{}
	for _, d := range collect(t, stream, err) {
		found[d.Table] = true
	}
	return found
}

func TestTables(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	rpc := ip.NewServiceClient(conn)
	for _, v6 := range []bool{false, true} {
		table := ip.IPTable{TableID: 9, IsIP6: v6, Name: "vpp-cni/vrf/9"}
		for range 3 {
			must(rpc.IPTableAddDelV2(deadline(t), &ip.IPTableAddDelV2{IsAdd: true, CreateMfib: true, Table: table}))(t)
		}
		if !tables(t, conn)[table] {
			t.Errorf("%+v is not among %v", table, tables(t, conn))
		}
		must(rpc.IPTableAddDelV2(deadline(t), &ip.IPTableAddDelV2{Table: table}))(t)
		if tables(t, conn)[table] {
			t.Errorf("%+v is there after three adds and one delete", table)
		}
	}
	if !tables(t, conn)[ip.IPTable{Name: "ipv4-VRF:0"}] {
		t.Errorf("table 0 is not among %v", tables(t, conn))
	}
	_, err := interfaces.NewServiceClient(conn).SwInterfaceSetTable(deadline(t), &interfaces.SwInterfaceSetTable{
		SwIfIndex: loopback(t, conn), VrfID: 1234,
	})
	expect(t, "interface into a table that is not there", retval(t, err), -3)
}

// All pods of a network share a gateway: one interface lends its address to
// many, if it stands in their tables for both families.
func TestUnnumbered(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	rpc := interfaces.NewServiceClient(conn)
	lender, a, b := loopback(t, conn), loopback(t, conn), loopback(t, conn)
	expect(t, "address", setAddress(t, conn, lender, "10.1.0.1/32", true), 0)
	lend := func(i index, on bool) int32 {
		t.Helper()
		_, err := rpc.SwInterfaceSetUnnumbered(deadline(t), &interfaces.SwInterfaceSetUnnumbered{
			SwIfIndex: lender, UnnumberedSwIfIndex: i, IsAdd: on,
		})
		return retval(t, err)
	}
	for _, i := range []index{a, b, a} {
		expect(t, "lend", lend(i, true), 0)
	}
	stream, err := ip.NewServiceClient(conn).IPUnnumberedDump(deadline(t), &ip.IPUnnumberedDump{SwIfIndex: all})
	borrowers := map[index]index{}
	for _, d := range collect(t, stream, err) {
		borrowers[d.SwIfIndex] = d.IPSwIfIndex
	}
	if len(borrowers) != 2 || borrowers[a] != lender || borrowers[b] != lender {
		t.Errorf("dumped as %v, want %d and %d from %d", borrowers, a, b, lender)
	}
	expect(t, "give back", lend(a, false), 0)
	expect(t, "give back twice", lend(a, false), 0)

	must(ip.NewServiceClient(conn).IPTableAddDelV2(deadline(t), &ip.IPTableAddDelV2{
		IsAdd: true, CreateMfib: true, Table: ip.IPTable{TableID: 9, IsIP6: true},
	}))(t)
	must(rpc.SwInterfaceSetTable(deadline(t), &interfaces.SwInterfaceSetTable{SwIfIndex: a, VrfID: 9, IsIPv6: true}))(t)
	expect(t, "lend an IPv4 address across IPv6 tables", lend(a, true), -74)
}

// The route dump with a source lists what came over the API, and not what VPP
// makes by itself.
func TestRouteDump(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	conn := raw(t, v)
	lo := model.Loopback{Tag: tagLoop}
	vpptest.Put(t, d, lo,
		model.Address{Interface: lo.ID(), Prefix: pfx("10.1.0.1/24")},
		model.Address{Interface: lo.ID(), Prefix: pfx("fd01::1/64")},
		model.AdminUp{Interface: lo.ID()},
		model.Route{Prefix: pfx("10.2.0.0/24"), Interface: lo.ID(), NextHop: addr("10.1.0.9")},
		model.Route{Prefix: pfx("10.3.0.3/32"), Interface: lo.ID()},
		model.Route{Prefix: pfx("fd02::/64"), Interface: lo.ID(), NextHop: addr("fd01::9")},
	)
	const sourceAPI = 8
	got := map[string]uint8{}
	for _, v6 := range []bool{false, true} {
		stream, err := ip.NewServiceClient(conn).IPRouteV2Dump(deadline(t), &ip.IPRouteV2Dump{
			Src: sourceAPI, Table: ip.IPTable{IsIP6: v6},
		})
		for _, r := range collect(t, stream, err) {
			got[r.Route.Prefix.String()] = r.Route.Src
		}
	}
	want := []string{"10.2.0.0/24", "10.3.0.3/32", "fd02::/64"}
	for _, p := range want {
		if got[p] != sourceAPI {
			t.Errorf("%s comes with source %d, want %d", p, got[p], sourceAPI)
		}
	}
	if len(got) != len(want) {
		t.Errorf("dumped %v, want only %v", got, want)
	}
}

func TestVhostUser(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	rpc := vhost_user.NewServiceClient(conn)
	sock := v.Socket(t, "p", "vh")
	if err := os.WriteFile(sock, []byte("what stands here is unlinked"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := func() (*vhost_user.CreateVhostUserIfV2Reply, error) {
		return rpc.CreateVhostUserIfV2(deadline(t), &vhost_user.CreateVhostUserIfV2{
			IsServer: true, SockFilename: sock, Tag: "vpp-cni/net1/p",
		})
	}
	made := must(server())(t)
	info, err := os.Lstat(sock)
	if err != nil || info.Mode()&os.ModeSocket == 0 || info.Mode().Perm() != 0o755 {
		t.Errorf("socket file is %v, %v, want a socket of mode 755", info, err)
	}
	_, err = server()
	expect(t, "second server on the path", retval(t, err), -79)
	d := named(t, conn, "VirtualEthernet0/0/0")
	if d == nil || d.SwIfIndex != made.SwIfIndex || d.Tag != "vpp-cni/net1/p" || d.Mtu[0] != 9000 {
		t.Errorf("dumped as %+v", d)
	}
	stream, err := rpc.SwInterfaceVhostUserDump(deadline(t), &vhost_user.SwInterfaceVhostUserDump{SwIfIndex: all})
	list := collect(t, stream, err)
	if len(list) != 1 || list[0].SockFilename != sock || !list[0].IsServer {
		t.Errorf("dumped as %+v", list)
	}
	must(rpc.DeleteVhostUserIf(deadline(t), &vhost_user.DeleteVhostUserIf{SwIfIndex: made.SwIfIndex}))(t)
	_, err = rpc.DeleteVhostUserIf(deadline(t), &vhost_user.DeleteVhostUserIf{SwIfIndex: made.SwIfIndex})
	expect(t, "delete twice", retval(t, err), -2)
}

func TestVXLANTwice(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	add := func() int32 {
		t.Helper()
		_, err := vxlan.NewServiceClient(conn).VxlanAddDelTunnelV3(deadline(t), &vxlan.VxlanAddDelTunnelV3{
			IsAdd: true, Instance: ^uint32(0), Vni: 7, McastSwIfIndex: all, DecapNextIndex: ^uint32(0),
			SrcAddress: must(ip_types.ParseAddress("10.1.0.1"))(t),
			DstAddress: must(ip_types.ParseAddress("10.1.0.2"))(t),
		})
		return retval(t, err)
	}
	expect(t, "tunnel", add(), 0)
	expect(t, "the same tunnel twice", add(), -75)
}
