package vppsim

import (
	"fmt"
	"slices"
	"strings"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/l2"
)

const maxBridgeID = 1<<24 - 1 // L2_BD_ID_MAX (src/vnet/l2/l2_bd.h)

// bridges are the bridge domains, in the order that a dump gives them: a new one
// takes the first free place. Place 0 is VPP's own bridge domain 0.
type bridges struct {
	places []*bridge
	byID   map[uint32]*bridge
	drawn  uint32
}

type bridge struct {
	id                                            uint32
	flood, uuFlood, forward, learn, arpTerm, uFwd bool
	macAge                                        uint8
	tag                                           string
	members                                       []*swInterface
	bvi                                           *swInterface
	uuForward                                     *swInterface
}

func (v *vpp) initBridges() {
	v.bridges.byID = make(map[uint32]*bridge)
	v.addBridge(&bridge{})
}

func (v *vpp) registerBridge() {
	onRequest(v, v.bridgeDomainAddDel)
	onRequest(v, v.bridgeDomainAddDelV2)
	onDump(v, v.bridgeDomainDump)
	onRequest(v, v.swInterfaceSetL2Bridge)
	v.registerBridgeFlags()
}

func (v *vpp) addBridge(b *bridge) {
	v.bridges.byID[b.id] = b
	for n, place := range v.bridges.places {
		if place == nil {
			v.bridges.places[n] = b
			return
		}
	}
	v.bridges.places = append(v.bridges.places, b)
}

func (v *vpp) bridgeDomainAddDel(q *l2.BridgeDomainAddDel, _ *l2.BridgeDomainAddDelReply) retval {
	return v.addDelBridge(l2.BridgeDomainAddDelV2(*q))
}

// bridgeDomainAddDelV2 draws an id for ~0.
func (v *vpp) bridgeDomainAddDelV2(q *l2.BridgeDomainAddDelV2, r *l2.BridgeDomainAddDelV2Reply) retval {
	if q.BdID == noIndex && q.IsAdd {
		q.BdID = draw(&v.bridges.drawn, maxBridgeID, func(id uint32) bool {
			return id == 0 || v.bridges.byID[id] != nil
		})
	}
	r.BdID = q.BdID
	return v.addDelBridge(*q)
}

func (v *vpp) addDelBridge(q l2.BridgeDomainAddDelV2) retval {
	b := v.bridges.byID[q.BdID]
	if !q.IsAdd {
		return v.deleteBridge(b)
	}
	if b != nil {
		return govpp.BD_ALREADY_EXISTS
	}
	if q.BdID > maxBridgeID {
		return govpp.BD_ID_EXCEED_MAX
	}
	v.addBridge(&bridge{
		id: q.BdID, flood: q.Flood, uuFlood: q.UuFlood, forward: q.Forward, learn: q.Learn,
		arpTerm: q.ArpTerm, uFwd: q.ArpUfwd, macAge: q.MacAge,
		tag: q.BdTag[:min(len(q.BdTag), tagLength)],
	})
	return ok
}

func (v *vpp) deleteBridge(b *bridge) retval {
	switch {
	case b == nil:
		return govpp.NO_SUCH_ENTRY
	case b.id == 0:
		return govpp.BD_NOT_MODIFIABLE
	case len(b.members) > 0:
		return govpp.BD_IN_USE
	}
	delete(v.bridges.byID, b.id)
	for n, place := range v.bridges.places {
		if place == b {
			v.bridges.places[n] = nil
		}
	}
	return ok
}

// bridgeDomainDump gives one for its id and all for ~0. A filter by interface
// gives nothing: VPP has not made it.
func (v *vpp) bridgeDomainDump(q *l2.BridgeDomainDump, send func(govpp.Message)) {
	if uint32(q.SwIfIndex) != noIndex {
		return
	}
	for _, b := range v.bridges.places {
		if b != nil && b.id != 0 && (q.BdID == noIndex || q.BdID == b.id) {
			send(b.details())
		}
	}
}

