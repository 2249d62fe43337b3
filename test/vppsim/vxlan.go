package vppsim

import (
	"fmt"
	"net/netip"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/vxlan"
)

const (
	vxlanDevice  = "VXLAN"
	vxlanPort    = 4789
	vxlanL2Input = 1 // the decap_next_index that VPP tells of a bridged tunnel
)

// vxlanTunnel is a tunnel on paper: it has an interface, which is up from the
// start, and moves no packets.
type vxlanTunnel struct {
	place    uint32
	instance uint32
	key      vxlanKey
	src      netip.Addr
	mcast    interface_types.InterfaceIndex
	dstPort  uint16
	iface    *swInterface
}

// vxlanKey tells tunnels apart. Those of IPv6 differ by destination alone.
type vxlanKey struct {
	src, dst netip.Addr
	port     uint16
	vrf, vni uint32
}

func (v *vpp) registerVXLAN() {
	onRequest(v, v.vxlanAddDelTunnel)
	onRequest(v, v.vxlanAddDelTunnelV2)
	onRequest(v, v.vxlanAddDelTunnelV3)
	onDump(v, v.vxlanTunnelDump)
	onDump(v, v.vxlanTunnelV2Dump)
}

func (v *vpp) vxlanAddDelTunnel(q *vxlan.VxlanAddDelTunnel, r *vxlan.VxlanAddDelTunnelReply) retval {
	index, rv := v.addDelVXLAN(vxlan.VxlanAddDelTunnelV3{
		IsAdd: q.IsAdd, Instance: q.Instance, SrcAddress: q.SrcAddress, DstAddress: q.DstAddress,
		McastSwIfIndex: q.McastSwIfIndex, EncapVrfID: q.EncapVrfID, DecapNextIndex: q.DecapNextIndex, Vni: q.Vni,
	})
	r.SwIfIndex = index
	return rv
}

func (v *vpp) vxlanAddDelTunnelV2(q *vxlan.VxlanAddDelTunnelV2, r *vxlan.VxlanAddDelTunnelV2Reply) retval {
	index, rv := v.addDelVXLAN(vxlan.VxlanAddDelTunnelV3{
		IsAdd: q.IsAdd, Instance: q.Instance, SrcAddress: q.SrcAddress, DstAddress: q.DstAddress,
		SrcPort: q.SrcPort, DstPort: q.DstPort,
		McastSwIfIndex: q.McastSwIfIndex, EncapVrfID: q.EncapVrfID, DecapNextIndex: q.DecapNextIndex, Vni: q.Vni,
	})
	r.SwIfIndex = index
	return rv
}

func (v *vpp) vxlanAddDelTunnelV3(q *vxlan.VxlanAddDelTunnelV3, r *vxlan.VxlanAddDelTunnelV3Reply) retval {
	index, rv := v.addDelVXLAN(*q)
	r.SwIfIndex = index
	return rv
}

func (v *vpp) addDelVXLAN(q vxlan.VxlanAddDelTunnelV3) (interface_types.InterfaceIndex, retval) {
	none := interface_types.InterfaceIndex(noIndex)
	src, dst := addressOf(q.SrcAddress), addressOf(q.DstAddress)
	switch {
	case v.fib(src.Is6()).byID[q.EncapVrfID] == nil:
		return none, govpp.NO_SUCH_FIB
	case src.Is6() != dst.Is6():
		return none, govpp.INVALID_VALUE
	case src == dst:
		return none, govpp.SAME_SRC_DST
	case dst.IsMulticast() && v.iface(q.McastSwIfIndex) == nil:
		return none, govpp.INVALID_SW_IF_INDEX
	}
	if q.SrcPort == 0 {
		q.SrcPort = vxlanPort
	}
	if q.DstPort == 0 {
		q.DstPort = vxlanPort
	}
	key := vxlanKey{src: src, dst: dst, port: q.SrcPort, vrf: q.EncapVrfID, vni: q.Vni}
	if src.Is6() {
		key.src = netip.Addr{}
	}
	had := v.vxlanWith(func(t *vxlanTunnel) bool { return t.key == key })
	switch {
	case !q.IsAdd && had == nil:
		return none, govpp.NO_SUCH_ENTRY
	case !q.IsAdd:
		v.deleteInterface(had.iface)
		v.vxlan.del(had.place)
		return interface_types.InterfaceIndex(had.iface.index), ok
	case had != nil:
		return none, govpp.TUNNEL_EXIST
	}
	return v.newVXLAN(q, key, src)
}

