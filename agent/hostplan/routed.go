package hostplan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

// routed gives the interface the network's gateways and the routes to the pod.
// VPP finds the pod's addresses on the link by itself (ARP, neighbour discovery):
// a route without next hop becomes an attached one for the pod's address.
func (p *Plan) routed(iface model.ID, h schema.HostInterface) {
	p.tables(iface, h.VRF)
	if len(h.Gateways) > 0 {
		p.add(model.Unnumbered{Interface: iface, Lender: p.gateway(h)})
	}
	for _, a := range h.PodAddresses {
		p.add(model.Route{VRF: h.VRF, Prefix: host(a), Interface: iface})
	}
}

// tables puts an interface into the network's VRF, for both families whichever
// is used: VPP lends addresses only between interfaces that have both tables in
// common (retval -74 else).
func (p *Plan) tables(iface model.ID, vrf uint32) {
	if vrf == 0 {
		return
	}
	for _, v6 := range []bool{false, true} {
		p.add(model.Table{VRF: vrf, V6: v6}, model.InterfaceTable{Interface: iface, VRF: vrf, V6: v6})
	}
}

// gateway is the loopback with the gateways' addresses, which all attachments
// with the same gateways in the same VRF share. The addresses are host prefixes:
// a pod that is not there has no route, and nobody asks for it on the loopback.
func (p *Plan) gateway(h schema.HostInterface) model.ID {
	l := model.Loopback{Tag: gatewayTag(h.VRF, h.Gateways)}
	l.MAC = model.MAC(schema.DeriveMAC(string(l.Tag)))
	p.add(l)
	p.tables(l.ID(), h.VRF)
	for _, g := range sortedAddrs(h.Gateways) {
		p.add(model.Address{Interface: l.ID(), Prefix: host(g), VRF: h.VRF})
	}
	p.add(model.AdminUp{Interface: l.ID()})
	return l.ID()
}

// gatewayTag is vpp-cni/gw/<vrf>/<hash of the gateways>.
func gatewayTag(vrf uint32, gateways []netip.Addr) model.Tag {
	sum := sha256.Sum256(fmt.Append(nil, sortedAddrs(gateways)))
	return model.Tag(fmt.Sprintf("%sgw/%d/%s", model.TagPrefix, vrf, hex.EncodeToString(sum[:6])))
}

func sortedAddrs(addrs []netip.Addr) []netip.Addr {
	out := slices.SortedFunc(slices.Values(addrs), netip.Addr.Compare)
	return slices.Compact(out)
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
