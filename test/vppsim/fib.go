package vppsim

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/ip_types"

	"github.com/vpp-cni/vpp-cni/test/vppsim/dataplane"
)

// fibSource is who put a route there; the lowest number wins
// (src/vnet/fib/fib_source.h).
type fibSource uint8

const (
	sourceSpecial   fibSource = 1
	sourceInterface fibSource = 4
	sourceAPI       fibSource = 8
	sourceAdjacency fibSource = 15 // a neighbour
	sourceRecursive fibSource = 18 // a next hop that a route resolves through
	sourceDefault   fibSource = 20
)

// fib is one address family's tables.
type fib struct {
	v6     bool
	tables pool[ipTable]
	byID   map[uint32]*ipTable
	lastID uint32 // of entries: what stats_index tells
}

// ipTable is one VRF's table. It lives while the API or an interface holds it.
type ipTable struct {
	fib    *fib
	place  uint32
	id     uint32
	name   string
	byAPI  bool
	bound  int // interfaces in it
	routes map[netip.Prefix]*fibEntry
}

// fibEntry is one prefix with what each source wants of it.
type fibEntry struct {
	id      uint32
	table   *ipTable
	key     netip.Prefix // masked
	prefix  netip.Prefix // as it was first given: VPP's dump has its host bits
	sources map[fibSource][]fibPath
	inPlane bool
}

// fibPath is a path as the API gives and tells it. dead: its interface was
// deleted; an interface that gets the same index later does not revive it.
type fibPath struct {
	fib_types.FibPath
	dead bool
}

func newFIB(v6 bool) *fib {
	f := &fib{v6: v6, byID: make(map[uint32]*ipTable)}
	f.add(0, "").byAPI = true
	return f
}

// add makes a table with the routes that VPP puts into every one.
func (f *fib) add(id uint32, name string) *ipTable {
	if name == "" {
		name = fmt.Sprintf("ipv%d-VRF:%d", map[bool]int{false: 4, true: 6}[f.v6], id)
	}
	t := f.tables.put(func(place uint32) *ipTable {
		return &ipTable{fib: f, place: place, id: id, name: name, routes: make(map[netip.Prefix]*fibEntry)}
	})
	f.byID[id] = t
	drop := f.dropPath()
	if f.v6 {
		t.set(netip.MustParsePrefix("::/0"), sourceDefault, drop)
		receive := drop
		receive.Type = fib_types.FIB_API_PATH_TYPE_NORMAL
		t.set(netip.MustParsePrefix("fe80::/10"), sourceSpecial, receive)
		return t
	}
	t.set(netip.MustParsePrefix("0.0.0.0/0"), sourceDefault, drop)
	t.set(netip.MustParsePrefix("0.0.0.0/32"), sourceDefault, drop)
	t.set(netip.MustParsePrefix("255.255.255.255/32"), sourceDefault, drop)
	t.set(netip.MustParsePrefix("224.0.0.0/4"), sourceSpecial, drop)
	t.set(netip.MustParsePrefix("240.0.0.0/4"), sourceSpecial, drop)
	return t
}

func (f *fib) dropPath() fibPath {
	p := fibPath{FibPath: fib_types.FibPath{
		SwIfIndex: noIndex, Weight: 1, Type: fib_types.FIB_API_PATH_TYPE_DROP,
	}}
	if f.v6 {
		p.Proto = fib_types.FIB_API_PATH_NH_PROTO_IP6
	}
	return p
}

// attachedPath leads to what is on the interface; nh is the zero address for a
// whole prefix.
func attachedPath(index uint32, nh netip.Addr, typ fib_types.FibPathType, v6 bool) fibPath {
	p := fibPath{FibPath: fib_types.FibPath{SwIfIndex: index, Weight: 1, Type: typ}}
	if v6 {
		p.Proto = fib_types.FIB_API_PATH_NH_PROTO_IP6
	}
	if nh.IsValid() {
		p.Nh.Address = unionOf(nh)
	}
	return p
}

