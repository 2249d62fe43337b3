package dataplane

const (
	icmp6Unreachable = 1
	icmp6TooBig      = 2
	icmp6Exceeded    = 3
	icmp6Echo        = 128
	icmp6EchoReply   = 129
	icmp6PortCode    = 4
	maxError6        = 1280 // bytes of a whole error packet, RFC 4443, 2.4 (c)
)

// ip6Local takes a packet for one of our addresses.
func (p *Plane) ip6Local(in *port, k tableKey, pkt []byte) {
	msg := pkt[ip6Header:]
	switch pkt[6] {
	case protoICMP6:
	case protoUDP:
		in.drop("UDP port not taken")
		p.icmp6Error(in, k, pkt, icmp6Unreachable, icmp6PortCode, 0)
		return
	default:
		in.drop("protocol not taken")
		return
	}
	if len(msg) < icmpHeader || checksum6(src6(pkt), dst6(pkt), msg) != 0 {
		in.drop("ICMPv6 malformed")
		return
	}
	switch msg[0] {
	case icmp6Echo:
		answer := append([]byte(nil), msg...)
		answer[0] = icmp6EchoReply
		p.ip6Reply(in, k, newICMP6(dst6(pkt), src6(pkt), localTTL, answer))
	case icmp6EchoReply:
		p.pong(in, be.Uint16(msg[4:]), be.Uint16(msg[6:]))
	default:
		in.drop("ICMPv6 type not taken")
	}
}

// icmp6Error tells a sender what became of its packet: never of an error or one
// of ours, and not too often.
func (p *Plane) icmp6Error(in *port, k tableKey, orig []byte, kind, code byte, extra uint32) {
	if in == nil || orig[6] == protoICMP6 && (len(orig) <= ip6Header || orig[ip6Header] < 128) {
		return
	}
	to := src6(orig)
	if to.IsUnspecified() || to.IsMulticast() {
		return
	}
	from := in.source(to)
	if !from.IsValid() && in.link6() {
		from = in.linkLocal()
	}
	if !from.IsValid() || p.throttled(throttleKey{"icmp", in.idx, to}, icmp6Throttle) {
		return
	}
	quote := orig[:min(len(orig), maxError6-ip6Header-icmpHeader)]
	msg := make([]byte, icmpHeader, icmpHeader+len(quote))
	msg[0], msg[1] = kind, code
	be.PutUint32(msg[4:], extra)
	p.ip6Reply(in, k, newICMP6(from, to, localTTL, append(msg, quote...)))
}