func (v *vpp) vxlanWith(match func(*vxlanTunnel) bool) *vxlanTunnel {
	for t := range v.vxlan.all() {
		if match(t) {
			return t
		}
	}
	return nil
}

// newVXLAN names the tunnel by the instance asked for, or by its place.
func (v *vpp) newVXLAN(q vxlan.VxlanAddDelTunnelV3, key vxlanKey, src netip.Addr) (interface_types.InterfaceIndex, retval) {
	t := v.vxlan.put(func(place uint32) *vxlanTunnel {
		return &vxlanTunnel{place: place, instance: q.Instance, key: key, src: src, mcast: q.McastSwIfIndex, dstPort: q.DstPort}
	})
	if t.instance == noIndex {
		t.instance = t.place
	}
	if v.vxlanWith(func(o *vxlanTunnel) bool { return o != t && o.instance == t.instance }) != nil {
		v.vxlan.del(t.place)
		return interface_types.InterfaceIndex(noIndex), govpp.INSTANCE_IN_USE
	}
	t.iface = v.newInterface(func(i *swInterface) {
		i.name, i.device = fmt.Sprintf("vxlan_tunnel%d", t.instance), vxlanDevice
		i.mac = memifMAC(ethernet_types.MacAddress{}, v.pid, i.index)
		i.linkMTU, i.mtu[0] = ethMTU, ethMTU
	})
	v.plane.AddEthernet(t.iface.index, t.iface.mac, func([]byte) {})
	v.setAdmin(t.iface, true)
	v.setLink(t.iface, true)
	return interface_types.InterfaceIndex(t.iface.index), ok
}

func (v *vpp) vxlanTunnelDump(q *vxlan.VxlanTunnelDump, send func(govpp.Message)) {
	for t := range v.vxlan.all() {
		if uint32(q.SwIfIndex) == noIndex || uint32(q.SwIfIndex) == t.iface.index {
			d := t.details()
			send(&vxlan.VxlanTunnelDetails{
				SwIfIndex: d.SwIfIndex, Instance: d.Instance, SrcAddress: d.SrcAddress, DstAddress: d.DstAddress,
				McastSwIfIndex: d.McastSwIfIndex, EncapVrfID: d.EncapVrfID, DecapNextIndex: d.DecapNextIndex, Vni: d.Vni,
			})
		}
	}
}

func (v *vpp) vxlanTunnelV2Dump(q *vxlan.VxlanTunnelV2Dump, send func(govpp.Message)) {
	for t := range v.vxlan.all() {
		if uint32(q.SwIfIndex) == noIndex || uint32(q.SwIfIndex) == t.iface.index {
			send(t.details())
		}
	}
}

// details leave the multicast interface ~0 of a unicast tunnel, as VPP does.
func (t *vxlanTunnel) details() *vxlan.VxlanTunnelV2Details {
	d := &vxlan.VxlanTunnelV2Details{
		SwIfIndex:      interface_types.InterfaceIndex(t.iface.index),
		Instance:       t.instance,
		SrcAddress:     toAddress(t.src),
		DstAddress:     toAddress(t.key.dst),
		SrcPort:        t.key.port,
		DstPort:        t.dstPort,
		McastSwIfIndex: interface_types.InterfaceIndex(noIndex),
		EncapVrfID:     t.key.vrf,
		DecapNextIndex: vxlanL2Input,
		Vni:            t.key.vni,
	}
	if t.key.dst.IsMulticast() {
		d.McastSwIfIndex = t.mcast
	}
	return d
}
