package vppsim

import (
	"encoding/binary"
	"net/netip"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ip"
)

func (v *vpp) registerIP6() {
	onRequest(v, v.swInterfaceIP6EnableDisable)
	onRequest(v, v.swInterfaceIP6GetLinkLocalAddress)
	onRequest(v, v.swInterfaceIP6SetLinkLocalAddress)
}

// swInterfaceIP6EnableDisable counts: enabling twice is an error, yet needs two
// disables (ip6_link_enable in src/vnet/ip/ip6_link.c).
func (v *vpp) swInterfaceIP6EnableDisable(q *ip.SwInterfaceIP6EnableDisable, _ *ip.SwInterfaceIP6EnableDisableReply) retval {
	i := v.iface(q.SwIfIndex)
	switch {
	case i == nil:
		return govpp.INVALID_SW_IF_INDEX
	case q.Enable:
		was := i.ip.locks6 > 0
		v.lockIP6(i)
		if was {
			return govpp.VALUE_EXIST
		}
	case i.ip.locks6 == 0:
		return govpp.IP6_NOT_ENABLED
	default:
		v.unlockIP6(i)
	}
	return ok
}

func (v *vpp) lockIP6(i *swInterface) {
	i.ip.locks6++
	if i.ip.locks6 > 1 {
		return
	}
	if !i.ip.linkLocal.IsValid() {
		i.ip.linkLocal = v.makeLinkLocal(i)
	}
	v.plane.SetIP6Enabled(i.index, true)
}

func (v *vpp) unlockIP6(i *swInterface) {
	if i.ip.locks6 == 0 {
		return
	}
	i.ip.locks6--
	if i.ip.locks6 == 0 {
		i.ip.linkLocal = netip.Addr{}
		v.plane.SetIP6Enabled(i.index, false)
	}
}

// makeLinkLocal is made of the MAC (RFC 4291, appendix A), or drawn where there
// is none.
func (v *vpp) makeLinkLocal(i *swInterface) netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80, 11: 0xff, 12: 0xfe}
	if mac := i.sup.mac; mac != nil {
		copy(a[8:], mac[:3])
		copy(a[13:], mac[3:])
		a[8] ^= 2
		return netip.AddrFrom16(a)
	}
	binary.BigEndian.PutUint32(a[8:], v.pid)
	binary.BigEndian.PutUint32(a[12:], i.index)
	a[8] &^= 2
	return netip.AddrFrom16(a)
}

// linkLocalAddress is adding and deleting a link-local address as if it were any
// other: adding sets it, deleting the one in use is refused.
func (v *vpp) linkLocalAddress(i *swInterface, a netip.Addr, length int, add bool) retval {
	switch {
	case length != a.BitLen():
		return govpp.ADDRESS_LENGTH_MISMATCH
	case add:
		v.setLinkLocal(i, a)
		return ok
	case i.ip.linkLocal == a:
		return govpp.ADDRESS_NOT_DELETABLE
	}
	return govpp.ADDRESS_NOT_FOUND_FOR_INTERFACE
}

func (v *vpp) setLinkLocal(i *swInterface, a netip.Addr) {
	i.ip.linkLocal = a
	if i.ip.locks6 == 0 {
		v.lockIP6(i)
	}
	v.plane.AddAddress(i.index, netip.PrefixFrom(a, a.BitLen()))
}

func (v *vpp) swInterfaceIP6SetLinkLocalAddress(q *ip.SwInterfaceIP6SetLinkLocalAddress, _ *ip.SwInterfaceIP6SetLinkLocalAddressReply) retval {
	i := v.iface(q.SwIfIndex)
	if i == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	v.setLinkLocal(i, netip.AddrFrom16(q.IP))
	return ok
}

func (v *vpp) swInterfaceIP6GetLinkLocalAddress(q *ip.SwInterfaceIP6GetLinkLocalAddress, r *ip.SwInterfaceIP6GetLinkLocalAddressReply) retval {
	i := v.iface(q.SwIfIndex)
	switch {
	case i == nil:
		return govpp.INVALID_SW_IF_INDEX
	case i.ip.locks6 == 0:
		return govpp.IP6_NOT_ENABLED
	}
	r.IP = i.ip.linkLocal.As16()
	return ok
}
