package traffic

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultRate = 1000
	// tick is how often the sender looks what is due.
	tick = time.Millisecond
	// maxBurst is how many packets may be due at once: a sender that did not
	// run for a while leaves packets out instead of flooding a ring.
	maxBurst = 100
	// settle is how long after the last arrival packets are still waited for.
	settle = time.Second
)

// Options of a stream; zero values are the defaults.
type Options struct {
	// Rate is packets a second, 1000 by default.
	Rate int
	// IPv6 instead of IPv4.
	IPv6 bool
	// Size is the UDP payload in bytes, 24 at least and by default.
	Size int
}

// Stream is a stream of packets that runs until Stop.
type Stream struct {
	id       uint32
	from, to *End
	src, dst netip.Addr
	nextHop  netip.Addr
	opts     Options

	stop chan struct{}
	done chan struct{}

	mu sync.Mutex
	tally
}

var lastID atomic.Uint32

// Start begins a stream once packets cross: both ends connected, the next hop
// found and a first packet arrived. What is sent before that is not counted.
func Start(ctx context.Context, from, to *End, opts Options) (*Stream, error) {
	if opts.Rate == 0 {
		opts.Rate = defaultRate
	}
	src, okSrc := from.address(opts.IPv6)
	dst, okDst := to.address(opts.IPv6)
	if !okSrc || !okDst {
		return nil, fmt.Errorf("stream from %s to %s: no address of the family on both", from.Name, to.Name)
	}
	s := &Stream{
		id: lastID.Add(1), from: from, to: to, src: src.Addr(), dst: dst.Addr(), opts: opts,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	var err error
	if s.nextHop, err = from.nextHop(s.dst); err != nil {
		return nil, err
	}
	to.mu.Lock()
	to.sinks[s.id] = s
	to.mu.Unlock()
	if err := s.begin(ctx); err != nil {
		s.leave()
		return nil, fmt.Errorf("stream from %s to %s: %w", from.Name, to.Name, err)
	}
	go s.run()
	return s, nil
}

// begin waits until packets cross.
func (s *Stream) begin(ctx context.Context) error {
	for _, e := range []*End{s.from, s.to} {
		if err := e.WaitConnected(ctx); err != nil {
			return err
		}
	}
	if err := s.from.resolve(ctx, s.nextHop); err != nil {
		return err
	}
	for {
		s.send(number{stream: s.id, seq: probe})
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("nothing arrives: %w", err)
		}
		if s.started() {
			return nil
		}
	}
}

func (s *Stream) send(n number) bool {
	mac, _ := s.from.neighbor(s.nextHop)
	kind := uint16(typeIP4)
	if s.dst.Is6() {
		kind = typeIP6
	}
	return s.from.ifc.Send(s.from.frame(mac, kind, udp(s.src, s.dst, n, s.opts.Size)))
}

// run sends what is due until Stop.
func (s *Stream) run() {
	defer close(s.done)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	base, sent := time.Duration(0), 0 // of the schedule
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		now := s.now()
		due := int((now-base).Seconds()*float64(s.opts.Rate)) - sent
		if due > maxBurst {
			base, sent, due = now, 0, maxBurst
			sent -= due
		}
		for ; due > 0; due-- {
			sent++
			seq, at := s.next()
			if !s.send(number{stream: s.id, seq: seq, sentAt: int64(at)}) {
				s.refuse()
			}
		}
	}
}

// Stop ends the stream, waits for what is still on its way, and reports.
func (s *Stream) Stop() Report {
	close(s.stop)
	<-s.done
	s.finish()
	last := time.Now()
	for received := s.arrivals(); ; {
		r := s.report(0)
		if r.Lost == 0 || time.Since(last) > settle {
			s.leave()
			return r
		}
		time.Sleep(5 * time.Millisecond)
		if now := s.arrivals(); now != received {
			received, last = now, time.Now()
		}
	}
}

// Report is how the stream stands. What may still be on its way is left out: what
// was sent within the last second and after the newest packet that has arrived.
func (s *Stream) Report() Report { return s.report(settle) }

// WaitArrival waits for a packet that is sent from now on.
func (s *Stream) WaitArrival(ctx context.Context) error {
	s.mu.Lock()
	from := uint64(len(s.sentAt))
	s.mu.Unlock()
	for {
		s.mu.Lock()
		arrived := s.newest >= from && s.received > 0
		s.mu.Unlock()
		if arrived {
			return nil
		}
		if err := pause(ctx, tick); err != nil {
			return fmt.Errorf("stream from %s to %s: nothing arrives: %w", s.from.Name, s.to.Name, err)
		}
	}
}

func (s *Stream) leave() {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	delete(s.to.sinks, s.id)
}

// receive is what the memif gives us, in its goroutine.
func (e *End) receive(b []byte) {
	kind, packet, ok := e.unframe(b)
	if !ok {
		return
	}
	if kind == typeARP {
		e.arpInput(packet)
		return
	}
	dst, n, ok := parseUDP(kind, packet)
	if !ok {
		if kind == typeIP6 {
			e.ndInput(packet)
		}
		return
	}
	e.mu.Lock()
	s := e.sinks[n.stream]
	e.mu.Unlock()
	if s != nil && dst == s.dst {
		s.arrived(n)
	}
}
