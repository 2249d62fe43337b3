package dataplane

const (
	icmpHeader       = 8
	icmp4EchoReply   = 0
	icmp4Unreachable = 3
	icmp4Echo        = 8
	icmp4Exceeded    = 11
	icmp4Problem     = 12
	icmp4PortCode    = 3
	icmp4TooBig      = 4
	maxError4        = 576 // bytes of a whole error packet, RFC 1812, 4.3.2.3
)

// ip4Local takes a packet for one of our addresses.
func (p *Plane) ip4Local(in *port, k tableKey, pkt []byte) {
	if be.Uint16(pkt[6:])&fragMask != 0 {
		in.drop("fragment for us")
		return
	}
	switch pkt[9] {
	case protoICMP4:
		p.icmp4Input(in, k, pkt)
	case protoUDP:
		in.drop("UDP port not taken")
		p.icmp4Error(in, k, pkt, icmp4Unreachable, icmp4PortCode, 0)
	default:
		in.drop("protocol not taken")
	}
}

func (p *Plane) icmp4Input(in *port, k tableKey, pkt []byte) {
	msg := pkt[headerLength(pkt):]
	if len(msg) < icmpHeader || checksum(msg) != 0 {
		in.drop("ICMP malformed")
		return
	}
	switch msg[0] {
	case icmp4Echo:
		answer := append([]byte(nil), msg...)
		answer[0] = icmp4EchoReply
		be.PutUint16(answer[2:], 0)
		be.PutUint16(answer[2:], checksum(answer))
		p.ip4Forward(nil, k, newIP4(dst4(pkt), src4(pkt), protoICMP4, answer))
	case icmp4EchoReply:
		p.pong(in, be.Uint16(msg[4:]), be.Uint16(msg[6:]))
	default:
		in.drop("ICMP type not taken")
	}
}

// icmp4Error tells a sender what became of its packet: never of an error, a
// later fragment or one of ours, and not too often.
func (p *Plane) icmp4Error(in *port, k tableKey, orig []byte, kind, code byte, extra uint32) {
	if in == nil || be.Uint16(orig[6:])&0x1fff != 0 || isError4(orig) {
		return
	}
	to := src4(orig)
	from := in.source(to)
	if !from.IsValid() || to.IsUnspecified() || to.IsMulticast() ||
		p.throttled(throttleKey{"icmp", in.idx, to}, icmp4Throttle) {
		return
	}
	quote := orig[:min(len(orig), maxError4-ip4Header-icmpHeader)]
	msg := make([]byte, icmpHeader, icmpHeader+len(quote))
	msg[0], msg[1] = kind, code
	be.PutUint32(msg[4:], extra) // an MTU stands in the lower half, RFC 1191
	msg = append(msg, quote...)
	be.PutUint16(msg[2:], checksum(msg))
	p.ip4Forward(nil, k, newIP4(from, to, protoICMP4, msg))
}

func isError4(pkt []byte) bool {
	if pkt[9] != protoICMP4 {
		return false
	}
	msg := pkt[headerLength(pkt):]
	if len(msg) == 0 {
		return true
	}
	switch msg[0] {
	case icmp4Unreachable, 4, 5, icmp4Exceeded, icmp4Problem:
		return true
	}
	return false
}
