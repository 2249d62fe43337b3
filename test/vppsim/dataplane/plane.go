// Package dataplane forwards packets between the interfaces of one simulated
// VPP: bridges, VLANs, ARP, neighbour discovery, ICMP and routing tables. It
// knows neither VPP's API nor how packets enter or leave a device; packages
// vppsim and memif do.
//
// It follows VPP 25.10 where a ping can tell the difference: which ARP requests
// are answered, from whom a neighbour is learned, that the packet which finds
// no neighbour is lost. Left out are fragmentation (too large a packet is
// dropped and counted, with an ICMP error where VPP sends one), a bridge's
// virtual interface, ageing by time, router advertisements and IPv6 extension
// headers.
package dataplane

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// NoInterface is VPP's ~0: no sw_if_index.
const NoInterface = ^uint32(0)

// Plane forwards packets between the interfaces of one simulated VPP. It is
// safe for concurrent use. Packets leave after its lock is given back, so a tx
// function may call back into this plane or another.
type Plane struct {
	mu       sync.Mutex
	closed   bool
	ports    map[uint32]*port
	bridges  map[uint32]*bridge
	tables   map[tableKey]*table
	pings    map[uint16]*pinger
	throttle map[throttleKey]time.Time
	out      []outgoing
}

// outgoing is a packet that waits for the lock to be given back.
type outgoing struct {
	tx  func(pkt []byte)
	pkt []byte
}

// New makes a plane without interfaces.
func New() *Plane {
	return &Plane{
		ports:    map[uint32]*port{},
		bridges:  map[uint32]*bridge{},
		tables:   map[tableKey]*table{},
		pings:    map[uint16]*pinger{},
		throttle: map[throttleKey]time.Time{},
	}
}

// Close drops all packets from now on and ends running pings.
func (p *Plane) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for id, w := range p.pings {
		close(w.closed)
		delete(p.pings, id)
	}
}

// Input gives the plane a packet that came in from the device. It does not
// keep pkt.
func (p *Plane) Input(idx uint32, pkt []byte) {
	p.mu.Lock()
	if in := p.ports[idx]; in != nil && !p.closed {
		// One copy for all: what follows rewrites headers in place.
		p.receive(in, append([]byte(nil), pkt...))
	}
	p.unlockAndSend()
}

// unlockAndSend gives the lock back and sends what gathered under it.
func (p *Plane) unlockAndSend() {
	out := p.out
	p.out = nil
	p.mu.Unlock()
	for _, o := range out {
		o.tx(o.pkt)
	}
}

// transmit queues a finished packet on a port's device.
func (p *Plane) transmit(out *port, pkt []byte) {
	dev := out
	if out.parent != nil {
		dev = out.parent
		out.sent(pkt)
	}
	dev.sent(pkt)
	if dev.tx != nil {
		p.out = append(p.out, outgoing{dev.tx, pkt})
	}
}

func (p *Plane) receive(in *port, pkt []byte) {
	in.received(pkt)
	if !in.up() {
		in.drop("interface down")
		return
	}
	switch in.kind {
	case kindEthernet:
		p.ethernetInput(in, pkt)
	case kindIP:
		p.bareInput(in, pkt)
	case kindLoopback, kindSub:
		in.drop("no device")
	}
}

// bareInput tells IPv4 from IPv6 by the first four bits.
func (p *Plane) bareInput(in *port, pkt []byte) {
	switch {
	case len(pkt) > 0 && pkt[0]>>4 == 4:
		p.ip4Input(in, pkt)
	case len(pkt) > 0 && pkt[0]>>4 == 6:
		p.ip6Input(in, pkt, nil)
	default:
		in.drop("neither IPv4 nor IPv6")
	}
}

// throttleKey is what VPP limits the rate of.
type throttleKey struct {
	what string
	port uint32
	addr netip.Addr
}

// The intervals of VPP's throttles: ip4_neighbor.c, ip6_neighbor.c and icmp6.c
// say 1 ms, icmp4.c 10 µs.
const (
	neighborThrottle = time.Millisecond
	icmp4Throttle    = 10 * time.Microsecond
	icmp6Throttle    = time.Millisecond
	maxThrottled     = 4096
)

// throttled says whether the same was done within interval before.
func (p *Plane) throttled(k throttleKey, interval time.Duration) bool {
	now := time.Now()
	if last, ok := p.throttle[k]; ok && now.Sub(last) < interval {
		return true
	}
	if len(p.throttle) >= maxThrottled {
		clear(p.throttle)
	}
	p.throttle[k] = now
	return false
}

// Counters are the interface's counters so far; zero for an unknown one.
func (p *Plane) Counters(idx uint32) Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	pt := p.ports[idx]
	if pt == nil {
		return Counters{}
	}
	c := pt.counters
	c.Reasons = make(map[string]uint64, len(pt.counters.Reasons))
	for r, n := range pt.counters.Reasons {
		c.Reasons[r] = n
	}
	return c
}

// Neighbors are the learned and static neighbours of an interface.
func (p *Plane) Neighbors(idx uint32) map[netip.Addr]net.HardwareAddr {
	p.mu.Lock()
	defer p.mu.Unlock()
	pt := p.ports[idx]
	if pt == nil {
		return nil
	}
	all := make(map[netip.Addr]net.HardwareAddr, len(pt.neighbors))
	for addr, n := range pt.neighbors {
		all[addr] = net.HardwareAddr(n.mac[:])
	}
	return all
}
