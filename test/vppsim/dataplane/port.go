package dataplane

import (
	"encoding/binary"
	"net/netip"
)

// Counters are those of one interface since it was added. Drops are also told
// by reason. A sub-interface's packets count at its parent too.
type Counters struct {
	RxPackets, RxBytes uint64
	TxPackets, TxBytes uint64
	Drops              uint64
	Reasons            map[string]uint64
}

type macAddr [6]byte

var broadcastMAC = macAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func (m macAddr) multicast() bool { return m[0]&1 != 0 }

type kind uint8

const (
	kindEthernet kind = iota
	kindIP
	kindLoopback
	kindSub
)

// The tag rewrites that move packets, of l2_vtr.h.
const (
	rewriteDisabled = 0
	rewritePop1     = 3
)

// port is one interface. The plane's lock guards it.
type port struct {
	idx     uint32
	kind    kind
	removed bool
	mac     macAddr
	tx      func(pkt []byte)
	parent  *port // of a sub-interface
	vlan    uint16
	subs    map[uint16]*port

	adminUp, linkUp bool
	mtu             uint32
	rewrite         uint32

	bridge *bridge
	shg    uint8

	table4, table6 uint32
	lender         *port // unnumbered: whose addresses to use
	ip6            bool  // enabled without an address
	addrs          []netip.Prefix
	neighbors      map[netip.Addr]neighbor
	counters       Counters
}

type neighbor struct {
	mac    macAddr
	static bool
}

// maxNeighbors is VPP's limit for each address family.
const maxNeighbors = 50000

func (pt *port) received(pkt []byte) {
	pt.counters.RxPackets++
	pt.counters.RxBytes += uint64(len(pkt))
}

func (pt *port) sent(pkt []byte) {
	pt.counters.TxPackets++
	pt.counters.TxBytes += uint64(len(pkt))
}

func (pt *port) drop(reason string) {
	if pt == nil {
		return // one of our own packets
	}
	if pt.counters.Reasons == nil {
		pt.counters.Reasons = map[string]uint64{}
	}
	pt.counters.Drops++
	pt.counters.Reasons[reason]++
}

func (pt *port) up() bool {
	if pt.removed || !pt.adminUp || !pt.linkUp {
		return false
	}
	return pt.parent == nil || pt.parent.up()
}

// hardware is the address that frames from here carry.
func (pt *port) hardware() macAddr {
	if pt.parent != nil {
		return pt.parent.mac
	}
	return pt.mac
}

// limit is the largest L3 packet, 0 for any.
func (pt *port) limit() int {
	if pt.mtu == 0 && pt.parent != nil {
		return int(pt.parent.mtu)
	}
	return int(pt.mtu)
}

func (pt *port) table(ipv6 bool) tableKey {
	if ipv6 {
		return tableKey{pt.table6, true}
	}
	return tableKey{pt.table4, false}
}

// unnumbered says whether pt borrows its addresses from lender.
func (pt *port) unnumbered(lender *port) bool {
	return pt.lender != nil && pt.lender == lender && !lender.removed
}

// source picks the address to speak to a neighbour from: one whose prefix has
// it, else the first of the family. Invalid: there is none.
func (pt *port) source(to netip.Addr) netip.Addr {
	owner := pt
	if pt.lender != nil && !pt.lender.removed {
		owner = pt.lender
	}
	var first netip.Addr
	for _, a := range owner.addrs {
		if a.Addr().Is4() != to.Is4() || a.Addr().IsLinkLocalUnicast() && !to.IsLinkLocalUnicast() && !to.Is4() {
			continue
		}
		if a.Contains(to) {
			return a.Addr()
		}
		if !first.IsValid() {
			first = a.Addr()
		}
	}
	return first
}

func (pt *port) hasAddress(ipv6 bool) bool {
	for _, a := range pt.addrs {
		if a.Addr().Is6() == ipv6 {
			return true
		}
	}
	return false
}

// takes says whether packets of the family are looked at: there is an address,
// own or borrowed, or IPv6 is enabled.
func (pt *port) takes(ipv6 bool) bool {
	return pt.lender != nil || pt.hasAddress(ipv6) || ipv6 && pt.ip6
}

// link6 says whether neighbour discovery runs. Borrowing does not enable it.
func (pt *port) link6() bool { return pt.ip6 || pt.hasAddress(true) }

// linkLocal is the link-local address: one that was set, else made from the
// MAC address (RFC 4291, appendix A).
func (pt *port) linkLocal() netip.Addr {
	for _, a := range pt.addrs {
		if a.Addr().Is6() && a.Addr().IsLinkLocalUnicast() {
			return a.Addr()
		}
	}
	b := [16]byte{0xfe, 0x80}
	m := pt.hardware()
	if pt.kind == kindIP {
		m = macAddr{0x02, 0xfe}
		binary.BigEndian.PutUint32(m[2:], pt.idx)
	}
	copy(b[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.AddrFrom16(b)
}

// learn notes a neighbour, unless a static one is there.
func (pt *port) learn(addr netip.Addr, mac macAddr) {
	n, known := pt.neighbors[addr]
	if n.static || mac.multicast() || !known && len(pt.neighbors) >= maxNeighbors {
		return
	}
	if pt.neighbors == nil {
		pt.neighbors = map[netip.Addr]neighbor{}
	}
	pt.neighbors[addr] = neighbor{mac: mac}
}
