package vppsim

import (
	"net/netip"
	"slices"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
)

// ipInterface is what IP knows of an interface.
type ipInterface struct {
	addresses  []netip.Prefix // in the order of adding
	table4     *ipTable
	table6     *ipTable
	unnumbered *swInterface // borrows addresses of it
	locks6     int          // who wants IPv6 on: the API, and each address
	linkLocal  netip.Addr
	connected  map[netip.Prefix]*connected
	routes     map[*fibEntry]struct{} // of the API, over this interface
}

// connected is a network on an interface, with one reference an address in it.
type connected struct {
	refs    int
	entries []netip.Prefix
}

func (v *vpp) registerAddress() {
	onRequest(v, v.swInterfaceAddDelAddress)
	onDump(v, v.ipAddressDump)
	onRequest(v, v.swInterfaceSetTable)
	onRequest(v, v.swInterfaceGetTable)
	onRequest(v, v.swInterfaceSetUnnumbered)
	onDump(v, v.ipUnnumberedDump)
}

func (v *vpp) initIP(i *swInterface) {
	i.ip = ipInterface{
		table4:    v.fib4.byID[0],
		table6:    v.fib6.byID[0],
		connected: make(map[netip.Prefix]*connected),
		routes:    make(map[*fibEntry]struct{}),
	}
}

func (i *swInterface) table(v6 bool) *ipTable {
	if v6 {
		return i.ip.table6
	}
	return i.ip.table4
}

// tableOf is table 0 for an index without an interface, as stale neighbours
// have.
func (v *vpp) tableOf(index uint32, v6 bool) *ipTable {
	if i := v.interfaces.pool.get(index); i != nil {
		return i.table(v6)
	}
	return v.fib(v6).byID[0]
}

func (v *vpp) swInterfaceAddDelAddress(q *interfaces_api.SwInterfaceAddDelAddress, _ *interfaces_api.SwInterfaceAddDelAddressReply) retval {
	i := v.iface(q.SwIfIndex)
	if i == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	if q.DelAll {
		for _, p := range slices.Clone(i.ip.addresses) {
			v.delAddress(i, p)
		}
		return ok
	}
	addr, length := addressOf(q.Prefix.Address), int(q.Prefix.Len)
	prefix := netip.PrefixFrom(addr, length)
	switch {
	case !i.addressable():
		return govpp.UNSUPPORTED
	case addr.Is6() && addr.IsLinkLocalUnicast():
		return v.linkLocalAddress(i, addr, length, q.IsAdd)
	case !q.IsAdd:
		return v.delAddress(i, prefix)
	}
	if !prefix.IsValid() || length == 0 {
		return govpp.ADDRESS_LENGTH_MISMATCH
	}
	return v.addAddress(i, prefix)
}

// addressable: VPP lets neither local0 nor inexact sub-interfaces have addresses.
func (i *swInterface) addressable() bool {
	if i.sub != nil {
		return i.sub.flags&interface_types.SUB_IF_API_FLAG_EXACT_MATCH != 0
	}
	return i.index != 0
}

// addAddress refuses a prefix that overlaps another one in the same table,
// unless it is another address of the same network on the same interface. The
// two families have different words for it.
func (v *vpp) addAddress(i *swInterface, p netip.Prefix) retval {
	v6 := p.Addr().Is6()
	for other := range v.interfaces.pool.all() {
		if other.table(v6) != i.table(v6) {
			continue
		}
		for _, had := range other.ip.addresses {
			sibling := other == i && had.Bits() == p.Bits() && had.Addr() != p.Addr()
			if had.Addr().Is6() == v6 && had.Overlaps(p) && !sibling {
				if v6 {
					return govpp.DUPLICATE_IF_ADDRESS
				}
				return govpp.ADDRESS_IN_USE
			}
		}
	}
	i.ip.addresses = append(i.ip.addresses, p)
	if v6 {
		v.lockIP6(i)
	}
	v.plane.AddAddress(i.index, p)
	if i.adminUp {
		v.connect(i, p)
	}
	return ok
}

