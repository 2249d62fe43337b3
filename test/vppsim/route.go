package vppsim

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
)

// invalidPrefixLength is VNET_API_ERROR_INVALID_PREFIX_LENGTH, which GoVPP's
// list does not have.
const invalidPrefixLength retval = -171

func (v *vpp) registerRoute() {
	onRequest(v, v.ipTableAddDel)
	onRequest(v, v.ipTableAddDelV2)
	onRequest(v, v.ipTableFlush)
	onDump(v, v.ipTableDump)
	onRequest(v, v.ipRouteAddDel)
	onRequest(v, v.ipRouteAddDelV2)
	onDump(v, v.ipRouteDump)
	onDump(v, v.ipRouteV2Dump)
	onRequest(v, v.ipRouteLookup)
	onRequest(v, v.ipRouteLookupV2)
}

func (v *vpp) fib(v6 bool) *fib {
	if v6 {
		return v.fib6
	}
	return v.fib4
}

func (v *vpp) ipTableAddDel(q *ip.IPTableAddDel, _ *ip.IPTableAddDelReply) retval {
	return v.addDelTable(q.IsAdd, q.Table)
}

func (v *vpp) ipTableAddDelV2(q *ip.IPTableAddDelV2, _ *ip.IPTableAddDelV2Reply) retval {
	return v.addDelTable(q.IsAdd, q.Table)
}

// addDelTable never fails: the API holds a table once, however often it adds it,
// and table 0 is always there.
func (v *vpp) addDelTable(add bool, q ip.IPTable) retval {
	f := v.fib(q.IsIP6)
	t := f.byID[q.TableID]
	switch {
	case q.TableID == 0:
	case add && t == nil:
		f.add(q.TableID, q.Name).byAPI = true
	case add:
		t.byAPI = true
	case t != nil:
		t.byAPI = false
		v.release(t)
	}
	return ok
}

func (v *vpp) ipTableFlush(q *ip.IPTableFlush, _ *ip.IPTableFlushReply) retval {
	t := v.fib(q.Table.IsIP6).byID[q.Table.TableID]
	if t == nil {
		return govpp.NO_SUCH_FIB
	}
	for _, e := range t.entries() {
		if t.unset(e.key, sourceAPI) != nil {
			v.syncRoute(e)
		}
	}
	return ok
}

func (v *vpp) ipTableDump(_ *ip.IPTableDump, send func(govpp.Message)) {
	for _, f := range []*fib{v.fib4, v.fib6} {
		for t := range f.tables.all() {
			send(&ip.IPTableDetails{Table: ip.IPTable{TableID: t.id, IsIP6: f.v6, Name: t.name}})
		}
	}
}

func (v *vpp) ipRouteAddDel(q *ip.IPRouteAddDel, r *ip.IPRouteAddDelReply) retval {
	route := ip.IPRouteV2{TableID: q.Route.TableID, Prefix: q.Route.Prefix, Paths: q.Route.Paths}
	index, rv := v.addDelRoute(q.IsAdd, q.IsMultipath, route)
	r.StatsIndex = index
	return rv
}

func (v *vpp) ipRouteAddDelV2(q *ip.IPRouteAddDelV2, r *ip.IPRouteAddDelV2Reply) retval {
	index, rv := v.addDelRoute(q.IsAdd, q.IsMultipath, q.Route)
	r.StatsIndex = index
	return rv
}

// addDelRoute gives the stats index of what it added. Deleting what is not there
// is no error in VPP.
func (v *vpp) addDelRoute(add, multipath bool, q ip.IPRouteV2) (uint32, retval) {
	v6 := q.Prefix.Address.Af == ip_types.ADDRESS_IP6
	t := v.fib(v6).byID[q.TableID]
	if t == nil {
		return noIndex, govpp.NO_SUCH_FIB
	}
	paths := make([]fibPath, 0, len(q.Paths))
	for _, p := range q.Paths {
		if rv := v.checkPath(p); rv != ok {
			return noIndex, rv
		}
		p.Weight = max(p.Weight, 1)
		p.RpfID = 0
		paths = append(paths, fibPath{FibPath: p})
	}
	prefix := netip.PrefixFrom(addressOf(q.Prefix.Address), int(q.Prefix.Len))
	if !prefix.IsValid() {
		return noIndex, invalidPrefixLength
	}
	if len(paths) == 0 && (add || multipath) {
		return noIndex, govpp.PREFIX_MATCHES_NEXT_HOP // -52, NO_PATHS_IN_ROUTE in VPP
	}
	source := fibSource(q.Src)
	if source == 0 {
		source = sourceAPI
	}
	e := v.changeRoute(t, prefix, source, add, multipath, paths)
	if e == nil || !add {
		return noIndex, ok
	}
	return e.id, ok
}

