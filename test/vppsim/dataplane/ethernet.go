package dataplane

import "encoding/binary"

const (
	etherHeader = 14
	vlanHeader  = 4
	typeIP4     = 0x0800
	typeARP     = 0x0806
	typeVLAN    = 0x8100
	typeIP6     = 0x86dd
	vlanMask    = 0x0fff
)

var be = binary.BigEndian

func etherType(frame []byte) uint16 { return be.Uint16(frame[12:]) }

func destination(frame []byte) macAddr { return macAddr(frame[0:6]) }
func sender(frame []byte) macAddr      { return macAddr(frame[6:12]) }

func tagged(frame []byte) bool {
	return len(frame) >= etherHeader+vlanHeader && etherType(frame) == typeVLAN
}

// ethernetInput finds the interface that a frame is for, and gives it to the
// bridge or to L3.
func (p *Plane) ethernetInput(in *port, frame []byte) {
	if len(frame) < etherHeader {
		in.drop("short frame")
		return
	}
	to := p.classify(in, frame)
	if to == nil {
		in.drop("unknown VLAN")
		return
	}
	if to != in {
		to.received(frame)
		if !to.up() {
			to.drop("interface down")
			return
		}
	}
	if to.bridge != nil {
		p.bridgeInput(to, frame)
		return
	}
	p.l3Input(to, frame)
}

// classify is eth_identify_subint for untagged and exact-match sub-interfaces.
// A bridged port takes what no sub-interface does.
func (p *Plane) classify(in *port, frame []byte) *port {
	if !tagged(frame) {
		return in
	}
	vlan := be.Uint16(frame[14:]) & vlanMask
	double := be.Uint16(frame[16:]) == typeVLAN
	if sub := in.subs[vlan]; sub != nil && !double {
		return sub
	}
	if in.bridge != nil || vlan == 0 && !double {
		return in
	}
	return nil
}

func (p *Plane) l3Input(in *port, frame []byte) {
	if dst := destination(frame); dst != in.hardware() && !dst.multicast() {
		in.drop("L3 MAC mismatch")
		return
	}
	src := sender(frame)
	if tagged(frame) {
		frame = frame[vlanHeader:] // only what is behind it matters now
	}
	pkt := frame[etherHeader:]
	switch etherType(frame) {
	case typeARP:
		p.arpInput(in, pkt, src)
	case typeIP4:
		p.ip4Input(in, pkt)
	case typeIP6:
		p.ip6Input(in, pkt, &src)
	default:
		in.drop("unknown ethertype")
	}
}

// sendFrame puts an Ethernet header, with its tag for a sub-interface, before
// a packet and sends it.
func (p *Plane) sendFrame(out *port, dst macAddr, kind uint16, pkt []byte) {
	src := out.hardware()
	frame := make([]byte, 0, etherHeader+vlanHeader+len(pkt))
	frame = append(frame, dst[:]...)
	frame = append(frame, src[:]...)
	if out.kind == kindSub {
		frame = be.AppendUint16(frame, typeVLAN)
		frame = be.AppendUint16(frame, out.vlan)
	}
	frame = be.AppendUint16(frame, kind)
	p.transmit(out, append(frame, pkt...))
}