// delAddress goes by the address alone, as VPP does, but takes the routes of the
// prefix as it was asked: with another length the network's routes stay behind.
func (v *vpp) delAddress(i *swInterface, p netip.Prefix) retval {
	n := slices.IndexFunc(i.ip.addresses, func(had netip.Prefix) bool { return had.Addr() == p.Addr() })
	if n < 0 {
		return govpp.ADDRESS_NOT_FOUND_FOR_INTERFACE
	}
	v.plane.DelAddress(i.index, i.ip.addresses[n])
	i.ip.addresses = slices.Delete(i.ip.addresses, n, n+1)
	if i.adminUp {
		v.disconnect(i, p)
	}
	if p.IsValid() {
		v.flushNeighbors(i.index, p)
	}
	if p.Addr().Is6() {
		v.unlockIP6(i)
	}
	return ok
}

// adminRoutes puts the routes of the interface's addresses into its tables, or
// takes them out, as it goes up or down.
func (v *vpp) adminRoutes(i *swInterface) {
	for _, p := range i.ip.addresses {
		if i.adminUp {
			v.connect(i, p)
		} else {
			v.disconnect(i, p)
		}
	}
	if i.adminUp {
		v.restoreNeighbors(i.index)
	} else {
		v.flushNeighbors(i.index, netip.Prefix{})
	}
}

// connect makes the routes that come with an address: the address itself, its
// network, and of an IPv4 network the first and last address, or the other one
// of a /31 (ip4_add_interface_routes in src/vnet/ip/ip4_forward.c).
func (v *vpp) connect(i *swInterface, p netip.Prefix) {
	addr := p.Addr()
	v6 := addr.Is6()
	t := i.table(v6)
	host := netip.PrefixFrom(addr, addr.BitLen())
	v.setInterfaceRoute(t, host, attachedPath(i.index, addr, fib_types.FIB_API_PATH_TYPE_LOCAL, v6))
	if p.IsSingleIP() {
		return
	}
	net := p.Masked()
	if c := i.ip.connected[net]; c != nil {
		c.refs++
		return
	}
	c := &connected{refs: 1}
	i.ip.connected[net] = c
	add := func(at netip.Prefix, path fibPath) {
		c.entries = append(c.entries, at)
		v.setInterfaceRoute(t, at, path)
	}
	on := attachedPath(i.index, netip.Addr{}, fib_types.FIB_API_PATH_TYPE_NORMAL, v6)
	if v6 {
		add(net, on)
		return
	}
	add(p, on)
	first, last := net.Addr(), lastIP4(net)
	ends := []netip.Addr{first, last}
	for _, end := range ends {
		at := netip.PrefixFrom(end, addr.BitLen())
		switch {
		case end == addr:
		case p.Bits() == addr.BitLen()-1:
			add(at, attachedPath(i.index, end, fib_types.FIB_API_PATH_TYPE_NORMAL, false))
		default:
			add(at, t.fib.dropPath())
		}
	}
}

