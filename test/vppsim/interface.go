package vppsim

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
)

// noIndex is VPP's ~0.
const noIndex = ^uint32(0)

const (
	tagLength = 63   // longest tag; the field is 64 bytes with its end
	ethMTU    = 9000 // what VPP gives its Ethernet interfaces
)

// interfaces are all software interfaces, by sw_if_index.
type interfaces struct {
	pool pool[swInterface]
}

// swInterface is VPP's vnet_sw_interface_t, and for a hardware interface its
// vnet_hw_interface_t too.
type swInterface struct {
	index   uint32
	sup     *swInterface // itself but for sub-interfaces
	name    string
	device  string // interface_dev_type
	tag     string
	mac     net.HardwareAddr // nil: not Ethernet
	adminUp bool
	linkUp  bool
	linkMTU uint16
	mtu     [4]uint32
	sub     *subInterface // nil: hardware interface
	subs    map[uint32]*swInterface
	rewrite tagRewrite
	bridge  *bridge // nil: L3
	shg     uint8
	ip      ipInterface

	setAdmin func(up bool) // the device's part of it; nil: it has none
}

func (v *vpp) initInterfaces() {
	v.newInterface(func(i *swInterface) {
		i.name, i.device = "local0", "local"
	})
	v.events.pending = nil // nobody listened when VPP made local0
}

// newInterface gives an interface the next sw_if_index. fill sets what is
// special to its kind.
func (v *vpp) newInterface(fill func(i *swInterface)) *swInterface {
	i := v.interfaces.pool.put(func(index uint32) *swInterface {
		i := &swInterface{index: index, subs: make(map[uint32]*swInterface)}
		i.sup = i
		v.initIP(i)
		fill(i)
		return i
	})
	v.events.note(i.index, eventAdd)
	return i
}

// deleteInterface takes an interface away with all that hangs on it.
func (v *vpp) deleteInterface(i *swInterface) {
	for _, id := range slices.Sorted(maps.Keys(i.subs)) {
		v.deleteInterface(i.subs[id])
	}
	if i.sub != nil {
		delete(i.sup.subs, i.sub.id)
	}
	v.setAdmin(i, false)
	v.leaveBridge(i)
	v.forgetIP(i)
	v.plane.Remove(i.index)
	v.interfaces.pool.del(i.index)
	v.events.note(i.index, eventDelete)
}

func (v *vpp) registerInterface() {
	onDump(v, v.swInterfaceDump)
	onRequest(v, v.swInterfaceSetFlags)
	onRequest(v, v.swInterfaceSetMtu)
	onRequest(v, v.hwInterfaceSetMtu)
	onRequest(v, v.swInterfaceSetMacAddress)
	onRequest(v, v.swInterfaceGetMacAddress)
	onRequest(v, v.swInterfaceTagAddDel)
}

func (v *vpp) iface(index interface_types.InterfaceIndex) *swInterface {
	return v.interfaces.pool.get(uint32(index))
}

// setAdmin sets the administrative state, as vnet_sw_interface_set_flags does.
// False: a sub-interface cannot come up while its parent is down.
func (v *vpp) setAdmin(i *swInterface, up bool) bool {
	if i.sub != nil && up && !i.sup.adminUp {
		return false
	}
	if i.adminUp == up {
		return true
	}
	i.adminUp = up
	if up {
		v.events.note(i.index, eventAdminUp)
	} else {
		v.events.note(i.index, eventAdminDown)
	}
	v.plane.SetAdminUp(i.index, up)
	if i.setAdmin != nil {
		i.setAdmin(up)
	}
	if !up && i.sub == nil {
		v.setLink(i, false)
	}
	v.adminRoutes(i)
	return true
}

// setLink sets the link state of a hardware interface.
func (v *vpp) setLink(i *swInterface, up bool) {
	if i.linkUp == up {
		return
	}
	i.linkUp = up
	if up {
		v.events.note(i.index, eventLinkUp)
	} else {
		v.events.note(i.index, eventLinkDown)
	}
	v.plane.SetLinkUp(i.index, up)
}

func (v *vpp) swInterfaceSetFlags(q *interfaces_api.SwInterfaceSetFlags, _ *interfaces_api.SwInterfaceSetFlagsReply) retval {
	i := v.iface(q.SwIfIndex)
	if i == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	if !v.setAdmin(i, q.Flags&interface_types.IF_STATUS_API_FLAG_ADMIN_UP != 0) {
		return govpp.UNSPECIFIED
	}
	return ok
}

func (v *vpp) swInterfaceSetMtu(q *interfaces_api.SwInterfaceSetMtu, _ *interfaces_api.SwInterfaceSetMtuReply) retval {
	i := v.iface(q.SwIfIndex)
	if i == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	copy(i.mtu[:], q.Mtu)
	v.plane.SetMTU(i.index, i.mtu[0])
	return ok
}

