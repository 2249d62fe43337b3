package traffic

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
)

const (
	arpLength   = 28
	arpRequest  = 1
	arpReply    = 2
	ndSolicit   = 135
	ndAdvertise = 136
	ndLength    = 24 // up to the options
	ndOption    = 8
	ndSourceMAC = 1
	ndTargetMAC = 2
	ndSolicited = 0x40
	ndOverride  = 0x20
)

// resolve finds the MAC address of a neighbour, asking every 100 ms.
func (e *End) resolve(ctx context.Context, neighbor netip.Addr) error {
	for e.ask(neighbor); ; e.ask(neighbor) {
		for range 20 {
			if _, ok := e.neighbor(neighbor); ok {
				return nil
			}
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return fmt.Errorf("end %s: nobody answers for %s: %w", e.Name, neighbor, err)
			}
		}
	}
}

// neighbor is the MAC address to send to; a link of bare IP needs none.
func (e *End) neighbor(a netip.Addr) (schema.MAC, bool) {
	if e.IP {
		return schema.MAC{}, true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	mac, ok := e.neighbors[a]
	return mac, ok
}

func (e *End) learn(a netip.Addr, mac schema.MAC) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.neighbors[a] = mac
}

func (e *End) ask(neighbor netip.Addr) {
	own, ok := e.address(neighbor.Is6())
	switch {
	case !ok || e.IP:
	case neighbor.Is4():
		e.ifc.Send(e.frame(broadcast, typeARP, arp(arpRequest, e.MAC, own.Addr(), schema.MAC{}, neighbor)))
	default:
		group := solicitedNode(neighbor)
		e.ifc.Send(e.frame(groupMAC(group), typeIP6,
			discovery(ndSolicit, 0, linkLocal(e.MAC), group, neighbor, ndSourceMAC, e.MAC)))
	}
}

// announce tells the link the MAC address of each of our addresses.
func (e *End) announce() {
	if e.IP {
		return
	}
	for _, p := range e.Addresses {
		a := p.Addr()
		if a.Is4() {
			e.ifc.Send(e.frame(broadcast, typeARP, arp(arpRequest, e.MAC, a, schema.MAC{}, a)))
			continue
		}
		all := netip.MustParseAddr("ff02::1")
		e.ifc.Send(e.frame(groupMAC(all), typeIP6, discovery(ndAdvertise, ndOverride, a, all, a, ndTargetMAC, e.MAC)))
	}
}

func arp(op uint16, fromMAC schema.MAC, from netip.Addr, toMAC schema.MAC, to netip.Addr) []byte {
	b := make([]byte, 0, arpLength)
	b = append(b, 0, 1, typeIP4>>8, typeIP4&0xff, 6, 4)
	b = be.AppendUint16(b, op)
	b = append(append(b, fromMAC[:]...), from.AsSlice()...)
	return append(append(b, toMAC[:]...), to.AsSlice()...)
}

// arpInput answers for our addresses and learns from answers.
func (e *End) arpInput(b []byte) {
	if len(b) < arpLength || be.Uint16(b[2:]) != typeIP4 {
		return
	}
	mac, from := schema.MAC(b[8:14]), netip.AddrFrom4([4]byte(b[14:18]))
	switch target := netip.AddrFrom4([4]byte(b[24:28])); {
	case !e.owns(target):
	case be.Uint16(b[6:]) == arpReply:
		e.learn(from, mac)
	case be.Uint16(b[6:]) == arpRequest:
		e.ifc.Send(e.frame(mac, typeARP, arp(arpReply, e.MAC, target, mac, from)))
	}
}

// discovery is a neighbour discovery message in its packet (RFC 4861).
func discovery(kind, flags byte, src, dst, target netip.Addr, option byte, mac schema.MAC) []byte {
	b := make([]byte, ip6Header+ndLength+ndOption)
	ip6(b, src, dst, protoICMP6, 255)
	m := b[ip6Header:]
	m[0], m[4] = kind, flags
	copy(m[8:], target.AsSlice())
	m[ndLength], m[ndLength+1] = option, 1
	copy(m[ndLength+2:], mac[:])
	be.PutUint16(m[2:], checksum6(src, dst, protoICMP6, m))
	return b
}

// ndInput answers for our addresses and learns from answers.
func (e *End) ndInput(b []byte) {
	if len(b) < ip6Header+ndLength || b[6] != protoICMP6 || b[7] != 255 {
		return
	}
	m := b[ip6Header:]
	from, target := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(m[8:24]))
	if len(m) < ndLength+ndOption {
		return
	}
	mac := schema.MAC(m[ndLength+2 : ndLength+8])
	switch {
	case m[0] == ndAdvertise && m[ndLength] == ndTargetMAC:
		e.learn(target, mac)
	case m[0] == ndSolicit && m[ndLength] == ndSourceMAC && e.owns(target):
		e.ifc.Send(e.frame(mac, typeIP6,
			discovery(ndAdvertise, ndSolicited|ndOverride, target, from, target, ndTargetMAC, e.MAC)))
	}
}

// linkLocal is the address made from a MAC address (RFC 4291, appendix A).
func linkLocal(m schema.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 1, 12: 0xff, b[13], b[14], b[15]})
}

func groupMAC(group netip.Addr) schema.MAC {
	b := group.As16()
	return schema.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