func (v *vpp) disconnect(i *swInterface, p netip.Prefix) {
	t := i.table(p.Addr().Is6())
	v.unsetInterfaceRoute(t, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	c := i.ip.connected[p.Masked()]
	if c == nil || p.IsSingleIP() {
		return
	}
	if c.refs--; c.refs > 0 {
		return
	}
	delete(i.ip.connected, p.Masked())
	for _, at := range c.entries {
		v.unsetInterfaceRoute(t, at)
	}
}

func (v *vpp) setInterfaceRoute(t *ipTable, p netip.Prefix, path fibPath) {
	v.syncRoute(t.set(p, sourceInterface, path))
}

func (v *vpp) unsetInterfaceRoute(t *ipTable, p netip.Prefix) {
	if e := t.unset(p, sourceInterface); e != nil {
		v.syncRoute(e)
	}
}

func lastIP4(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}

func (v *vpp) ipAddressDump(q *ip.IPAddressDump, send func(govpp.Message)) {
	i := v.iface(q.SwIfIndex)
	if i == nil {
		return
	}
	for _, p := range i.ip.addresses {
		if p.Addr().Is6() == q.IsIPv6 {
			send(&ip.IPAddressDetails{SwIfIndex: q.SwIfIndex, Prefix: ip_types.AddressWithPrefix{
				Address: toAddress(p.Addr()),
				Len:     uint8(p.Bits()), // 0 to 128
			}})
		}
	}
}

// swInterfaceSetTable refuses an interface that has addresses, its own or
// borrowed.
func (v *vpp) swInterfaceSetTable(q *interfaces_api.SwInterfaceSetTable, _ *interfaces_api.SwInterfaceSetTableReply) retval {
	i := v.iface(q.SwIfIndex)
	if i == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	t := v.fib(q.IsIPv6).byID[q.VrfID]
	if t == nil {
		return govpp.NO_SUCH_FIB
	}
	lender := i
	if i.ip.unnumbered != nil {
		lender = i.ip.unnumbered
	}
	if slices.ContainsFunc(lender.ip.addresses, func(p netip.Prefix) bool { return p.Addr().Is6() == q.IsIPv6 }) {
		return govpp.ADDRESS_FOUND_FOR_INTERFACE
	}
	v.bind(i, t)
	return ok
}

func (v *vpp) bind(i *swInterface, t *ipTable) {
	was := i.table(t.fib.v6)
	if was == t {
		return
	}
	was.bound--
	t.bound++
	if t.fib.v6 {
		i.ip.table6 = t
	} else {
		i.ip.table4 = t
	}
	v.plane.SetTable(i.index, t.id, t.fib.v6)
	v.release(was)
}

func (v *vpp) swInterfaceGetTable(q *interfaces_api.SwInterfaceGetTable, r *interfaces_api.SwInterfaceGetTableReply) retval {
	i := v.iface(q.SwIfIndex)
	if i == nil {
		r.VrfID = noIndex
		return govpp.INVALID_SW_IF_INDEX
	}
	r.VrfID = i.table(q.IsIPv6).id
	return ok
}

// swInterfaceSetUnnumbered: in the message sw_if_index lends, and
// unnumbered_sw_if_index borrows.
func (v *vpp) swInterfaceSetUnnumbered(q *interfaces_api.SwInterfaceSetUnnumbered, _ *interfaces_api.SwInterfaceSetUnnumberedReply) retval {
	i, lender := v.iface(q.UnnumberedSwIfIndex), v.iface(q.SwIfIndex)
	switch {
	case i == nil:
		return govpp.INVALID_SW_IF_INDEX
	case !q.IsAdd:
		v.unborrow(i)
	case lender == nil:
		return govpp.INVALID_SW_IF_INDEX_2
	case i.ip.table4 != lender.ip.table4 || i.ip.table6 != lender.ip.table6:
		return govpp.UNEXPECTED_INTF_STATE
	default:
		i.ip.unnumbered = lender
		v.plane.SetUnnumbered(i.index, lender.index, true)
	}
	return ok
}

func (v *vpp) unborrow(i *swInterface) {
	if lender := i.ip.unnumbered; lender != nil {
		i.ip.unnumbered = nil
		v.plane.SetUnnumbered(i.index, lender.index, false)
	}
}

func (v *vpp) ipUnnumberedDump(q *ip.IPUnnumberedDump, send func(govpp.Message)) {
	for i := range v.interfaces.pool.all() {
		if i.ip.unnumbered == nil || (uint32(q.SwIfIndex) != noIndex && uint32(q.SwIfIndex) != i.index) {
			continue
		}
		send(&ip.IPUnnumberedDetails{
			SwIfIndex:   interface_types.InterfaceIndex(i.index),
			IPSwIfIndex: interface_types.InterfaceIndex(i.ip.unnumbered.index),
		})
	}
}

// forgetIP is the end of an interface: its addresses go, its tables are let go.
// Routes over it and its static neighbours stay behind, as in VPP.
func (v *vpp) forgetIP(i *swInterface) {
	v.unborrow(i)
	for _, p := range slices.Clone(i.ip.addresses) {
		v.delAddress(i, p)
	}
	v.flushNeighbors(i.index, netip.Prefix{})
	v.bind(i, v.fib4.byID[0])
	v.bind(i, v.fib6.byID[0])
	v.strand(i)
}
