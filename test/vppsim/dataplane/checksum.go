package dataplane

import "net/netip"

// sum adds up 16-bit words as the Internet checksum does (RFC 1071).
func sum(b []byte, start uint32) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		start += uint32(b[0])<<8 | uint32(b[1])
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
	return ^uint16(s) // folded to 16 bits
}

// checksum of a header or message whose checksum field is zero; over one whose
// field is right it is 0.
func checksum(b []byte) uint16 { return fold(sum(b, 0)) }

// checksum6 covers the pseudo header too (RFC 8200, 8.1).
func checksum6(src, dst netip.Addr, payload []byte) uint16 {
	s := sum(src.AsSlice(), uint32(len(payload))+protoICMP6) // a packet's length
	return fold(sum(payload, sum(dst.AsSlice(), s)))
}

// flowOf is a hash of the addresses, so that a flow keeps to one path.
func flowOf(src, dst netip.Addr) uint32 {
	h := uint32(2166136261)
	for _, a := range []netip.Addr{src, dst} {
		for _, b := range a.AsSlice() {
			h = (h ^ uint32(b)) * 16777619
		}
	}
	return h >> 8
}
