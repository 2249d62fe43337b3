package dataplane

import (
	"net/netip"
	"slices"
)

// Path is one way out of a route.
type Path struct {
	Interface uint32     // NoInterface: resolve by NextHop
	NextHop   netip.Addr // zero: attached
}

type tableKey struct {
	id   uint32
	ipv6 bool
}

// table is one routing table of one family.
type table struct {
	entries map[netip.Prefix]*entry
	lengths [129]int // entries of each prefix length
}

// entry is what is known of one prefix, by source. As in VPP, interface
// addresses win over routes of the API.
type entry struct {
	local     []*port // whose address this is
	connected []*port // on whose link the prefix is
	edge      []*port // the network's or broadcast address of that link
	paths     []path
}

// path holds the interface itself: an index may be used again.
type path struct {
	port    *port // nil: resolve by nextHop
	nextHop netip.Addr
}

func (e *entry) empty() bool {
	return len(e.local)+len(e.connected)+len(e.edge)+len(e.paths) == 0
}

// attached says whether hosts of the prefix are neighbours.
func (e *entry) attached() bool {
	if len(e.local)+len(e.connected) > 0 {
		return true
	}
	return slices.ContainsFunc(e.paths, func(p path) bool { return p.port != nil && !p.nextHop.IsValid() })
}

// port is the interface that the entry resolves through, nil for none.
func (e *entry) port() *port {
	switch {
	case e == nil:
		return nil
	case len(e.local) > 0:
		return e.local[0]
	case len(e.connected) > 0:
		return e.connected[0]
	}
	for _, p := range e.paths {
		if p.port != nil && !p.port.removed {
			return p.port
		}
	}
	return nil
}

// change runs f on the entry of a prefix, made and deleted as needed.
func (p *Plane) change(k tableKey, prefix netip.Prefix, f func(e *entry)) {
	prefix = prefix.Masked()
	t := p.tables[k]
	if t == nil {
		t = &table{entries: map[netip.Prefix]*entry{}}
		p.tables[k] = t
	}
	e := t.entries[prefix]
	if e == nil {
		e = &entry{}
		t.entries[prefix] = e
		t.lengths[prefix.Bits()]++
	}
	f(e)
	if !e.empty() {
		return
	}
	delete(t.entries, prefix)
	t.lengths[prefix.Bits()]--
	if len(t.entries) == 0 {
		delete(p.tables, k)
	}
}

// find is the entry of the longest prefix of at most maxBits that has addr.
func (t *table) find(addr netip.Addr, maxBits int) (*entry, int) {
	if t == nil {
		return nil, 0
	}
	for bits := maxBits; bits >= 0; bits-- {
		if t.lengths[bits] == 0 {
			continue
		}
		prefix, err := addr.Prefix(bits)
		if err != nil {
			return nil, 0
		}
		if e := t.entries[prefix]; e != nil {
			return e, bits
		}
	}
	return nil, 0
}

func (p *Plane) lookup(k tableKey, addr netip.Addr) *entry {
	e, _ := p.tables[k].find(addr, addr.BitLen())
	return e
}

// localIn says whether addr is an address of ours in the table.
func (p *Plane) localIn(k tableKey, addr netip.Addr) bool {
	e := p.lookup(k, addr)
	return e != nil && len(e.local) > 0
}

// route puts an address of pt into its table.
func (p *Plane) route(pt *port, prefix netip.Prefix) {
	p.eachAddressEntry(pt, prefix, func(list *[]*port) { *list = append(*list, pt) })
}

// unroute takes it out again.
func (p *Plane) unroute(pt *port, prefix netip.Prefix) {
	p.eachAddressEntry(pt, prefix, func(list *[]*port) {
		if n := slices.Index(*list, pt); n >= 0 {
			*list = slices.Delete(*list, n, n+1)
		}
	})
}

// eachAddressEntry runs f on every list that an address stands in. Link-local
// addresses stand in none: they belong to their link alone.
func (p *Plane) eachAddressEntry(pt *port, prefix netip.Prefix, f func(list *[]*port)) {
	addr := prefix.Addr()
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		return
	}
	k := pt.table(addr.Is6())
	host := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
	p.change(k, host(addr), func(e *entry) { f(&e.local) })
	if prefix.IsSingleIP() {
		return
	}
	p.change(k, prefix, func(e *entry) { f(&e.connected) })
	if addr.Is4() && prefix.Bits() < 31 {
		first := prefix.Masked().Addr()
		last := first.As4()
		for bit := prefix.Bits(); bit < 32; bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		p.change(k, host(first), func(e *entry) { f(&e.edge) })
		p.change(k, host(netip.AddrFrom4(last)), func(e *entry) { f(&e.edge) })
	}
}

// SetRoute replaces the paths of a route; none deletes it. A path over an
// interface that is not there leads nowhere, also when it is added later.
func (p *Plane) SetRoute(table uint32, prefix netip.Prefix, paths []Path) {
	if !prefix.IsValid() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change(tableKey{table, prefix.Addr().Is6()}, prefix, func(e *entry) {
		e.paths = make([]path, 0, len(paths))
		for _, way := range paths {
			next := path{nextHop: way.NextHop}
			if way.Interface != NoInterface {
				next.port = p.ports[way.Interface]
				if next.port == nil {
					next.port = &port{removed: true}
				}
			}
			e.paths = append(e.paths, next)
		}
	})
}

// maxRecursion bounds routes that are resolved by other routes.
const maxRecursion = 8

// way is where a packet goes.
type way struct {
	local   bool
	port    *port // nil and not local: nowhere
	nextHop netip.Addr
}

// resolve finds the way of a packet to addr. flow chooses among equal paths.
func (p *Plane) resolve(k tableKey, addr netip.Addr, flow uint32) way {
	for range maxRecursion {
		e := p.lookup(k, addr)
		switch {
		case e == nil:
			return way{}
		case len(e.local) > 0:
			return way{local: true, port: e.local[0]}
		case len(e.edge) > 0:
			return way{}
		case len(e.connected) > 0:
			return way{port: e.connected[0], nextHop: addr}
		}
		next, ok := e.choose(flow)
		if !ok {
			return way{}
		}
		if next.port != nil {
			if !next.nextHop.IsValid() {
				next.nextHop = addr
			}
			return way{port: next.port, nextHop: next.nextHop}
		}
		addr = next.nextHop
	}
	return way{}
}

// choose picks a path by flow among those whose interface is up.
func (e *entry) choose(flow uint32) (path, bool) {
	usable := make([]path, 0, 1)
	for _, p := range e.paths {
		if p.port != nil && p.port.up() || p.port == nil && p.nextHop.IsValid() {
			usable = append(usable, p)
		}
	}
	if len(usable) == 0 {
		return path{}, false
	}
	return usable[int(flow)%len(usable)], true
}
