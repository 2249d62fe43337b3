package vpptest_test

import (
	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/vhost_user"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// idx is the sw_if_index of an interface of ours.
func (e env) idx(tag model.Tag) index {
	e.t.Helper()
	s, ok := e.driver.Interface(tag)
	if !ok {
		e.t.Fatalf("the driver does not know %s", tag)
	}
	return index(s.SwIfIndex)
}

func (e env) table(table ip.IPTable, add bool) {
	e.t.Helper()
	must(ip.NewServiceClient(e.conn).IPTableAddDelV2(e.ctx, &ip.IPTableAddDelV2{Table: table, IsAdd: add}))(e.t)
}

func (e env) mac(tag model.Tag) {
	e.t.Helper()
	must(interfaces.NewServiceClient(e.conn).SwInterfaceSetMacAddress(e.ctx, &interfaces.SwInterfaceSetMacAddress{
		SwIfIndex: e.idx(tag), MacAddress: ethernet_types.MacAddress{2, 0xba, 0xd, 0, 0, 1},
	}))(e.t)
}

func (e env) admin(tag model.Tag, up bool) {
	e.t.Helper()
	req := &interfaces.SwInterfaceSetFlags{SwIfIndex: e.idx(tag)}
	if up {
		req.Flags = interface_types.IF_STATUS_API_FLAG_ADMIN_UP
	}
	must(interfaces.NewServiceClient(e.conn).SwInterfaceSetFlags(e.ctx, req))(e.t)
}

func (e env) mtu(tag model.Tag, bytes uint32) {
	e.t.Helper()
	must(interfaces.NewServiceClient(e.conn).SwInterfaceSetMtu(e.ctx, &interfaces.SwInterfaceSetMtu{
		SwIfIndex: e.idx(tag), Mtu: []uint32{bytes, 0, 0, 0},
	}))(e.t)
}

func (e env) deleteVhost() {
	e.t.Helper()
	must(vhost_user.NewServiceClient(e.conn).DeleteVhostUserIf(e.ctx, &vhost_user.DeleteVhostUserIf{SwIfIndex: e.idx(tagVhost)}))(e.t)
}

func (e env) dropAddresses(tag model.Tag) {
	e.t.Helper()
	must(interfaces.NewServiceClient(e.conn).SwInterfaceAddDelAddress(e.ctx, &interfaces.SwInterfaceAddDelAddress{
		SwIfIndex: e.idx(tag), DelAll: true,
	}))(e.t)
}

func (e env) bridge(tag model.Tag, bd uint32, in bool) {
	e.t.Helper()
	must(l2.NewServiceClient(e.conn).SwInterfaceSetL2Bridge(e.ctx, &l2.SwInterfaceSetL2Bridge{
		RxSwIfIndex: e.idx(tag), BdID: bd, Enable: in,
	}))(e.t)
}

func (e env) route(prefix string, tag model.Tag, hop string) ip.IPRouteV2 {
	e.t.Helper()
	p := must(ip_types.ParsePrefix(prefix))(e.t)
	path := fib_types.FibPath{SwIfIndex: uint32(e.idx(tag)), Weight: 1}
	if p.Address.Af == ip_types.ADDRESS_IP6 {
		path.Proto = fib_types.FIB_API_PATH_NH_PROTO_IP6
	}
	if hop != "" {
		path.Nh.Address = must(ip_types.ParseAddress(hop))(e.t).Un
	}
	return ip.IPRouteV2{Prefix: p, NPaths: 1, Paths: []fib_types.FibPath{path}}
}

func (e env) addRoute(prefix string, tag model.Tag, hop string, more bool) {
	e.t.Helper()
	must(ip.NewServiceClient(e.conn).IPRouteAddDelV2(e.ctx, &ip.IPRouteAddDelV2{
		IsAdd: true, IsMultipath: more, Route: e.route(prefix, tag, hop),
	}))(e.t)
}

func (e env) dropRoute(prefix string, tag model.Tag, hop string) {
	e.t.Helper()
	must(ip.NewServiceClient(e.conn).IPRouteAddDelV2(e.ctx, &ip.IPRouteAddDelV2{Route: e.route(prefix, tag, hop)}))(e.t)
}

func (e env) neighbor(tag model.Tag, a string, mac model.MAC) {
	e.t.Helper()
	must(ip_neighbor.NewServiceClient(e.conn).IPNeighborAddDel(e.ctx, &ip_neighbor.IPNeighborAddDel{
		IsAdd: true, Neighbor: ip_neighbor.IPNeighbor{
			SwIfIndex: e.idx(tag), Flags: ip_neighbor.IP_API_NEIGHBOR_FLAG_STATIC,
			MacAddress: ethernet_types.MacAddress(mac), IPAddress: must(ip_types.ParseAddress(a))(e.t),
		},
	}))(e.t)
}