// set replaces what one source wants of a prefix.
func (t *ipTable) set(prefix netip.Prefix, source fibSource, paths ...fibPath) *fibEntry {
	key := prefix.Masked()
	e := t.routes[key]
	if e == nil {
		t.fib.lastID++
		e = &fibEntry{
			id: t.fib.lastID, table: t, key: key, prefix: prefix,
			sources: make(map[fibSource][]fibPath),
		}
		t.routes[key] = e
	}
	e.sources[source] = paths
	return e
}

// unset takes away what one source wants. Nil: it wanted nothing.
func (t *ipTable) unset(prefix netip.Prefix, source fibSource) *fibEntry {
	e := t.routes[prefix.Masked()]
	if e == nil || e.sources[source] == nil {
		return nil
	}
	delete(e.sources, source)
	if len(e.sources) == 0 {
		delete(t.routes, e.key)
	}
	return e
}

// best is the source that counts. Zero: there is none left.
func (e *fibEntry) best() fibSource {
	var best fibSource
	for s := range e.sources {
		if best == 0 || s < best {
			best = s
		}
	}
	return best
}

// lookup finds the longest prefix that covers all of p.
func (t *ipTable) lookup(p netip.Prefix) *fibEntry {
	for bits := p.Bits(); bits >= 0; bits-- {
		if e := t.routes[netip.PrefixFrom(p.Addr(), bits).Masked()]; e != nil {
			return e
		}
	}
	return nil
}

// entries are all of the table, shortest prefix first. VPP's order within one
// length is that of its hash.
func (t *ipTable) entries() []*fibEntry {
	all := make([]*fibEntry, 0, len(t.routes))
	for _, e := range t.routes {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *fibEntry) int {
		return cmp.Or(cmp.Compare(a.key.Bits(), b.key.Bits()), a.key.Addr().Compare(b.key.Addr()))
	})
	return all
}

// release removes a table that nobody holds any more, with its routes.
func (v *vpp) release(t *ipTable) {
	if t.byAPI || t.bound > 0 {
		return
	}
	for _, e := range t.routes {
		e.sources = nil
		v.syncRoute(e)
	}
	delete(t.fib.byID, t.id)
	t.fib.tables.del(t.place)
}

// syncRoute tells the data plane about a route of the API. Connected routes it
// makes itself.
func (v *vpp) syncRoute(e *fibEntry) {
	source := e.best()
	if source < sourceAPI || source >= sourceAdjacency {
		if e.inPlane {
			v.plane.SetRoute(e.table.id, e.key, nil)
			e.inPlane = false
		}
		return
	}
	paths := make([]dataplane.Path, 0, len(e.sources[source]))
	for _, p := range e.sources[source] {
		paths = append(paths, p.plane(e.key))
	}
	v.plane.SetRoute(e.table.id, e.key, paths)
	e.inPlane = true
}

// plane is the path for the data plane. One without interface and next hop
// cannot be resolved: packets are dropped, which is what VPP does on such types.
// A host's own address as its next hop is how VPP writes that it is attached.
func (p fibPath) plane(dst netip.Prefix) dataplane.Path {
	if p.dead || p.Type != fib_types.FIB_API_PATH_TYPE_NORMAL {
		return dataplane.Path{Interface: dataplane.NoInterface}
	}
	out := dataplane.Path{Interface: p.SwIfIndex}
	nh := addrOf(p.Nh.Address, dst.Addr().Is6())
	if own := dst.IsSingleIP() && nh == dst.Addr(); !own && !nh.IsUnspecified() {
		out.NextHop = nh
	}
	return out
}

func unionOf(a netip.Addr) ip_types.AddressUnion {
	if a.Is4() {
		return ip_types.AddressUnionIP4(a.As4())
	}
	return ip_types.AddressUnionIP6(a.As16())
}

func addrOf(u ip_types.AddressUnion, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16(u.GetIP6())
	}
	return netip.AddrFrom4(u.GetIP4())
}

func addressOf(a ip_types.Address) netip.Addr {
	return addrOf(a.Un, a.Af == ip_types.ADDRESS_IP6)
}

func toAddress(a netip.Addr) ip_types.Address {
	af := ip_types.ADDRESS_IP4
	if a.Is6() {
		af = ip_types.ADDRESS_IP6
	}
	return ip_types.Address{Af: af, Un: unionOf(a)}
}
