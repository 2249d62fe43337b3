package dataplane

import "net/netip"

const (
	ip6Header = 40
	ndHops    = 255
)

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

func src6(pkt []byte) netip.Addr { return netip.AddrFrom16([16]byte(pkt[8:24])) }
func dst6(pkt []byte) netip.Addr { return netip.AddrFrom16([16]byte(pkt[24:40])) }

func parse6(pkt []byte) (trimmed []byte, reason string) {
	if len(pkt) < ip6Header || pkt[0]>>4 != 6 {
		return nil, "IPv6 malformed"
	}
	total := ip6Header + int(be.Uint16(pkt[4:]))
	switch {
	case total > len(pkt):
		return nil, "IPv6 bad length"
	case pkt[7] == 0:
		return nil, "IPv6 hop limit expired"
	case src6(pkt).Is4In6() || dst6(pkt).Is4In6():
		return nil, "IPv6 with an IPv4 address"
	}
	return pkt[:total:total], ""
}

// solicitedNode is the group that a neighbour solicitation goes to (RFC 4291, 2.7.1).
func solicitedNode(addr netip.Addr) netip.Addr {
	a := addr.As16()
	g := [16]byte{0xff, 0x02, 11: 0x01, 12: 0xff}
	copy(g[13:], a[13:])
	return netip.AddrFrom16(g)
}

// groupMAC is the Ethernet address of an IPv6 group (RFC 2464, 7).
func groupMAC(group netip.Addr) macAddr {
	g := group.As16()
	return macAddr{0x33, 0x33, g[12], g[13], g[14], g[15]}
}

// ip6Input takes a packet; from is the Ethernet sender, nil where there is none.
func (p *Plane) ip6Input(in *port, pkt []byte, from *macAddr) {
	pkt, reason := parse6(pkt)
	switch {
	case reason != "":
		in.drop(reason)
		return
	case !in.takes(true):
		in.drop("IPv6 not enabled")
		return
	case src6(pkt).IsMulticast():
		in.drop("IPv6 source is multicast")
		return
	}
	dst := dst6(pkt)
	switch {
	case isDiscovery(pkt) && p.mine6(in, dst):
		p.ndInput(in, pkt, from)
	case dst.IsMulticast():
		in.drop("IPv6 multicast")
	case dst.IsLinkLocalUnicast() && in.link6() && dst == in.linkLocal():
		p.ip6Local(in, in.table(true), pkt)
	case dst.IsLinkLocalUnicast() || src6(pkt).IsLinkLocalUnicast() && !p.localIn(in.table(true), dst):
		in.drop("IPv6 link-local address of others")
	default:
		p.ip6Forward(in, in.table(true), pkt)
	}
}

// mine6 says whether discovery for dst concerns us: an address of ours, or a
// group that every node or the owner of such an address is in. Groups are joined
// where IPv6 is enabled, which borrowing an address alone does not do.
func (p *Plane) mine6(in *port, dst netip.Addr) bool {
	switch {
	case dst == allNodes || dst == allRouters:
		return in.link6()
	case dst.IsMulticast():
		return in.link6() && solicitedNode(dst) == dst
	case dst.IsLinkLocalUnicast():
		return dst == in.linkLocal()
	}
	return p.localIn(in.table(true), dst)
}

// ip6Forward routes a packet; in is nil for our own.
func (p *Plane) ip6Forward(in *port, k tableKey, pkt []byte) {
	src, dst := src6(pkt), dst6(pkt)
	w := p.resolve(k, dst, flowOf(src, dst))
	switch {
	case w.local:
		p.ip6Local(in, k, pkt)
		return
	case w.port == nil:
		in.drop("no route")
		return
	}
	if in != nil {
		if pkt[7] <= 1 {
			in.drop("TTL expired")
			p.icmp6Error(in, k, pkt, icmp6Exceeded, 0, 0)
			return
		}
		pkt[7]--
	}
	if mtu := w.port.limit(); mtu > 0 && len(pkt) > mtu {
		w.port.drop("MTU exceeded")
		p.icmp6Error(in, k, pkt, icmp6TooBig, 0, uint32(mtu)) // an MTU
		return
	}
	p.ipOutput(in, w, pkt)
}

// ip6Reply sends a packet of ours back: to a link-local address by the
// interface that asked, else by route.
func (p *Plane) ip6Reply(in *port, k tableKey, pkt []byte) {
	if dst := dst6(pkt); dst.IsLinkLocalUnicast() && in != nil {
		p.ipOutput(nil, way{port: in, nextHop: dst}, pkt)
		return
	}
	p.ip6Forward(nil, k, pkt)
}

// newICMP6 makes a packet of ours; it sets the message's checksum.
func newICMP6(src, dst netip.Addr, hops byte, msg []byte) []byte {
	pkt := make([]byte, ip6Header, ip6Header+len(msg))
	pkt[0], pkt[6], pkt[7] = 0x60, protoICMP6, hops
	be.PutUint16(pkt[4:], uint16(len(msg))) // ours are short
	copy(pkt[8:], src.AsSlice())
	copy(pkt[24:], dst.AsSlice())
	be.PutUint16(msg[2:], 0)
	be.PutUint16(msg[2:], checksum6(src, dst, msg))
	return append(pkt, msg...)
}