func (b *bridge) details() *l2.BridgeDomainDetails {
	d := &l2.BridgeDomainDetails{
		BdID: b.id, Flood: b.flood, UuFlood: b.uuFlood, Forward: b.forward, Learn: b.learn,
		ArpTerm: b.arpTerm, ArpUfwd: b.uFwd, MacAge: b.macAge, BdTag: b.tag,
		BviSwIfIndex:   indexOf(b.bvi),
		UuFwdSwIfIndex: indexOf(b.uuForward),
	}
	for _, i := range b.members {
		d.SwIfDetails = append(d.SwIfDetails, l2.BridgeDomainSwIf{
			SwIfIndex: interface_types.InterfaceIndex(i.index),
			Shg:       i.shg,
		})
	}
	return d
}

func indexOf(i *swInterface) interface_types.InterfaceIndex {
	if i == nil {
		return interface_types.InterfaceIndex(noIndex)
	}
	return interface_types.InterfaceIndex(i.index)
}

// swInterfaceSetL2Bridge moves an interface into a bridge domain, which is made,
// without a tag, if there is none; or back to L3.
func (v *vpp) swInterfaceSetL2Bridge(q *l2.SwInterfaceSetL2Bridge, _ *l2.SwInterfaceSetL2BridgeReply) retval {
	i := v.iface(q.RxSwIfIndex)
	switch {
	case i == nil:
		return govpp.INVALID_SW_IF_INDEX
	case q.PortType > l2.L2_API_PORT_TYPE_UU_FWD:
		return govpp.INVALID_VALUE
	case !q.Enable:
		v.leaveBridge(i)
		return ok
	case q.BdID > maxBridgeID:
		return govpp.BD_ID_EXCEED_MAX
	}
	v.leaveBridge(i)
	b := v.bridges.byID[q.BdID]
	if b == nil {
		b = &bridge{id: q.BdID, flood: true, uuFlood: true, forward: true, learn: true}
		v.addBridge(b)
	}
	return v.joinBridge(i, b, q.PortType, q.Shg)
}

func (v *vpp) joinBridge(i *swInterface, b *bridge, port l2.L2PortType, shg uint8) retval {
	switch port {
	case l2.L2_API_PORT_TYPE_BVI:
		if b.bvi != nil {
			return govpp.BD_ALREADY_HAS_BVI
		}
		b.bvi = i
	case l2.L2_API_PORT_TYPE_UU_FWD:
		b.uuForward = i
	case l2.L2_API_PORT_TYPE_NORMAL:
	}
	i.bridge, i.shg = b, shg
	if port != l2.L2_API_PORT_TYPE_UU_FWD {
		b.members = slices.Insert(b.members, b.placeFor(i), i)
		v.plane.SetBridge(i.index, b.id, shg)
	}
	return ok
}

// placeFor keeps VPP's order: the BVI first, loopbacks last, the others in the
// order in which they came (bd_add_member in src/vnet/l2/l2_bd.c).
func (b *bridge) placeFor(i *swInterface) int {
	if b.bvi == i {
		return 0
	}
	place := len(b.members)
	for place > 0 && i.device != loopbackDevice && b.members[place-1].device == loopbackDevice && b.members[place-1] != b.bvi {
		place--
	}
	return place
}

// leaveBridge puts an interface back to L3; its last member leaves the bridge
// domain standing.
func (v *vpp) leaveBridge(i *swInterface) {
	b := i.bridge
	if b == nil {
		return
	}
	b.members = slices.DeleteFunc(b.members, func(m *swInterface) bool { return m == i })
	if b.bvi == i {
		b.bvi = nil
	}
	if b.uuForward == i {
		b.uuForward = nil
	}
	i.bridge, i.shg = nil, 0
	v.plane.SetBridge(i.index, 0, 0)
}

func (v *vpp) cliShowBridge() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%8s %5s %-20s %s\n", "BD-ID", "Age", "Tag", "Members")
	for _, d := range v.bridges.places {
		if d == nil || d.id == 0 {
			continue
		}
		names := make([]string, 0, len(d.members))
		for _, i := range d.members {
			names = append(names, i.name)
		}
		fmt.Fprintf(&b, "%8d %5d %-20s %s\n", d.id, d.macAge, d.tag, strings.Join(names, " "))
	}
	return b.String()
}
