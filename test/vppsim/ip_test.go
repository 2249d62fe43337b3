package vppsim_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/memif"
)

func address(tb testing.TB, s string) ip_types.Address {
	tb.Helper()
	a, err := ip_types.ParseAddress(s)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func withPrefix(tb testing.TB, s string) ip_types.AddressWithPrefix {
	tb.Helper()
	p := netip.MustParsePrefix(s)
	return ip_types.AddressWithPrefix{Address: address(tb, p.Addr().String()), Len: uint8(p.Bits())}
}

func addrStep(t *testing.T, what string, i interface_types.InterfaceIndex, add bool, p string, want int32) step {
	t.Helper()
	return step{what, &interfaces_api.SwInterfaceAddDelAddress{SwIfIndex: i, IsAdd: add, Prefix: withPrefix(t, p)}, want}
}

// path is "memif-index next-hop", either may be missing (as -).
func path(t *testing.T, s string) fib_types.FibPath {
	t.Helper()
	via, nh, _ := strings.Cut(s, " ")
	p := fib_types.FibPath{SwIfIndex: anyIndex, Weight: 1}
	if via != "-" {
		if _, err := fmt.Sscan(via, &p.SwIfIndex); err != nil {
			t.Fatal(err)
		}
	}
	if nh != "" {
		a := address(t, nh)
		p.Nh.Address = a.Un
		p.Proto = fib_types.FibPathNhProto(a.Af)
	}
	return p
}

func route(t *testing.T, add bool, table uint32, p string, paths ...string) *ip.IPRouteAddDelV2 {
	t.Helper()
	r := &ip.IPRouteAddDelV2{IsAdd: add, Route: ip.IPRouteV2{TableID: table}}
	r.Route.Prefix = ip_types.Prefix(withPrefix(t, p))
	for _, s := range paths {
		r.Route.Paths = append(r.Route.Paths, path(t, s))
	}
	r.Route.NPaths = uint8(len(paths))
	return r
}

// routes dumps a table, a line an entry: prefix, source, paths.
func (c *client) routes(table uint32, v6 bool) []string {
	c.t.Helper()
	var lines []string
	for _, d := range dump[ip.IPRouteV2Details](c, &ip.IPRouteV2Dump{Table: ip.IPTable{TableID: table, IsIP6: v6}}) {
		r := d.Route
		line := fmt.Sprintf("%s src %d", r.Prefix, r.Src)
		for _, p := range r.Paths {
			kind := strings.ToLower(strings.TrimPrefix(p.Type.String(), "FIB_API_PATH_TYPE_"))
			nh := ip_types.Address{Af: r.Prefix.Address.Af, Un: p.Nh.Address}
			line += fmt.Sprintf(" {%d %s %s}", int32(p.SwIfIndex), kind, nh)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// ipPair makes an ethernet memif, index 1, and one of ip mode, index 2.
func ipPair(t *testing.T) *client {
	t.Helper()
	c := dial(t, start(t))
	c.socket(1, filepath.Join(t.TempDir(), "s"))
	c.memif(&memif.MemifCreateV2{SocketID: 1})
	c.memif(&memif.MemifCreateV2{SocketID: 1, ID: 1, Mode: memif.MEMIF_MODE_API_IP})
	return c
}

func TestAddressRetvals(t *testing.T) {
	c := ipPair(t)
	c.run([]step{
		addrStep(t, "add", 1, true, "10.0.0.1/24", 0),
		addrStep(t, "the same again", 1, true, "10.0.0.1/24", -105),
		addrStep(t, "a sibling", 1, true, "10.0.0.2/24", 0),
		addrStep(t, "within, another length", 1, true, "10.0.0.3/25", -105),
		addrStep(t, "the same on another interface", 2, true, "10.0.0.1/24", -105),
		addrStep(t, "covered on another interface", 2, true, "10.0.0.9/32", -105),
		addrStep(t, "covering on another interface", 2, true, "10.0.0.0/16", -105),
		addrStep(t, "delete a missing one", 1, false, "10.0.0.3/24", -60),
		addrStep(t, "on a missing interface", 99, true, "10.1.0.1/24", -2),
		addrStep(t, "on local0", 0, true, "10.1.0.1/24", -126),
		addrStep(t, "IPv6", 1, true, "2001:db8::1/64", 0),
		addrStep(t, "IPv6 again", 1, true, "2001:db8::1/64", -127),
		addrStep(t, "IPv6 on another interface", 2, true, "2001:db8::2/64", -127),
		addrStep(t, "link-local with a length", 1, true, "fe80::1/64", -59),
		addrStep(t, "link-local", 1, true, "fe80::1/128", 0),
		addrStep(t, "delete link-local", 1, false, "fe80::1/128", -61),
	})
	var got []string
	for _, v6 := range []bool{false, true} {
		for _, d := range dump[ip.IPAddressDetails](c, &ip.IPAddressDump{SwIfIndex: 1, IsIPv6: v6}) {
			got = append(got, d.Prefix.String())
		}
	}
	if want := []string{"10.0.0.1/24", "10.0.0.2/24", "2001:db8::1/64"}; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
}

var emptyTable = []string{
	"0.0.0.0/0 src 20 {-1 drop 0.0.0.0}",
	"0.0.0.0/32 src 20 {-1 drop 0.0.0.0}",
	"224.0.0.0/4 src 1 {-1 drop 0.0.0.0}",
	"240.0.0.0/4 src 1 {-1 drop 0.0.0.0}",
	"255.255.255.255/32 src 20 {-1 drop 0.0.0.0}",
}

// with is an empty table and these routes.
func with(routes ...string) []string {
	all := append(slices.Clone(emptyTable), routes...)
	slices.Sort(all)
	return all
}

func TestRoutesOfAddresses(t *testing.T) {
	c := ipPair(t)
	check := func(when string, want []string) {
		t.Helper()
		if got := c.routes(0, false); !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	check("empty", with())
	c.run([]step{
		addrStep(t, "add", 1, true, "10.0.0.1/24", 0),
		addrStep(t, "add", 2, true, "10.1.0.0/31", 0),
	})
	check("admin-down", with())
	c.admin(1, true)
	c.admin(2, true)
	connected := []string{
		"10.0.0.0/32 src 4 {-1 drop 0.0.0.0}",
		"10.0.0.1/24 src 4 {1 normal 0.0.0.0}", // with its host bits, as VPP tells it
		"10.0.0.1/32 src 4 {1 local 10.0.0.1}",
		"10.0.0.255/32 src 4 {-1 drop 0.0.0.0}",
	}
	check("admin-up", with(append(connected,
		"10.1.0.0/31 src 4 {2 normal 0.0.0.0}",
		"10.1.0.0/32 src 4 {2 local 10.1.0.0}",
		"10.1.0.1/32 src 4 {2 normal 10.1.0.1}")...))
	c.run([]step{addrStep(t, "IPv6", 1, true, "2001:db8::1/64", 0)})
	want6 := []string{
		"2001:db8::/64 src 4 {1 normal ::}", // IPv6 networks are told without host bits
		"2001:db8::1/128 src 4 {1 local 2001:db8::1}",
		"::/0 src 20 {-1 drop ::}",
		"fe80::/10 src 1 {-1 normal ::}",
	}
	if got := c.routes(0, true); !slices.Equal(got, want6) {
		t.Errorf("IPv6 routes %q, want %q", got, want6)
	}
	c.must(&memif.MemifDelete{SwIfIndex: 2}, &memif.MemifDeleteReply{})
	check("interface gone", with(connected...))
	c.admin(1, false)
	check("down again", with())
}

func TestRouteRetvals(t *testing.T) {
	c := ipPair(t)
	multi := route(t, true, 0, "1.0.0.0/24", "1 10.0.0.3")
	multi.IsMultipath = true
	c.run([]step{
		addrStep(t, "address", 1, true, "10.0.0.1/24", 0),
		{"add", route(t, true, 0, "1.0.0.0/24", "1 10.0.0.2"), 0},
		{"again", route(t, true, 0, "1.0.0.0/24", "1 10.0.0.2"), 0},
		{"a second path", multi, 0},
		{"recursive", route(t, true, 0, "2.0.0.0/24", "- 1.0.0.9"), 0},
		{"host on an interface", route(t, true, 0, "3.0.0.1/32", "2"), 0},
		{"host bits", route(t, true, 0, "4.0.0.1/24", "2"), 0},
		{"no paths", route(t, true, 0, "6.0.0.0/8"), -52},
		{"missing interface", route(t, true, 0, "6.0.0.0/8", "99 10.0.0.2"), -54},
		{"missing table", route(t, true, 77, "6.0.0.0/8", "1 10.0.0.2"), -3},
		{"delete what is not there", route(t, false, 0, "7.0.0.0/8"), 0},
		{"delete a connected route", route(t, false, 0, "10.0.0.0/24"), 0},
	})
	api := []string{
		"1.0.0.0/24 src 8 {1 normal 10.0.0.2} {1 normal 10.0.0.3}",
		"1.0.0.9/32 src 18 {1 normal 10.0.0.2} {1 normal 10.0.0.3}", // what 2.0.0.0/24 resolves through
		"2.0.0.0/24 src 8 {-1 normal 1.0.0.9}",
		"3.0.0.1/32 src 8 {2 normal 3.0.0.1}",
		"4.0.0.1/24 src 8 {2 normal 0.0.0.0}",
	}
	if got, want := c.routes(0, false), with(api...); !slices.Equal(got, want) {
		t.Errorf("routes:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Routes over an interface stay when it goes.
	c.must(&memif.MemifDelete{SwIfIndex: 2}, &memif.MemifDeleteReply{})
	if got := c.routes(0, false); !slices.Contains(got, api[3]) {
		t.Errorf("the route went with its interface: %v", got)
	}
	var found ip.IPRouteLookupV2Reply
	c.must(&ip.IPRouteLookupV2{Prefix: ip_types.Prefix(withPrefix(t, "1.0.0.5/32"))}, &found)
	if found.Route.Prefix.String() != "1.0.0.0/24" {
		t.Errorf("lookup of 1.0.0.5 found %s", found.Route.Prefix)
	}
}

func TestTables(t *testing.T) {
	c := ipPair(t)
	table := func(add bool, id uint32) *ip.IPTableAddDelV2 {
		return &ip.IPTableAddDelV2{IsAdd: add, CreateMfib: true, Table: ip.IPTable{TableID: id}}
	}
	set := func(i interface_types.InterfaceIndex, id uint32) *interfaces_api.SwInterfaceSetTable {
		return &interfaces_api.SwInterfaceSetTable{SwIfIndex: i, VrfID: id}
	}
	names := func() []string {
		var all []string
		for _, d := range dump[ip.IPTableDetails](c, &ip.IPTableDump{}) {
			all = append(all, d.Table.Name)
		}
		return all
	}
	c.run([]step{
		{"add", table(true, 10), 0},
		{"add again", table(true, 10), 0},
		{"add a third time", table(true, 10), 0},
		{"bind", set(1, 10), 0},
		{"bind to a missing one", set(1, 99), -3},
		{"bind a missing interface", set(99, 10), -2},
		addrStep(t, "address", 1, true, "10.0.0.1/24", 0),
		addrStep(t, "the same address in another table", 2, true, "10.0.0.1/24", 0),
		{"bind with an address", set(1, 0), -114},
		{"one delete, but an interface is in it", table(false, 10), 0},
	})
	if got, want := names(), []string{"ipv4-VRF:0", "ipv4-VRF:10", "ipv6-VRF:0"}; !slices.Equal(got, want) {
		t.Errorf("tables %v, want %v", got, want)
	}
	c.admin(1, true)
	if got, want := c.routes(10, false), "10.0.0.1/24 src 4 {1 normal 0.0.0.0}"; !slices.Contains(got, want) {
		t.Errorf("table 10 lacks %q: %v", want, got)
	}
	c.must(&memif.MemifDelete{SwIfIndex: 1}, &memif.MemifDeleteReply{})
	if got, want := names(), []string{"ipv4-VRF:0", "ipv6-VRF:0"}; !slices.Equal(got, want) {
		t.Errorf("tables %v, want %v", got, want)
	}
	c.run([]step{{"delete a missing one", table(false, 10), 0}})
}

func TestUnnumbered(t *testing.T) {
	c := ipPair(t)
	c.must(&interfaces_api.CreateLoopback{}, &interfaces_api.CreateLoopbackReply{})
	borrow := func(i, lender interface_types.InterfaceIndex, add bool) *interfaces_api.SwInterfaceSetUnnumbered {
		return &interfaces_api.SwInterfaceSetUnnumbered{SwIfIndex: lender, UnnumberedSwIfIndex: i, IsAdd: add}
	}
	c.run([]step{
		{"table", &ip.IPTableAddDelV2{IsAdd: true, Table: ip.IPTable{TableID: 10}}, 0},
		addrStep(t, "address", 3, true, "172.16.0.1/24", 0),
		{"borrow", borrow(1, 3, true), 0},
		{"borrow again", borrow(1, 3, true), 0},
		{"missing borrower", borrow(99, 3, true), -2},
		{"missing lender", borrow(1, 99, true), -10},
		{"table of a borrower", &interfaces_api.SwInterfaceSetTable{SwIfIndex: 1, VrfID: 10}, -114},
		{"another table", &interfaces_api.SwInterfaceSetTable{SwIfIndex: 2, VrfID: 10}, 0},
		{"borrow over tables", borrow(2, 3, true), -74},
	})
	got := dump[ip.IPUnnumberedDetails](c, &ip.IPUnnumberedDump{SwIfIndex: anyIface})
	if want := (ip.IPUnnumberedDetails{SwIfIndex: 1, IPSwIfIndex: 3}); len(got) != 1 || got[0] != want {
		t.Errorf("unnumbered: %+v", got)
	}
	if got := dump[ip.IPAddressDetails](c, &ip.IPAddressDump{SwIfIndex: 1}); got != nil {
		t.Errorf("borrowed addresses are dumped: %+v", got)
	}
	c.run([]step{{"give back", borrow(1, 3, false), 0}, {"and again", borrow(1, 3, false), 0}})
}

func TestIP6Enable(t *testing.T) {
	c := ipPair(t)
	enable := func(on bool) *ip.SwInterfaceIP6EnableDisable {
		return &ip.SwInterfaceIP6EnableDisable{SwIfIndex: 1, Enable: on}
	}
	get := &ip.SwInterfaceIP6GetLinkLocalAddress{SwIfIndex: 1}
	c.run([]step{
		{"MAC", &interfaces_api.SwInterfaceSetMacAddress{SwIfIndex: 1, MacAddress: ethernet_types.MacAddress{2, 1, 1, 1, 1, 1}}, 0},
		{"not enabled", get, -62},
		{"enable", enable(true), 0},
		{"enable twice", enable(true), -81},
	})
	var r ip.SwInterfaceIP6GetLinkLocalAddressReply
	c.must(get, &r)
	if got := r.IP.String(); got != "fe80::1:1ff:fe01:101" {
		t.Errorf("link-local %s", got)
	}
	c.run([]step{
		{"disable", enable(false), 0},
		{"disable twice", enable(false), 0},
		{"disable a third time", enable(false), -62},
		addrStep(t, "an address enables", 1, true, "2001:db8::1/64", 0),
		{"enabled", get, 0},
		addrStep(t, "and disables", 1, false, "2001:db8::1/64", 0),
		{"disabled", get, -62},
	})
}

func TestNeighbors(t *testing.T) {
	c := ipPair(t)
	neighbor := func(add bool, addr string, mac byte, flags ip_neighbor.IPNeighborFlags) *ip_neighbor.IPNeighborAddDel {
		return &ip_neighbor.IPNeighborAddDel{IsAdd: add, Neighbor: ip_neighbor.IPNeighbor{
			SwIfIndex: 1, Flags: flags, IPAddress: address(t, addr), MacAddress: ethernet_types.MacAddress{2, 0, 0, 0, 0, mac},
		}}
	}
	const static = ip_neighbor.IP_API_NEIGHBOR_FLAG_STATIC
	known := func() []string {
		var all []string
		for _, d := range dump[ip_neighbor.IPNeighborDetails](c, &ip_neighbor.IPNeighborDump{SwIfIndex: anyIface}) {
			all = append(all, fmt.Sprintf("%s %s", d.Neighbor.IPAddress, d.Neighbor.MacAddress))
		}
		return all
	}
	c.run([]step{
		addrStep(t, "address", 1, true, "10.0.0.1/24", 0),
		{"up", &interfaces_api.SwInterfaceSetFlags{SwIfIndex: 1, Flags: admin}, 0},
		{"static", neighbor(true, "10.0.0.2", 2, static), 0},
		{"static, changed", neighbor(true, "10.0.0.2", 3, static), 0},
		{"dynamic over static", neighbor(true, "10.0.0.2", 4, 0), -2},
		{"dynamic", neighbor(true, "10.0.0.3", 3, 0), 0},
		{"delete a missing one", neighbor(false, "10.0.0.9", 3, 0), -6},
	})
	if got, want := known(), []string{"10.0.0.2 02:00:00:00:00:03", "10.0.0.3 02:00:00:00:00:03"}; !slices.Equal(got, want) {
		t.Errorf("neighbours %v, want %v", got, want)
	}
	c.admin(1, false)
	static2 := []string{"10.0.0.2 02:00:00:00:00:03"}
	if got := known(); !slices.Equal(got, static2) {
		t.Errorf("neighbours after admin-down %v, want %v", got, static2)
	}
	// In VPP a static neighbour outlives its interface.
	c.must(&memif.MemifDelete{SwIfIndex: 1}, &memif.MemifDeleteReply{})
	if got := known(); !slices.Equal(got, static2) {
		t.Errorf("neighbours after the interface %v, want %v", got, static2)
	}
}
