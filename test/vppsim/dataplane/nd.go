package dataplane

import (
	"net/netip"
	"slices"
)

const (
	ndSolicit     = 135
	ndAdvertise   = 136
	ndLength      = 24 // up to the options
	ndSourceMAC   = 1
	ndTargetMAC   = 2
	ndRouter      = 0x80
	ndSolicited   = 0x40
	ndOverride    = 0x20
	ndOptionBytes = 8
)

func isDiscovery(pkt []byte) bool {
	return pkt[6] == protoICMP6 && len(pkt) > ip6Header &&
		(pkt[ip6Header] == ndSolicit || pkt[ip6Header] == ndAdvertise)
}

// ndOption finds a link-layer address among the options; false where there is
// none or the options are malformed.
func ndOption(options []byte, kind byte) (mac macAddr, ok bool) {
	for len(options) >= ndOptionBytes {
		n := int(options[1]) * ndOptionBytes
		if n == 0 || n > len(options) {
			return mac, false
		}
		if options[0] == kind && n == ndOptionBytes {
			return macAddr(options[2:8]), true
		}
		options = options[n:]
	}
	return mac, false
}

// ndInput follows icmp6_neighbor_solicitation_or_advertisement of
// vnet/ip6-nd/ip6_nd.c.
func (p *Plane) ndInput(in *port, pkt []byte, from *macAddr) {
	msg, src := pkt[ip6Header:], src6(pkt)
	switch {
	case len(msg) < ndLength || msg[1] != 0 || checksum6(src, dst6(pkt), msg) != 0:
		in.drop("ND malformed")
		return
	case pkt[7] != ndHops:
		in.drop("ND from afar")
		return
	case !src.IsUnspecified() && !src.IsLinkLocalUnicast() && !p.onLink(in, src):
		in.drop("ND source not on link")
		return
	}
	target := netip.AddrFrom16([16]byte(msg[8:24]))
	kind, learned := byte(ndSourceMAC), src
	if msg[0] == ndAdvertise {
		kind, learned = ndTargetMAC, target
	}
	mac, ok := ndOption(msg[ndLength:], kind)
	if ok && !src.IsUnspecified() && !p.localIn(in.table(true), learned) {
		in.learn(learned, mac)
	}
	if msg[0] == ndSolicit {
		p.ndAnswer(in, src, target, mac, ok, from)
	}
}

// onLink says whether addr is a neighbour by route.
func (p *Plane) onLink(in *port, addr netip.Addr) bool {
	e := p.lookup(in.table(true), addr)
	if e == nil || len(e.local) > 0 {
		return false
	}
	if _, known := in.neighbors[addr]; known || slices.Contains(e.connected, in) {
		return true
	}
	return slices.ContainsFunc(e.paths, func(w path) bool { return w.port == in })
}

// ndAnswer sends an advertisement for an address of ours.
func (p *Plane) ndAnswer(in *port, src, target netip.Addr, mac macAddr, hasMAC bool, from *macAddr) {
	own := p.localIn(in.table(true), target)
	if target.IsLinkLocalUnicast() {
		own = in.link6() && target == in.linkLocal()
	}
	if !own {
		in.drop("ND target not ours")
		return
	}
	flags, dst := byte(ndRouter|ndSolicited|ndOverride), src
	if src.IsUnspecified() {
		flags, dst = ndRouter|ndOverride, allNodes
		mac, hasMAC = groupMAC(allNodes), true
	}
	if !hasMAC {
		if from == nil {
			return
		}
		mac = *from
	}
	hw := in.hardware()
	msg := ndMessage(ndAdvertise, flags, target, ndTargetMAC, hw)
	p.sendIP6(in, mac, newICMP6(target, dst, ndHops, msg))
}

func ndMessage(kind, flags byte, target netip.Addr, option byte, hw macAddr) []byte {
	msg := make([]byte, 0, ndLength+ndOptionBytes)
	msg = append(msg, kind, 0, 0, 0, flags, 0, 0, 0)
	msg = append(msg, target.AsSlice()...)
	msg = append(msg, option, 1)
	return append(msg, hw[:]...)
}

func (p *Plane) sendIP6(out *port, mac macAddr, pkt []byte) {
	if out.kind == kindIP {
		p.transmit(out, pkt)
		return
	}
	p.sendFrame(out, mac, typeIP6, pkt)
}

// ndResolve asks for a neighbour. The packet that needs it is lost.
func (p *Plane) ndResolve(out *port, addr netip.Addr) (reason string) {
	switch {
	case !out.link6():
		return "IPv6 link not enabled"
	case p.throttled(throttleKey{"nd", out.idx, addr}, neighborThrottle):
		return "ND throttled"
	}
	group := solicitedNode(addr)
	msg := ndMessage(ndSolicit, 0, addr, ndSourceMAC, out.hardware())
	p.sendFrame(out, groupMAC(group), typeIP6, newICMP6(out.linkLocal(), group, ndHops, msg))
	return "ND solicitation sent"
}
