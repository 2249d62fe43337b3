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
func (p *Plan) routed(iface model.ID, h schema.HostInterface) {
	families := families(slices.Concat(h.Gateways, h.PodAddresses))
	p.tables(iface, h.VRF, families)
	if len(h.Gateways) > 0 {
		lender := p.gateway(h, families)
		p.add(model.Unnumbered{Interface: iface, Lender: lender})
	}
	for _, a := range h.PodAddresses {
		p.add(model.Route{VRF: h.VRF, Prefix: host(a), Interface: iface, NextHop: nextHop(h, a)})
	}
}

// nextHop is the pod's own address where frames need a neighbour, and none on a
// link that carries bare IP.
func nextHop(h schema.HostInterface, a netip.Addr) netip.Addr {
	if h.Memif != nil && h.Memif.Mode == schema.MemifIP {
		return netip.Addr{}
	}
	return a
}

// tables puts an interface into the network's VRF.
func (p *Plan) tables(iface model.ID, vrf uint32, families []bool) {
	if vrf == 0 {
		return
	}
	for _, v6 := range families {
		p.add(model.Table{VRF: vrf, V6: v6}, model.InterfaceTable{Interface: iface, VRF: vrf, V6: v6})
	}
}

// gateway is the loopback with the gateways' addresses. All attachments with the
// same gateways in the same VRF share it.
func (p *Plan) gateway(h schema.HostInterface, families []bool) model.ID {
	l := model.Loopback{Tag: gatewayTag(h.VRF, h.Gateways)}
	l.MAC = model.MAC(schema.DeriveMAC(string(l.Tag)))
	p.add(l)
	p.tables(l.ID(), h.VRF, families)
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

// families says which of IPv4 (false) and IPv6 (true) addrs have.
func families(addrs []netip.Addr) []bool {
	var out []bool
	for _, v6 := range []bool{false, true} {
		if slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Is6() == v6 }) {
			out = append(out, v6)
		}
	}
	return out
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