func (v *vpp) hwInterfaceSetMtu(q *interfaces_api.HwInterfaceSetMtu, _ *interfaces_api.HwInterfaceSetMtuReply) retval {
	i := v.iface(q.SwIfIndex)
	switch {
	case i == nil:
		return govpp.INVALID_SW_IF_INDEX
	case i.sub != nil:
		return govpp.INVALID_VALUE
	case i.mac == nil:
		return govpp.FEATURE_DISABLED
	}
	if i.device != memifDevice {
		return govpp.UNSUPPORTED
	}
	i.linkMTU, i.mtu[0] = q.Mtu, uint32(q.Mtu)
	v.plane.SetMTU(i.index, i.mtu[0])
	return ok
}

func (v *vpp) swInterfaceSetMacAddress(q *interfaces_api.SwInterfaceSetMacAddress, _ *interfaces_api.SwInterfaceSetMacAddressReply) retval {
	i := v.iface(q.SwIfIndex)
	if i == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	if i.mac == nil {
		return govpp.UNIMPLEMENTED
	}
	i.mac = q.MacAddress.ToMAC()
	v.plane.SetMAC(i.index, i.mac)
	return ok
}

func (v *vpp) swInterfaceGetMacAddress(q *interfaces_api.SwInterfaceGetMacAddress, r *interfaces_api.SwInterfaceGetMacAddressReply) retval {
	i := v.iface(q.SwIfIndex)
	if i == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	copy(r.MacAddress[:], i.sup.mac)
	return ok
}

func (v *vpp) swInterfaceTagAddDel(q *interfaces_api.SwInterfaceTagAddDel, _ *interfaces_api.SwInterfaceTagAddDelReply) retval {
	i := v.iface(q.SwIfIndex)
	switch {
	case i == nil:
		return govpp.INVALID_SW_IF_INDEX
	case !q.IsAdd:
		i.tag = ""
	case q.Tag == "":
		return govpp.INVALID_VALUE
	default:
		i.tag = q.Tag[:min(len(q.Tag), tagLength)]
	}
	return ok
}

// swInterfaceDump gives one interface for an index other than 0, all for 0 and
// ~0, and those whose name has the filter in it, in any case, with a filter.
func (v *vpp) swInterfaceDump(q *interfaces_api.SwInterfaceDump, send func(govpp.Message)) {
	if !q.NameFilterValid && q.SwIfIndex != 0 && uint32(q.SwIfIndex) != noIndex {
		if i := v.iface(q.SwIfIndex); i != nil {
			send(i.details())
		}
		return
	}
	filter := ""
	if q.NameFilterValid {
		filter = strings.ToLower(q.NameFilter)
	}
	for i := range v.interfaces.pool.all() {
		if strings.Contains(strings.ToLower(i.name), filter) {
			send(i.details())
		}
	}
}

func (i *swInterface) flags() interface_types.IfStatusFlags {
	var f interface_types.IfStatusFlags
	if i.adminUp {
		f |= interface_types.IF_STATUS_API_FLAG_ADMIN_UP
	}
	if i.sup.linkUp {
		f |= interface_types.IF_STATUS_API_FLAG_LINK_UP
	}
	return f
}

func (i *swInterface) details() *interfaces_api.SwInterfaceDetails {
	d := &interfaces_api.SwInterfaceDetails{
		SwIfIndex:        interface_types.InterfaceIndex(i.index),
		SupSwIfIndex:     i.sup.index,
		Flags:            i.flags(),
		LinkMtu:          i.sup.linkMTU,
		Mtu:              i.mtu[:],
		InterfaceName:    i.name,
		InterfaceDevType: i.sup.device,
		Tag:              i.tag,
		VtrOp:            i.rewrite.op,
		VtrPushDot1q:     i.rewrite.pushDot1q,
		VtrTag1:          i.rewrite.tag1,
		VtrTag2:          i.rewrite.tag2,
	}
	if i.sub == nil {
		copy(d.L2Address[:], i.mac)
		return d
	}
	d.Type = interface_types.IF_API_TYPE_SUB
	d.SubID = i.sub.id
	d.SubNumberOfTags = i.sub.tags()
	d.SubOuterVlanID = i.sub.outer
	d.SubInnerVlanID = i.sub.inner
	d.SubIfFlags = i.sub.flags & interface_types.SUB_IF_API_FLAG_MASK_VNET
	return d
}

func macOf(a ethernet_types.MacAddress) net.HardwareAddr {
	if a == (ethernet_types.MacAddress{}) {
		return nil
	}
	return a.ToMAC()
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func (v *vpp) cliShowInterface() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-32s %5s %6s %5s %s\n", "Name", "Idx", "State", "Link", "MTU (L3/IP4/IP6/MPLS)")
	for i := range v.interfaces.pool.all() {
		fmt.Fprintf(&b, "%-32s %5d %6s %5s %d/%d/%d/%d\n",
			i.name, i.index, upDown(i.adminUp), upDown(i.sup.linkUp), i.mtu[0], i.mtu[1], i.mtu[2], i.mtu[3])
	}
	return b.String()
}
