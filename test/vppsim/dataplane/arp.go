package dataplane

import (
	"net/netip"
	"slices"
)

const (
	arpLength  = 28
	arpRequest = 1
	arpReply   = 2
)

// arpPacket is an ARP packet for IPv4 over Ethernet (RFC 826).
type arpPacket struct {
	op        uint16
	senderMAC macAddr
	senderIP  netip.Addr
	targetMAC macAddr
	targetIP  netip.Addr
}

func parseARP(b []byte) (arpPacket, bool) {
	if len(b) < arpLength || be.Uint16(b) != 1 || be.Uint16(b[2:]) != typeIP4 || b[4] != 6 || b[5] != 4 {
		return arpPacket{}, false
	}
	return arpPacket{
		op:        be.Uint16(b[6:]),
		senderMAC: macAddr(b[8:14]),
		senderIP:  netip.AddrFrom4([4]byte(b[14:18])),
		targetMAC: macAddr(b[18:24]),
		targetIP:  netip.AddrFrom4([4]byte(b[24:28])),
	}, true
}

func (a arpPacket) encode() []byte {
	b := make([]byte, 0, arpLength)
	b = append(b, 0, 1, typeIP4>>8, typeIP4&0xff, 6, 4)
	b = be.AppendUint16(b, a.op)
	b = append(b, a.senderMAC[:]...)
	b = append(b, a.senderIP.AsSlice()...)
	b = append(b, a.targetMAC[:]...)
	return append(b, a.targetIP.AsSlice()...)
}

// arpInput follows arp_reply of vnet/arp/arp.c, with its order of checks.
func (p *Plane) arpInput(in *port, pkt []byte, from macAddr) {
	a, ok := parseARP(pkt)
	switch {
	case !ok || a.senderIP.IsUnspecified():
		in.drop("ARP malformed")
		return
	case !in.takes(false):
		in.drop("ARP disabled")
		return
	}
	k := in.table(false)
	target := p.lookup(k, a.targetIP)
	at, reason := p.arpSource(in, k, a.senderIP, target.port())
	if reason != "" {
		in.drop(reason)
		return
	}
	isLocal := target != nil && len(target.local) > 0
	if _, known := in.neighbors[a.targetIP]; known && !isLocal {
		if a.senderIP == a.targetIP {
			in.learn(a.senderIP, a.senderMAC) // gratuitous, from a host we know
		}
		return
	}
	switch {
	case !isLocal:
		in.drop("ARP target not ours")
	case a.senderMAC != from:
		in.drop("ARP and Ethernet address differ")
	case a.op == arpReply:
		in.learn(a.senderIP, a.senderMAC)
	case a.op != arpRequest:
		in.drop("ARP operation unknown")
	case !p.arpMayAnswer(in, at, target):
		in.drop("ARP unnumbered mismatch")
	default:
		in.learn(a.senderIP, a.senderMAC)
		mac := in.hardware()
		p.sendFrame(in, a.senderMAC, typeARP, arpPacket{
			op: arpReply, senderMAC: mac, senderIP: a.targetIP, targetMAC: a.senderMAC, targetIP: a.senderIP,
		}.encode())
	}
}

// arpSource checks that the sender is attached, by any route that has it, and
// says through which interface. Else there is a reason to drop.
func (p *Plane) arpSource(in *port, k tableKey, addr netip.Addr, target *port) (at *port, reason string) {
	for bits := 32; bits >= 0; bits-- {
		var e *entry
		if e, bits = p.tables[k].find(addr, bits); e == nil {
			break
		}
		if len(e.local) > 0 {
			return nil, "ARP source is ours"
		}
		if e.attached() {
			if slices.Contains(e.connected, in) {
				return in, ""
			}
			return e.port(), ""
		}
	}
	if target != nil && in.unnumbered(target) {
		return nil, ""
	}
	return nil, "ARP source not attached"
}

// arpMayAnswer says whether both ends of the question live on this interface,
// or it borrows the address asked for.
func (p *Plane) arpMayAnswer(in, source *port, target *entry) bool {
	if slices.Contains(target.local, in) && source == in {
		return true
	}
	return slices.ContainsFunc(target.local, in.unnumbered)
}

// arpResolve asks for a neighbour. The packet that needs it is lost.
func (p *Plane) arpResolve(out *port, addr netip.Addr) (reason string) {
	src := out.source(addr)
	switch {
	case !src.IsValid():
		return "no source address for ARP"
	case p.throttled(throttleKey{"arp", out.idx, addr}, neighborThrottle):
		return "ARP throttled"
	}
	mac := out.hardware()
	p.sendFrame(out, broadcastMAC, typeARP, arpPacket{
		op: arpRequest, senderMAC: mac, senderIP: src, targetIP: addr,
	}.encode())
	return "ARP request sent"
}
