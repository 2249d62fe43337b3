package dataplane

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"
)

// pingData is how many bytes an echo request carries: PING_DEFAULT_DATA_LEN of
// VPP's ping plugin.
const pingData = 60

// pinger waits for the answers to one Ping.
type pinger struct {
	answers chan uint16   // sequence numbers
	closed  chan struct{} // the plane ended
}

// Ping sends repeat ICMP(v6) echo requests from this VPP and returns how many
// it could send and how many were answered within interval each; the next one
// goes as soon as the last was answered. The source is the best address of the
// interface that leads to dst, or of interface src if that is not NoInterface;
// the table is then that interface's, else 0. As in VPP the first request to an
// unknown neighbour is lost.
func (p *Plane) Ping(ctx context.Context, dst netip.Addr, src uint32, repeat int, interval time.Duration) (sent, replies int) {
	w := &pinger{answers: make(chan uint16, 8), closed: make(chan struct{})}
	id, ok := p.startPing(w)
	if !ok {
		return 0, 0
	}
	defer p.endPing(id)
	for seq := range repeat {
		if ctx.Err() != nil {
			break
		}
		if !p.sendEcho(dst, src, id, uint16(seq+1)) { // sequence numbers wrap
			continue
		}
		sent++
		if w.wait(ctx, uint16(seq+1), interval) { // as above
			replies++
		}
	}
	return sent, replies
}

func (p *Plane) startPing(w *pinger) (id uint16, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.pings) >= 1<<15 {
		return 0, false
	}
	for ok = true; ok; {
		id = uint16(rand.Uint32()) // an identifier, not a secret
		_, ok = p.pings[id]
	}
	p.pings[id] = w
	return id, true
}

func (p *Plane) endPing(id uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pings, id)
}

func (w *pinger) wait(ctx context.Context, seq uint16, interval time.Duration) bool {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case got := <-w.answers:
			if got == seq {
				return true
			}
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		case <-w.closed:
			return false
		}
	}
}

// pong gives an echo reply to the Ping that waits for it.
func (p *Plane) pong(in *port, id, seq uint16) {
	w := p.pings[id]
	if w == nil {
		in.drop("echo reply that nobody waits for")
		return
	}
	select {
	case w.answers <- seq:
	default:
		in.drop("too many echo replies")
	}
}

// sendEcho sends one echo request, if there is a way and an address for it.
func (p *Plane) sendEcho(dst netip.Addr, src uint32, id, seq uint16) bool {
	p.mu.Lock()
	defer p.unlockAndSend()
	if p.closed {
		return false
	}
	var own *port
	if src != NoInterface {
		if own = p.ports[src]; own == nil {
			return false
		}
	}
	k := tableKey{0, dst.Is6()}
	if own != nil {
		k = own.table(dst.Is6())
	}
	linkLocal := dst.Is6() && dst.IsLinkLocalUnicast()
	w := way{port: own, nextHop: dst}
	if !linkLocal {
		w = p.resolve(k, dst, 0)
	}
	if w.port == nil {
		return false
	}
	from := echoSource(w, own, dst)
	if !from.IsValid() {
		return false
	}
	if dst.Is4() {
		p.ip4Forward(nil, k, newIP4(from, dst, protoICMP4, echo(icmp4Echo, id, seq)))
		return true
	}
	pkt := newICMP6(from, dst, localTTL, echo(icmp6Echo, id, seq))
	if linkLocal {
		p.ipOutput(nil, w, pkt)
	} else {
		p.ip6Forward(nil, k, pkt)
	}
	return true
}

func echoSource(w way, own *port, dst netip.Addr) netip.Addr {
	switch {
	case w.local:
		return dst
	case own == nil:
		own = w.port
	}
	if dst.Is6() && dst.IsLinkLocalUnicast() {
		if !own.link6() {
			return netip.Addr{}
		}
		return own.linkLocal()
	}
	return own.source(dst)
}

func echo(kind byte, id, seq uint16) []byte {
	msg := make([]byte, icmpHeader+pingData)
	msg[0] = kind
	be.PutUint16(msg[4:], id)
	be.PutUint16(msg[6:], seq)
	for i := range pingData {
		msg[icmpHeader+i] = byte(i)
	}
	if kind == icmp4Echo {
		be.PutUint16(msg[2:], checksum(msg))
	}
	return msg
}
