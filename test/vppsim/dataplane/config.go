package dataplane

import (
	"net"
	"net/netip"
	"slices"
)

// AddEthernet adds an interface whose packets are Ethernet frames. tx sends one
// frame out of the device; it must not block, change or keep the frame, and may
// drop it.
func (p *Plane) AddEthernet(idx uint32, mac net.HardwareAddr, tx func(pkt []byte)) {
	p.add(&port{idx: idx, kind: kindEthernet, mac: toMAC(mac), tx: tx})
}

// AddIP adds an interface whose packets are bare IP packets.
func (p *Plane) AddIP(idx uint32, tx func(pkt []byte)) {
	p.add(&port{idx: idx, kind: kindIP, tx: tx})
}

// AddLoopback adds an interface that holds addresses and sends nothing.
func (p *Plane) AddLoopback(idx uint32, mac net.HardwareAddr) {
	p.add(&port{idx: idx, kind: kindLoopback, mac: toMAC(mac), linkUp: true})
}

// AddSubInterface adds a dot1q exact-match sub-interface of parent, which must
// be there. Its link is up as long as the parent is.
func (p *Plane) AddSubInterface(idx, parent uint32, vlan uint16) {
	p.with(parent, func(of *port) {
		sub := &port{idx: idx, kind: kindSub, parent: of, vlan: vlan, linkUp: true}
		if of.subs == nil {
			of.subs = map[uint16]*port{}
		}
		p.insert(sub)
		of.subs[vlan] = sub
	})
}

func toMAC(hw net.HardwareAddr) (m macAddr) {
	copy(m[:], hw)
	return m
}

func (p *Plane) add(pt *port) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.insert(pt)
}

// insert adds a port in the place of one that may still have its index.
func (p *Plane) insert(pt *port) {
	if old := p.ports[pt.idx]; old != nil {
		p.remove(old)
	}
	p.ports[pt.idx] = pt
}

// with runs f on a port under the lock, if there is one.
func (p *Plane) with(idx uint32, f func(pt *port)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pt := p.ports[idx]; pt != nil {
		f(pt)
	}
}

// Remove takes an interface away, with its sub-interfaces, addresses,
// neighbours and place in a bridge. Routes through it lead nowhere from then
// on, also when the index is used again.
func (p *Plane) Remove(idx uint32) { p.with(idx, p.remove) }

func (p *Plane) remove(pt *port) {
	for _, sub := range pt.subs {
		p.remove(sub)
	}
	p.leaveBridge(pt)
	for _, a := range pt.addrs {
		p.unroute(pt, a)
	}
	if pt.parent != nil {
		delete(pt.parent.subs, pt.vlan)
	}
	pt.removed = true
	delete(p.ports, pt.idx)
}

// SetAdminUp sets the administrative state; interfaces start down.
func (p *Plane) SetAdminUp(idx uint32, up bool) {
	p.with(idx, func(pt *port) { pt.adminUp = up })
}

// SetLinkUp sets the link state; interfaces start down, loopbacks and
// sub-interfaces up. What was learned on a link goes with it.
func (p *Plane) SetLinkUp(idx uint32, up bool) {
	p.with(idx, func(pt *port) {
		pt.linkUp = up
		if !up {
			pt.forgetLearned()
		}
	})
}

func (pt *port) forgetLearned() {
	for addr, n := range pt.neighbors {
		if !n.static {
			delete(pt.neighbors, addr)
		}
	}
	for _, sub := range pt.subs {
		sub.forgetLearned()
	}
}

// SetMAC sets the interface's own address.
func (p *Plane) SetMAC(idx uint32, mac net.HardwareAddr) {
	p.with(idx, func(pt *port) { pt.mac = toMAC(mac) })
}

// SetMTU limits L3 packets sent, in bytes of IP packet; 0 is no limit of its
// own, for a sub-interface its parent's.
func (p *Plane) SetMTU(idx uint32, l3MTU uint32) {
	p.with(idx, func(pt *port) { pt.mtu = l3MTU })
}

// SetTagRewrite takes the values of l2_interface_vlan_tag_rewrite. Disabled (0)
// and pop-1 (3) move packets; with any other the interface drops what comes in
// and goes out at L2.
func (p *Plane) SetTagRewrite(idx uint32, op uint32, _ uint32) {
	p.with(idx, func(pt *port) { pt.rewrite = op })
}

// SetBridge puts the interface into a bridge domain, 0 takes it out. Members of
// one split-horizon group other than 0 get nothing from each other.
func (p *Plane) SetBridge(idx, bdID uint32, shg uint8) {
	p.with(idx, func(pt *port) {
		p.leaveBridge(pt)
		if bdID != 0 {
			p.joinBridge(pt, bdID, shg)
		}
	})
}

// SetTable binds the interface to a table, its addresses with it.
func (p *Plane) SetTable(idx uint32, table uint32, ipv6 bool) {
	p.with(idx, func(pt *port) {
		for _, a := range pt.addrs {
			p.unroute(pt, a)
		}
		if ipv6 {
			pt.table6 = table
		} else {
			pt.table4 = table
		}
		for _, a := range pt.addrs {
			p.route(pt, a)
		}
	})
}

// SetUnnumbered lets idx borrow the addresses of loopback, or ends that.
func (p *Plane) SetUnnumbered(idx uint32, loopback uint32, enable bool) {
	p.with(idx, func(pt *port) {
		pt.lender = nil
		if enable {
			pt.lender = p.ports[loopback]
		}
	})
}

// SetIP6Enabled turns IPv6 on without an address, with a link-local one.
func (p *Plane) SetIP6Enabled(idx uint32, on bool) {
	p.with(idx, func(pt *port) { pt.ip6 = on })
}

// AddAddress gives the interface an address and its connected route. The same
// address again changes nothing.
func (p *Plane) AddAddress(idx uint32, prefix netip.Prefix) {
	p.with(idx, func(pt *port) {
		if !prefix.IsValid() || slices.Contains(pt.addrs, prefix) {
			return
		}
		pt.addrs = append(pt.addrs, prefix)
		p.route(pt, prefix)
	})
}

// DelAddress takes an address away, and the neighbours learned by it.
func (p *Plane) DelAddress(idx uint32, prefix netip.Prefix) {
	p.with(idx, func(pt *port) {
		n := slices.Index(pt.addrs, prefix)
		if n < 0 {
			return
		}
		pt.addrs = slices.Delete(pt.addrs, n, n+1)
		p.unroute(pt, prefix)
		for addr, nb := range pt.neighbors {
			if !nb.static && prefix.Contains(addr) {
				delete(pt.neighbors, addr)
			}
		}
	})
}

// SetNeighbor sets a static neighbour; a nil mac deletes it, a learned one too.
func (p *Plane) SetNeighbor(idx uint32, addr netip.Addr, mac net.HardwareAddr) {
	p.with(idx, func(pt *port) {
		if mac == nil {
			delete(pt.neighbors, addr)
			return
		}
		if pt.neighbors == nil {
			pt.neighbors = map[netip.Addr]neighbor{}
		}
		pt.neighbors[addr] = neighbor{mac: toMAC(mac), static: true}
	})
}
