package podplan

import (
	"net/netip"
	"slices"

	"github.com/vpp-cni/vpp-cni/schema"
)

// layer3 makes of IPAM's answer what VPP in the pod must hold. A gateway that is
// in no subnet of the pod gets a route of its own, on the link.
//
// Where the host end is routed, nobody but the gateway answers on the link, so
// an address stands as a host prefix (with IPAM's /24 a pod asks by ARP for its
// neighbours, and the host's VPP 25.10 does not answer for them), and the subnet
// is reached by the gateway unless a route of IPAM's covers it.
func layer3(v schema.PodInterface) ([]netip.Prefix, []schema.Route) {
	var addresses []netip.Prefix
	var routes []schema.Route
	for _, a := range v.Addresses {
		gw := v.GatewayOf(a)
		if !v.Routed || !gw.IsValid() {
			addresses = append(addresses, a)
			continue
		}
		addresses = append(addresses, netip.PrefixFrom(a.Addr(), a.Addr().BitLen()))
		if subnet := a.Masked(); !a.IsSingleIP() && !covered(subnet, v.Routes) {
			routes = append(routes, schema.Route{Dst: subnet, GW: gw})
		}
	}
	for _, r := range v.Routes {
		if !slices.Contains(routes, r) {
			routes = append(routes, r)
		}
	}
	return addresses, append(onLink(addresses, v.Gateways, routes), routes...)
}

// onLink are the routes to next hops that no address covers.
func onLink(addresses []netip.Prefix, gateways []netip.Addr, routes []schema.Route) []schema.Route {
	hops := slices.Clone(gateways)
	for _, r := range routes {
		if r.GW.IsValid() && !slices.Contains(hops, r.GW) {
			hops = append(hops, r.GW)
		}
	}
	var out []schema.Route
	for _, gw := range hops {
		way := schema.Route{Dst: netip.PrefixFrom(gw, gw.BitLen())}
		if !slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Contains(gw) }) && !slices.Contains(routes, way) {
			out = append(out, way)
		}
	}
	return out
}

// covered says whether a route holds all of subnet.
func covered(subnet netip.Prefix, routes []schema.Route) bool {
	return slices.ContainsFunc(routes, func(r schema.Route) bool {
		return r.Dst.Bits() <= subnet.Bits() && r.Dst.Contains(subnet.Addr())
	})
}
