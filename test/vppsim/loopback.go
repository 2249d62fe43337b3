package vppsim

import (
	"fmt"
	"net"

	govpp "go.fd.io/govpp/api"
	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
)

const loopbackDevice = "Loopback"

// maxLoopbacks is LOOPBACK_MAX_INSTANCE (src/vnet/ethernet/interface.c).
const maxLoopbacks = 16 << 10

func (v *vpp) registerLoopback() {
	onRequest(v, v.createLoopback)
	onRequest(v, v.createLoopbackInstance)
	onRequest(v, v.deleteLoopback)
}

func (v *vpp) createLoopback(q *interfaces_api.CreateLoopback, r *interfaces_api.CreateLoopbackReply) retval {
	index, rv := v.newLoopback(macOf(q.MacAddress), v.freeLoopback())
	r.SwIfIndex = index
	return rv
}

func (v *vpp) createLoopbackInstance(q *interfaces_api.CreateLoopbackInstance, r *interfaces_api.CreateLoopbackInstanceReply) retval {
	instance := q.UserInstance
	if !q.IsSpecified {
		instance = v.freeLoopback()
	}
	index, rv := v.newLoopback(macOf(q.MacAddress), instance)
	r.SwIfIndex = index
	return rv
}

func (v *vpp) freeLoopback() uint32 {
	instance := uint32(0)
	for v.loopbacks[instance] != nil {
		instance++
	}
	return instance
}

func (v *vpp) newLoopback(mac net.HardwareAddr, instance uint32) (interface_types.InterfaceIndex, retval) {
	if instance >= maxLoopbacks || v.loopbacks[instance] != nil {
		return interface_types.InterfaceIndex(noIndex), govpp.INVALID_REGISTRATION
	}
	if mac == nil {
		mac = net.HardwareAddr{0xde, 0xad, 0, 0, 0, byte(instance)}
	}
	i := v.newInterface(func(i *swInterface) {
		i.name, i.device = fmt.Sprintf("loop%d", instance), loopbackDevice
		i.mac, i.linkMTU, i.mtu[0] = mac, ethMTU, ethMTU
		i.setAdmin = func(up bool) { v.setLink(i, up) }
	})
	v.loopbacks[instance] = i
	v.plane.AddLoopback(i.index, mac)
	v.plane.SetMTU(i.index, ethMTU)
	return interface_types.InterfaceIndex(i.index), ok
}

func (v *vpp) deleteLoopback(q *interfaces_api.DeleteLoopback, _ *interfaces_api.DeleteLoopbackReply) retval {
	i := v.iface(q.SwIfIndex)
	if i == nil || i.sup.device != loopbackDevice {
		return govpp.INVALID_SW_IF_INDEX
	}
	for instance, loop := range v.loopbacks {
		if loop == i.sup {
			delete(v.loopbacks, instance)
		}
	}
	v.deleteInterface(i.sup)
	return ok
}
