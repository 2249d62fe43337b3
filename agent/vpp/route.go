package vpp

import (
	"context"
	"net/netip"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/ip"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// sourceAPI is FIB_SOURCE_API of VPP 25.10's src/vnet/fib/fib_source.h: routes
// that came over the binary API, as opposed to connected, local, link-local and
// neighbour entries, which VPP makes by itself.
const sourceAPI = 8

// route is a route of VPP as a model object; ours are those that leave by an
// interface of ours.
func (w *view) route(r ip.IPRouteV2) (model.Route, bool) {
	if r.Src != sourceAPI {
		return model.Route{}, false
	}
	for _, p := range r.Paths {
		if i := w.byIndex[p.SwIfIndex]; i != nil {
			found := model.Route{
				VRF: r.TableID, Prefix: fromPrefix(r.Prefix), Interface: i.id, NextHop: nextHop(p),
				Shared: len(r.Paths) > 1,
			}
			// VPP turns a host route that is on the link into one by its own address.
			if found.Prefix.IsSingleIP() && found.NextHop == found.Prefix.Addr() {
				found.NextHop = netip.Addr{}
			}
			return found, true
		}
	}
	return model.Route{}, false
}

// putRoute replaces all paths of the prefix by the one that is wanted.
func (v *VPP) putRoute(ctx context.Context, s *session, r model.Route) error {
	i, err := v.resolve(ctx, s, r.Interface)
	if err != nil {
		return err
	}
	if r.Prefix.Addr().Is6() {
		if err = s.enableIP6(ctx, i); err != nil {
			return err
		}
	}
	_, err = ask[*ip.IPRouteAddDelV2Reply](ctx, s, &ip.IPRouteAddDelV2{IsAdd: true, Route: route(r, i.idx)})
	return err
}

// enableIP6 gives an interface its link-local address and lets it take
// multicast. One that borrows its addresses has neither by itself: a neighbour
// solicitation would fail the multicast RPF check and nobody would answer it.
func (s *session) enableIP6(ctx context.Context, i iface) error {
	_, err := ask[*ip.SwInterfaceIP6EnableDisableReply](ctx, s, &ip.SwInterfaceIP6EnableDisable{
		SwIfIndex: interfaceIndex(i.idx), Enable: true,
	})
	if isRetval(err, api.VALUE_EXIST) {
		return nil // it is enabled
	}
	return err
}

// deleteRoute removes the prefix if it still leaves by the interface that it
// was found with: with is_multipath VPP takes out this path alone.
func (v *VPP) deleteRoute(ctx context.Context, s *session, r model.Route) error {
	i, ok, err := v.present(ctx, s, r.Interface)
	if err != nil || !ok {
		return err
	}
	_, err = ask[*ip.IPRouteAddDelV2Reply](ctx, s, &ip.IPRouteAddDelV2{IsMultipath: true, Route: route(r, i.idx)})
	return absent(err)
}

func route(r model.Route, idx uint32) ip.IPRouteV2 {
	path := fib_types.FibPath{SwIfIndex: idx, Weight: 1, Proto: pathProto(r.Prefix.Addr())}
	if r.NextHop.IsValid() {
		path.Proto = pathProto(r.NextHop)
		path.Nh.Address = toAddress(r.NextHop).Un
	}
	return ip.IPRouteV2{
		TableID: r.VRF, Prefix: toPrefix(r.Prefix), Src: sourceAPI,
		NPaths: 1, Paths: []fib_types.FibPath{path},
	}
}