// changeRoute is nil where there was nothing to delete.
func (v *vpp) changeRoute(t *ipTable, prefix netip.Prefix, source fibSource, add, multipath bool, paths []fibPath) *fibEntry {
	var had []fibPath
	if e := t.routes[prefix.Masked()]; e != nil {
		had = e.sources[source]
	}
	if prefix.IsSingleIP() {
		attachHost(paths, prefix.Addr())
	}
	switch {
	case add && multipath:
		paths = merge(had, paths)
	case multipath:
		paths = without(had, paths)
	case !add:
		paths = nil
	default:
		shareDead(had, paths)
	}
	var e *fibEntry
	if len(paths) == 0 {
		e = t.unset(prefix, source)
	} else {
		e = t.set(prefix, source, merge(nil, paths)...)
	}
	if e != nil {
		v.rememberPaths(e, paths)
		v.syncRoute(e)
	}
	return e
}

// shareDead: a route that is added over itself finds the path that it has, dead or
// not. Only a delete ends it (fib_path_list_create with SHARED, and
// FIB_PATH_OPER_FLAG_DROP, which nothing clears).
func shareDead(had, paths []fibPath) {
	for n, p := range paths {
		if at := slices.IndexFunc(had, func(q fibPath) bool { return samePath(p, q) }); at >= 0 {
			paths[n].dead = had[at].dead
		}
	}
}

// attachHost gives a path of a host route that names only an interface the
// host's own address as next hop, as VPP does.
func attachHost(paths []fibPath, host netip.Addr) {
	for n, p := range paths {
		if p.Type == fib_types.FIB_API_PATH_TYPE_NORMAL && p.SwIfIndex != noIndex &&
			addrOf(p.Nh.Address, host.Is6()).IsUnspecified() {
			paths[n].Nh.Address = unionOf(host)
		}
	}
}

// checkPath is VPP's check of one path (fib_api_path_decode). A path without an
// interface must name an existing table.
func (v *vpp) checkPath(p fib_types.FibPath) retval {
	if p.Type != fib_types.FIB_API_PATH_TYPE_NORMAL {
		return ok
	}
	if p.SwIfIndex != noIndex {
		if v.interfaces.pool.get(p.SwIfIndex) == nil {
			return govpp.NO_MATCHING_INTERFACE
		}
		return ok
	}
	if v.fib(p.Proto == fib_types.FIB_API_PATH_NH_PROTO_IP6).byID[p.TableID] == nil {
		return govpp.NO_SUCH_FIB
	}
	return ok
}

// rememberPaths lets an interface know the routes over it, so that its end can
// tell them.
func (v *vpp) rememberPaths(e *fibEntry, paths []fibPath) {
	for _, p := range paths {
		if i := v.interfaces.pool.get(p.SwIfIndex); i != nil {
			i.ip.routes[e] = struct{}{}
		}
	}
}

// strand leaves the routes over a deleted interface where they are, leading
// nowhere, as VPP does.
func (v *vpp) strand(i *swInterface) {
	for e := range i.ip.routes {
		for _, paths := range e.sources {
			for n := range paths {
				paths[n].dead = paths[n].dead || paths[n].SwIfIndex == i.index
			}
		}
		if len(e.sources) > 0 {
			v.syncRoute(e)
		}
	}
}

func samePath(a, b fibPath) bool {
	return a.SwIfIndex == b.SwIfIndex && a.Nh.Address == b.Nh.Address && a.Type == b.Type &&
		a.Proto == b.Proto && a.TableID == b.TableID
}

// merge adds paths that are not there yet, in VPP's order: by preference, then
// interface, then next hop.
func merge(had, more []fibPath) []fibPath {
	out := slices.Clone(had)
	for _, p := range more {
		if !slices.ContainsFunc(out, func(q fibPath) bool { return samePath(p, q) }) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b fibPath) int {
		return cmp.Or(
			cmp.Compare(a.Preference, b.Preference),
			cmp.Compare(a.SwIfIndex, b.SwIfIndex),
			bytes.Compare(a.Nh.Address.XXX_UnionData[:], b.Nh.Address.XXX_UnionData[:]))
	})
	return out
}

func without(had, less []fibPath) []fibPath {
	return slices.DeleteFunc(slices.Clone(had), func(p fibPath) bool {
		return slices.ContainsFunc(less, func(q fibPath) bool { return samePath(p, q) })
	})
}
