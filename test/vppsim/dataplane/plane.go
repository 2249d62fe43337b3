// Package dataplane forwards packets between the interfaces of one simulated
// VPP: bridges, VLANs, ARP, neighbour discovery, ICMP and routing tables. It
// knows neither VPP's API nor how packets enter or leave a device; packages
// vppsim and memif do.
package dataplane

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// NoInterface is VPP's ~0: no sw_if_index.
const NoInterface = ^uint32(0)

// Path is one way out of a route.
type Path struct {
	Interface uint32     // NoInterface: resolve by NextHop
	NextHop   netip.Addr // zero: attached
}

// Counters are those of one interface since it was added. Drops are also told
// by reason.
type Counters struct {
	RxPackets, RxBytes uint64
	TxPackets, TxBytes uint64
	Drops              uint64
	Reasons            map[string]uint64
}

// Plane forwards packets between the interfaces of one simulated VPP. It is
// safe for concurrent use.
type Plane struct{}

// New makes a plane without interfaces.
func New() *Plane { return &Plane{} }

// Close ends what the plane runs. Later packets are dropped.
func (p *Plane) Close() {}

// AddEthernet adds an interface whose packets are Ethernet frames. tx sends one
// frame out of the device; it must not block and may drop.
func (p *Plane) AddEthernet(_ uint32, _ net.HardwareAddr, _ func(pkt []byte)) {}

// AddIP adds an interface whose packets are bare IP packets.
func (p *Plane) AddIP(_ uint32, _ func(pkt []byte)) {}

// AddLoopback adds an interface that holds addresses and sends nothing.
func (p *Plane) AddLoopback(_ uint32, _ net.HardwareAddr) {}

// AddSubInterface adds a dot1q exact-match sub-interface of parent.
func (p *Plane) AddSubInterface(_, _ uint32, _ uint16) {}

// Remove takes an interface away, with its addresses, neighbours and place in a
// bridge. Routes through it lead nowhere from then on.
func (p *Plane) Remove(_ uint32) {}

// Input gives the plane a packet that came in from the device. It does not
// keep pkt.
func (p *Plane) Input(_ uint32, _ []byte) {}

// SetAdminUp sets the administrative state; interfaces start down.
func (p *Plane) SetAdminUp(_ uint32, _ bool) {}

// SetLinkUp sets the link state; interfaces start down, loopbacks and
// sub-interfaces up (those follow their parent).
func (p *Plane) SetLinkUp(_ uint32, _ bool) {}

// SetMAC sets the interface's own address.
func (p *Plane) SetMAC(_ uint32, _ net.HardwareAddr) {}

// SetMTU limits L3 packets sent, in bytes of IP packet; 0 is no limit.
func (p *Plane) SetMTU(_ uint32, _ uint32) {}

// SetTagRewrite takes the values of l2_interface_vlan_tag_rewrite. Disabled (0)
// and pop-1 (3) move packets, with any other the interface drops.
func (p *Plane) SetTagRewrite(_ uint32, _ uint32, _ uint32) {}

// SetBridge puts the interface into a bridge domain, 0 takes it out. Members of
// one split-horizon group other than 0 get nothing from each other.
func (p *Plane) SetBridge(_, _ uint32, _ uint8) {}

// SetTable binds the interface to a table.
func (p *Plane) SetTable(_ uint32, _ uint32, _ bool) {}

// SetUnnumbered lets idx borrow the addresses of loopback.
func (p *Plane) SetUnnumbered(_ uint32, _ uint32, _ bool) {}

// SetIP6Enabled turns IPv6 on without an address, with a link-local one.
func (p *Plane) SetIP6Enabled(_ uint32, _ bool) {}

// AddAddress gives the interface an address and its connected route.
func (p *Plane) AddAddress(_ uint32, _ netip.Prefix) {}

// DelAddress takes an address away.
func (p *Plane) DelAddress(_ uint32, _ netip.Prefix) {}

// SetRoute replaces the paths of a route; none deletes it.
func (p *Plane) SetRoute(_ uint32, _ netip.Prefix, _ []Path) {}

// SetNeighbor sets a static neighbour; a nil mac deletes it.
func (p *Plane) SetNeighbor(_ uint32, _ netip.Addr, _ net.HardwareAddr) {}

// Neighbors are the learned and static neighbours of an interface.
func (p *Plane) Neighbors(_ uint32) map[netip.Addr]net.HardwareAddr { return nil }

// Counters are the interface's counters so far; zero for an unknown one.
func (p *Plane) Counters(_ uint32) Counters { return Counters{} }

// Ping sends repeat echo requests and counts the answers that came within
// interval each.
func (p *Plane) Ping(_ context.Context, _ netip.Addr, _ uint32, _ int, _ time.Duration) (sent, replies int) {
	return 0, 0
}
