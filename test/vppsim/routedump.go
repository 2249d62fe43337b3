package vppsim

import (
	"cmp"
	"net/netip"
	"slices"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
)

func (v *vpp) ipRouteDump(q *ip.IPRouteDump, send func(govpp.Message)) {
	for _, r := range v.dumpRoutes(q.Table, 0) {
		send(&ip.IPRouteDetails{Route: routeV1(r)})
	}
}

func (v *vpp) ipRouteV2Dump(q *ip.IPRouteV2Dump, send func(govpp.Message)) {
	for _, r := range v.dumpRoutes(q.Table, fibSource(q.Src)) {
		send(&ip.IPRouteV2Details{Route: r})
	}
}

func (v *vpp) ipRouteLookup(q *ip.IPRouteLookup, r *ip.IPRouteLookupReply) retval {
	route, rv := v.lookupRoute(q.TableID, q.Exact != 0, q.Prefix)
	r.Route = routeV1(route)
	return rv
}

func (v *vpp) ipRouteLookupV2(q *ip.IPRouteLookupV2, r *ip.IPRouteLookupV2Reply) retval {
	route, rv := v.lookupRoute(q.TableID, q.Exact != 0, q.Prefix)
	r.Route = route
	return rv
}

func (v *vpp) lookupRoute(table uint32, exact bool, p ip_types.Prefix) (ip.IPRouteV2, retval) {
	t := v.fib(p.Address.Af == ip_types.ADDRESS_IP6).byID[table]
	if t == nil {
		return ip.IPRouteV2{}, govpp.NO_SUCH_TABLE
	}
	prefix := netip.PrefixFrom(addressOf(p.Address), int(p.Len))
	if !prefix.IsValid() {
		return ip.IPRouteV2{}, govpp.NO_SUCH_ENTRY
	}
	e := t.lookup(prefix)
	if e == nil || exact && e.key != prefix.Masked() {
		return ip.IPRouteV2{}, govpp.NO_SUCH_ENTRY
	}
	return e.route(e.best()), ok
}

func routeV1(r ip.IPRouteV2) ip.IPRoute {
	return ip.IPRoute{TableID: r.TableID, StatsIndex: r.StatsIndex, Prefix: r.Prefix, NPaths: r.NPaths, Paths: r.Paths}
}

// dumpRoutes gives every entry of a table with the paths of its best source, or
// those entries that one source wants. Neighbours and the next hops that routes
// resolve through are entries too.
func (v *vpp) dumpRoutes(q ip.IPTable, source fibSource) []ip.IPRouteV2 {
	t := v.fib(q.IsIP6).byID[q.TableID]
	if t == nil {
		return nil
	}
	entries := t.entries()
	if source == 0 || source == sourceAdjacency || source == sourceRecursive {
		entries = v.withImplied(t, entries)
	}
	routes := make([]ip.IPRouteV2, 0, len(entries))
	for _, e := range entries {
		if source == 0 || e.sources[source] != nil {
			routes = append(routes, e.route(e.best()))
		}
	}
	return routes
}

// withImplied adds the entries that VPP makes for neighbours, for the next hops
// of recursive routes and for the far ends of tunnels, where there is no other
// entry for the address.
func (v *vpp) withImplied(t *ipTable, entries []*fibEntry) []*fibEntry {
	implied := make(map[netip.Addr]*fibEntry)
	add := func(a netip.Addr, source fibSource, paths ...fibPath) {
		host := netip.PrefixFrom(a, a.BitLen())
		if t.routes[host] != nil {
			return
		}
		if had := implied[a]; had != nil && had.best() < source {
			return
		}
		implied[a] = &fibEntry{
			table: t, key: host, prefix: host,
			sources: map[fibSource][]fibPath{source: paths},
		}
	}
	for _, n := range v.allNeighbors(t.fib.v6) {
		if v.tableOf(n.index, t.fib.v6) == t && !n.noFIB {
			add(n.addr, sourceAdjacency, attachedPath(n.index, n.addr, fib_types.FIB_API_PATH_TYPE_NORMAL, t.fib.v6))
		}
	}
	for _, e := range entries {
		for _, p := range e.sources[e.best()] {
			nh := addrOf(p.Nh.Address, t.fib.v6)
			if p.SwIfIndex == noIndex && p.Type == fib_types.FIB_API_PATH_TYPE_NORMAL && !nh.IsUnspecified() {
				add(nh, sourceRecursive, t.resolve(nh)...)
			}
		}
	}
	for tunnel := range v.vxlan.all() {
		if v.fib(tunnel.src.Is6()).byID[tunnel.key.vrf] == t {
			add(tunnel.key.dst, sourceRecursive, t.resolve(tunnel.key.dst)...)
		}
	}
	for _, e := range implied {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *fibEntry) int {
		return cmp.Or(cmp.Compare(a.key.Bits(), b.key.Bits()), a.key.Addr().Compare(b.key.Addr()))
	})
	return entries
}

// resolve gives the paths that an address inherits of the route that covers it:
// on a connected network it is its own next hop.
func (t *ipTable) resolve(a netip.Addr) []fibPath {
	e := t.lookup(netip.PrefixFrom(a, a.BitLen()))
	if e == nil {
		return []fibPath{t.fib.dropPath()}
	}
	paths := slices.Clone(e.sources[e.best()])
	attachHost(paths, a)
	return paths
}

func (e *fibEntry) route(source fibSource) ip.IPRouteV2 {
	r := ip.IPRouteV2{
		TableID:    e.table.id,
		StatsIndex: e.id,
		Src:        uint8(source),
		Prefix: ip_types.Prefix{
			Address: toAddress(e.prefix.Addr()),
			Len:     uint8(e.prefix.Bits()), // 0 to 128
		},
	}
	for _, p := range e.sources[source] {
		r.Paths = append(r.Paths, p.FibPath)
	}
	r.NPaths = uint8(len(r.Paths)) // the API carries at most 255
	return r
}
