package dataplane

import "slices"

// maxLearned bounds a bridge domain's MAC table.
const maxLearned = 1 << 16

// bridge is one bridge domain.
type bridge struct {
	id      uint32
	members []*port
	learned map[macAddr]*port
}

func (p *Plane) joinBridge(pt *port, id uint32, shg uint8) {
	b := p.bridges[id]
	if b == nil {
		b = &bridge{id: id, learned: map[macAddr]*port{}}
		p.bridges[id] = b
	}
	b.members = append(b.members, pt)
	pt.bridge, pt.shg = b, shg
}

// leaveBridge forgets also what was learned behind the port.
func (p *Plane) leaveBridge(pt *port) {
	b := pt.bridge
	if b == nil {
		return
	}
	pt.bridge, pt.shg = nil, 0
	if n := slices.Index(b.members, pt); n >= 0 {
		b.members = slices.Delete(b.members, n, n+1)
	}
	for mac, at := range b.learned {
		if at == pt {
			delete(b.learned, mac)
		}
	}
	if len(b.members) == 0 {
		delete(p.bridges, b.id)
	}
}

// bridgeInput learns the sender and forwards or floods.
func (p *Plane) bridgeInput(in *port, frame []byte) {
	switch in.rewrite {
	case rewriteDisabled:
	case rewritePop1:
		if !tagged(frame) {
			in.drop("no tag to pop")
			return
		}
		frame = popTag(frame)
	default:
		in.drop("tag rewrite not modelled")
		return
	}
	b := in.bridge
	src, dst := sender(frame), destination(frame)
	if _, known := b.learned[src]; !src.multicast() && (known || len(b.learned) < maxLearned) {
		b.learned[src] = in
	}
	if out := b.learned[dst]; out != nil && !dst.multicast() {
		switch {
		case out == in:
			in.drop("L2 reflection")
		case in.shg != 0 && in.shg == out.shg:
			in.drop("split horizon")
		default:
			p.bridgeOutput(out, frame)
		}
		return
	}
	for _, out := range b.members {
		if out != in && (in.shg == 0 || in.shg != out.shg) {
			p.bridgeOutput(out, frame)
		}
	}
}

// bridgeOutput undoes on the way out what the tag rewrite does on the way in.
func (p *Plane) bridgeOutput(out *port, frame []byte) {
	switch {
	case !out.up():
		out.drop("interface down")
		return
	case out.kind == kindLoopback || out.kind == kindIP:
		out.drop("not an Ethernet port")
		return
	case out.rewrite == rewritePop1 && out.kind == kindSub:
		frame = pushTag(frame, out.vlan)
	case out.rewrite != rewriteDisabled && out.rewrite != rewritePop1:
		out.drop("tag rewrite not modelled")
		return
	}
	p.transmit(out, frame)
}

func popTag(frame []byte) []byte {
	popped := make([]byte, 0, len(frame)-vlanHeader)
	popped = append(popped, frame[:12]...)
	return append(popped, frame[12+vlanHeader:]...)
}

func pushTag(frame []byte, vlan uint16) []byte {
	pushed := make([]byte, 0, len(frame)+vlanHeader)
	pushed = append(pushed, frame[:12]...)
	pushed = be.AppendUint16(pushed, typeVLAN)
	pushed = be.AppendUint16(pushed, vlan)
	return append(pushed, frame[12:]...)
}
