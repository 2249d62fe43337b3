package vpp

import (
	"net/netip"

	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/ip_types"
)

func toAddress(a netip.Addr) ip_types.Address {
	if a.Is4() {
		return ip_types.Address{Af: ip_types.ADDRESS_IP4, Un: ip_types.AddressUnionIP4(a.As4())}
	}
	return ip_types.Address{Af: ip_types.ADDRESS_IP6, Un: ip_types.AddressUnionIP6(a.As16())}
}

func fromUnion(af ip_types.AddressFamily, u ip_types.AddressUnion) netip.Addr {
	if af == ip_types.ADDRESS_IP6 {
		return netip.AddrFrom16(u.GetIP6())
	}
	return netip.AddrFrom4(u.GetIP4())
}

func toPrefix(p netip.Prefix) ip_types.Prefix {
	return ip_types.Prefix{Address: toAddress(p.Addr()), Len: uint8(p.Bits())} // #nosec G115 -- at most 128
}

func fromPrefix(p ip_types.Prefix) netip.Prefix {
	return netip.PrefixFrom(fromUnion(p.Address.Af, p.Address.Un), int(p.Len))
}

func pathProto(a netip.Addr) fib_types.FibPathNhProto {
	if a.Is4() {
		return fib_types.FIB_API_PATH_NH_PROTO_IP4
	}
	return fib_types.FIB_API_PATH_NH_PROTO_IP6
}

// nextHop is the address of a path, invalid for one that is on the link.
func nextHop(p fib_types.FibPath) netip.Addr {
	var a netip.Addr
	if p.Proto == fib_types.FIB_API_PATH_NH_PROTO_IP6 {
		a = netip.AddrFrom16(p.Nh.Address.GetIP6())
	} else {
		a = netip.AddrFrom4(p.Nh.Address.GetIP4())
	}
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
