package vppsim

import (
	"fmt"

	govpp "go.fd.io/govpp/api"
	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/l2"
)

// subInterface is what makes an interface a sub-interface.
type subInterface struct {
	id           uint32
	flags        interface_types.SubIfFlags
	outer, inner uint16
}

// tags is the number of VLAN tags that packets of the sub-interface carry.
func (s *subInterface) tags() uint8 {
	switch {
	case s.flags&interface_types.SUB_IF_API_FLAG_TWO_TAGS != 0:
		return 2
	case s.flags&interface_types.SUB_IF_API_FLAG_ONE_TAG != 0:
		return 1
	}
	return 0
}

// known is the number of tags with a set value, which a rewrite may take off.
func (s *subInterface) known() uint8 {
	switch {
	case s.flags&interface_types.SUB_IF_API_FLAG_OUTER_VLAN_ID_ANY != 0:
		return 0
	case s.tags() == 2 && s.flags&interface_types.SUB_IF_API_FLAG_INNER_VLAN_ID_ANY != 0:
		return 1
	}
	return s.tags()
}

// tagRewrite is what l2_interface_vlan_tag_rewrite set; zero is disabled.
type tagRewrite struct {
	op, pushDot1q, tag1, tag2 uint32
}

// The operations, l2_vtr_op_t (src/vnet/l2/l2_vtr.h).
const (
	rewriteDisabled = iota
	rewritePush1
	rewritePush2
	rewritePop1
	rewritePop2
	rewriteTranslate11
	rewriteTranslate12
	rewriteTranslate21
	rewriteTranslate22
)

func (v *vpp) registerVLAN() {
	onRequest(v, v.createVlanSubif)
	onRequest(v, v.createSubif)
	onRequest(v, v.deleteSubif)
	onRequest(v, v.l2InterfaceVlanTagRewrite)
}

func (v *vpp) createVlanSubif(q *interfaces_api.CreateVlanSubif, r *interfaces_api.CreateVlanSubifReply) retval {
	r.SwIfIndex = interface_types.InterfaceIndex(noIndex)
	i := v.iface(q.SwIfIndex)
	switch {
	case i == nil:
		return govpp.INVALID_SW_IF_INDEX
	case q.VlanID == 0 || q.VlanID > 4095:
		return govpp.INVALID_VLAN
	}
	index, rv := v.newSubInterface(i.sup, govpp.INVALID_REGISTRATION, subInterface{
		id:    q.VlanID,
		flags: interface_types.SUB_IF_API_FLAG_ONE_TAG | interface_types.SUB_IF_API_FLAG_EXACT_MATCH,
		outer: uint16(q.VlanID), // checked above
	})
	r.SwIfIndex = index
	return rv
}

func (v *vpp) createSubif(q *interfaces_api.CreateSubif, r *interfaces_api.CreateSubifReply) retval {
	r.SwIfIndex = interface_types.InterfaceIndex(noIndex)
	i := v.iface(q.SwIfIndex)
	if i == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	index, rv := v.newSubInterface(i.sup, govpp.UNSPECIFIED, subInterface{
		id: q.SubID, flags: q.SubIfFlags, outer: q.OuterVlanID, inner: q.InnerVlanID,
	})
	r.SwIfIndex = index
	return rv
}

// newSubInterface answers clash where Ethernet cannot tell the packets of the
// new sub-interface from others; the index told is then free again.
func (v *vpp) newSubInterface(parent *swInterface, clash retval, sub subInterface) (interface_types.InterfaceIndex, retval) {
	if parent.subs[sub.id] != nil {
		return interface_types.InterfaceIndex(noIndex), govpp.VLAN_ALREADY_EXISTS
	}
	matchable := sub.matchable(parent)
	i := v.newInterface(func(i *swInterface) {
		i.sup, i.sub = parent, &sub
		i.name = fmt.Sprintf("%s.%d", parent.name, sub.id)
	})
	parent.subs[sub.id] = i
	if !matchable {
		v.deleteInterface(i)
		return interface_types.InterfaceIndex(i.index), clash
	}
	if sub.tags() == 1 {
		v.plane.AddSubInterface(i.index, parent.index, sub.outer)
	}
	return interface_types.InterfaceIndex(i.index), ok
}

// matchable tells whether the flags name a class of packets that no sibling has
// (ethernet_sw_interface_add_del in src/vnet/ethernet/interface.c).
func (s *subInterface) matchable(parent *swInterface) bool {
	const class = interface_types.SUB_IF_API_FLAG_NO_TAGS | interface_types.SUB_IF_API_FLAG_ONE_TAG |
		interface_types.SUB_IF_API_FLAG_TWO_TAGS | interface_types.SUB_IF_API_FLAG_DEFAULT
	if s.flags&class == 0 || s.tags() == 1 && s.known() == 0 {
		return false
	}
	for _, sibling := range parent.subs {
		o := sibling.sub
		if s.flags&class == o.flags&class && s.outer == o.outer && s.inner == o.inner {
			return false
		}
	}
	return true
}

func (v *vpp) deleteSubif(q *interfaces_api.DeleteSubif, _ *interfaces_api.DeleteSubifReply) retval {
	i := v.iface(q.SwIfIndex)
	switch {
	case i == nil:
		return govpp.INVALID_SW_IF_INDEX
	case i.sub == nil:
		return govpp.INVALID_SUB_SW_IF_INDEX
	}
	v.deleteInterface(i)
	return ok
}

// needs is how many tags with a set value an operation takes off.
func needs(op uint32) uint8 {
	switch op {
	case rewritePop1, rewriteTranslate11, rewriteTranslate12:
		return 1
	case rewritePop2, rewriteTranslate21, rewriteTranslate22:
		return 2
	}
	return 0
}

// l2InterfaceVlanTagRewrite keeps only what VPP can tell again: no tags with a
// pop, no second one with a push of one.
func (v *vpp) l2InterfaceVlanTagRewrite(q *l2.L2InterfaceVlanTagRewrite, _ *l2.L2InterfaceVlanTagRewriteReply) retval {
	i := v.iface(q.SwIfIndex)
	switch {
	case i == nil:
		return govpp.INVALID_SW_IF_INDEX
	case q.VtrOp > rewriteTranslate22:
		return govpp.INVALID_VALUE
	case i.sup.mac == nil:
		return govpp.INVALID_INTERFACE
	}
	known := uint8(0)
	if i.sub != nil {
		known = i.sub.known()
	}
	if known < needs(q.VtrOp) {
		i.rewrite = tagRewrite{op: i.rewrite.op} // VPP forgets the tags before it looks
		return govpp.INVALID_VLAN_TAG_COUNT
	}
	rw := tagRewrite{op: q.VtrOp}
	switch q.VtrOp {
	case rewritePush1, rewriteTranslate11, rewriteTranslate21:
		rw.pushDot1q, rw.tag1 = min(q.PushDot1q, 1), q.Tag1
	case rewritePush2, rewriteTranslate12, rewriteTranslate22:
		rw.pushDot1q, rw.tag1, rw.tag2 = min(q.PushDot1q, 1), q.Tag1, q.Tag2
	}
	i.rewrite = rw
	v.plane.SetTagRewrite(i.index, rw.op, rw.tag1)
	return ok
}
