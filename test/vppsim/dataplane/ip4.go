package dataplane

import "net/netip"

const (
	ip4Header  = 20
	protoICMP4 = 1
	protoUDP   = 17
	protoICMP6 = 58
	localTTL   = 64
	dontFrag   = 0x4000
	fragMask   = 0x3fff // more fragments, and the offset
)

func src4(pkt []byte) netip.Addr { return netip.AddrFrom4([4]byte(pkt[12:16])) }
func dst4(pkt []byte) netip.Addr { return netip.AddrFrom4([4]byte(pkt[16:20])) }

// headerLength is that of an IPv4 packet that parse4 has passed.
func headerLength(pkt []byte) int { return int(pkt[0]&0xf) * 4 }

// parse4 checks an IPv4 header and cuts what is behind the packet, such as an
// Ethernet frame's padding.
func parse4(pkt []byte) (trimmed []byte, reason string) {
	if len(pkt) < ip4Header || pkt[0]>>4 != 4 {
		return nil, "IPv4 malformed"
	}
	head, total := headerLength(pkt), int(be.Uint16(pkt[2:]))
	switch {
	case head < ip4Header || total < head || total > len(pkt):
		return nil, "IPv4 bad length"
	case checksum(pkt[:head]) != 0:
		return nil, "IPv4 bad checksum"
	case pkt[8] == 0:
		return nil, "IPv4 time expired"
	}
	return pkt[:total:total], ""
}

func (p *Plane) ip4Input(in *port, pkt []byte) {
	pkt, reason := parse4(pkt)
	switch {
	case reason != "":
		in.drop(reason)
		return
	case !in.takes(false):
		in.drop("IPv4 not enabled")
		return
	}
	if dst := dst4(pkt); dst.IsMulticast() || dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		in.drop("IPv4 multicast")
		return
	}
	p.ip4Forward(in, in.table(false), pkt)
}

// ip4Forward routes a packet; in is nil for our own.
func (p *Plane) ip4Forward(in *port, k tableKey, pkt []byte) {
	src, dst := src4(pkt), dst4(pkt)
	w := p.resolve(k, dst, flowOf(src, dst))
	switch {
	case w.local:
		p.ip4Local(in, k, pkt)
		return
	case w.port == nil:
		in.drop("no route")
		return
	}
	if in != nil {
		if pkt[8] <= 1 {
			in.drop("TTL expired")
			p.icmp4Error(in, k, pkt, icmp4Exceeded, 0, 0)
			return
		}
		pkt[8]--
		setChecksum4(pkt)
	}
	if mtu := w.port.limit(); mtu > 0 && len(pkt) > mtu {
		w.port.drop("MTU exceeded")
		if be.Uint16(pkt[6:])&dontFrag != 0 {
			p.icmp4Error(in, k, pkt, icmp4Unreachable, icmp4TooBig, uint32(mtu)) // an MTU
		}
		return
	}
	p.ipOutput(in, w, pkt)
}

func setChecksum4(pkt []byte) {
	head := pkt[:headerLength(pkt)]
	be.PutUint16(head[10:], 0)
	be.PutUint16(head[10:], checksum(head))
}

// ipOutput sends a routed packet of either family to its next hop.
func (p *Plane) ipOutput(in *port, w way, pkt []byte) {
	out := w.port
	switch {
	case !out.up():
		in.drop("egress interface down")
		return
	case out.kind == kindIP:
		p.transmit(out, pkt)
		return
	case out.kind == kindLoopback:
		in.drop("egress is a loopback")
		return
	case out.bridge != nil:
		in.drop("egress is bridged")
		return
	}
	ipv6 := w.nextHop.Is6()
	n, known := out.neighbors[w.nextHop]
	switch {
	case known && pkt[0]>>4 == 4:
		p.sendFrame(out, n.mac, typeIP4, pkt)
	case known:
		p.sendFrame(out, n.mac, typeIP6, pkt)
	case ipv6:
		p.dropUnresolved(in, out, p.ndResolve(out, w.nextHop))
	default:
		p.dropUnresolved(in, out, p.arpResolve(out, w.nextHop))
	}
}

// dropUnresolved counts at the interface the packet came from, our own at the
// one it should have left by.
func (p *Plane) dropUnresolved(in, out *port, reason string) {
	if in == nil {
		in = out
	}
	in.drop(reason)
}

// newIP4 makes a packet of ours.
func newIP4(src, dst netip.Addr, proto byte, payload []byte) []byte {
	pkt := make([]byte, ip4Header, ip4Header+len(payload))
	pkt[0], pkt[8], pkt[9] = 0x45, localTTL, proto
	be.PutUint16(pkt[2:], uint16(ip4Header+len(payload))) // ours are short
	copy(pkt[12:], src.AsSlice())
	copy(pkt[16:], dst.AsSlice())
	setChecksum4(pkt)
	return append(pkt, payload...)
}
