package traffic

import (
	"encoding/binary"
	"net/netip"

	"github.com/vpp-cni/vpp-cni/schema"
)

const (
	etherHeader = 14
	vlanHeader  = 4
	typeIP4     = 0x0800
	typeARP     = 0x0806
	typeVLAN    = 0x8100
	typeIP6     = 0x86dd

	ip4Header  = 20
	ip6Header  = 40
	udpHeader  = 8
	protoUDP   = 17
	protoICMP6 = 58

	// port is the UDP port of the streams, source and destination.
	port = 5150
	// magic starts the payload of a stream's packet; the stream's id, the
	// packet's number and the time it was sent follow.
	magic      = 0x7670706e
	numberSize = 24
)

var (
	be        = binary.BigEndian
	broadcast = schema.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// number is what a packet of a stream carries.
type number struct {
	stream uint32
	seq    uint64
	sentAt int64 // nanoseconds since the stream began
}

// frame puts the link's header before a packet.
func (e *End) frame(dst schema.MAC, kind uint16, packet []byte) []byte {
	if e.IP {
		return packet
	}
	b := make([]byte, 0, etherHeader+vlanHeader+len(packet))
	b = append(b, dst[:]...)
	b = append(b, e.MAC[:]...)
	if e.VLAN != 0 {
		b = be.AppendUint16(b, typeVLAN)
		b = be.AppendUint16(b, e.VLAN)
	}
	b = be.AppendUint16(b, kind)
	return append(b, packet...)
}

// unframe is the packet in a frame that is for us; ok is false for others'.
func (e *End) unframe(b []byte) (kind uint16, packet []byte, ok bool) {
	if e.IP {
		if len(b) > 0 && b[0]>>4 == 6 {
			return typeIP6, b, true
		}
		return typeIP4, b, len(b) > 0
	}
	if len(b) < etherHeader || b[0]&1 == 0 && schema.MAC(b[:6]) != e.MAC {
		return 0, nil, false
	}
	kind, packet = be.Uint16(b[12:]), b[etherHeader:]
	if kind != typeVLAN {
		return kind, packet, e.VLAN == 0
	}
	if len(packet) < vlanHeader || be.Uint16(packet)&0x0fff != e.VLAN {
		return 0, nil, false
	}
	return be.Uint16(packet[2:]), packet[vlanHeader:], true
}

// udp makes an IP packet with n and size bytes of payload in it.
func udp(src, dst netip.Addr, n number, size int) []byte {
	head := ip4Header
	if dst.Is6() {
		head = ip6Header
	}
	b := make([]byte, head+udpHeader+max(size, numberSize))
	u := b[head:]
	be.PutUint16(u, port)
	be.PutUint16(u[2:], port)
	be.PutUint16(u[4:], uint16(len(u)))
	p := u[udpHeader:]
	be.PutUint32(p, magic)
	be.PutUint32(p[4:], n.stream)
	be.PutUint64(p[8:], n.seq)
	be.PutUint64(p[16:], uint64(n.sentAt))
	if dst.Is6() {
		ip6(b, src, dst, protoUDP, 64)
		be.PutUint16(u[6:], checksum6(src, dst, protoUDP, u))
		return b
	}
	b[0], b[8], b[9] = 0x45, 64, protoUDP
	be.PutUint16(b[2:], uint16(len(b)))
	b[6] = 0x40 // do not fragment
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	be.PutUint16(b[10:], fold(sum(b[:ip4Header], 0)))
	return b
}

// ip6 fills in the header of a packet.
func ip6(b []byte, src, dst netip.Addr, proto, hops byte) {
	b[0], b[6], b[7] = 0x60, proto, hops
	be.PutUint16(b[4:], uint16(len(b)-ip6Header))
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
}

// parseUDP reads a packet of a stream.
func parseUDP(kind uint16, b []byte) (dst netip.Addr, n number, ok bool) {
	var u []byte
	switch {
	case kind == typeIP4 && len(b) >= ip4Header && b[0] == 0x45 && b[9] == protoUDP:
		dst, u = netip.AddrFrom4([4]byte(b[16:20])), b[ip4Header:]
	case kind == typeIP6 && len(b) >= ip6Header && b[6] == protoUDP:
		dst, u = netip.AddrFrom16([16]byte(b[24:40])), b[ip6Header:]
	}
	if len(u) < udpHeader+numberSize || be.Uint16(u[2:]) != port || be.Uint32(u[udpHeader:]) != magic {
		return netip.Addr{}, number{}, false
	}
	p := u[udpHeader:]
	return dst, number{stream: be.Uint32(p[4:]), seq: be.Uint64(p[8:]), sentAt: int64(be.Uint64(p[16:]))}, true
}

// sum adds up 16-bit words as the Internet checksum does (RFC 1071).
func sum(b []byte, start uint32) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		start += uint32(be.Uint16(b))
	}
	if len(b) == 1 {
		start += uint32(b[0]) << 8
	}
	return start
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

// checksum6 covers the pseudo header too (RFC 8200, 8.1).
func checksum6(src, dst netip.Addr, proto byte, payload []byte) uint16 {
	s := sum(src.AsSlice(), uint32(len(payload))+uint32(proto))
	return fold(sum(payload, sum(dst.AsSlice(), s)))
}
