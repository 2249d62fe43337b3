package vpp

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/memclnt"
)

// How often VPP is pinged, beside which the end of the connection is told at
// once.
const (
	probeBusy = 250 * time.Millisecond
	// probeIdle is how many busy intervals pass between pings while no call is
	// under way, and between pings that are not answered.
	probeIdle = 4
	// maxUnanswered pings are written to a VPP that does not answer before the
	// connection is given up; so many fit into the socket's buffer.
	maxUnanswered = 128
)

// probe is the pings of one session and their answers.
type probe struct {
	stream   api.Stream
	sent     int64
	answered atomic.Int64
	since    time.Time // when all pings were answered last
}

// watch pings VPP until the session ends. A connection that breaks ends it; a
// VPP that only hangs does not: a client that goes away without a word brings
// VPP 25.10 nearer to hanging for good (VPP-FACTS.md).
func (v *VPP) watch(s *session) {
	stream, err := s.conn.NewStream(s.ctx)
	if err != nil {
		s.cancel(err)
		return
	}
	p := &probe{stream: stream, since: time.Now()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			// An error that is not the session's end is one about the answer's
			// type; it is an answer nevertheless.
			if _, err := stream.RecvMsg(); err != nil && s.ctx.Err() != nil {
				return
			}
			p.answered.Add(1)
		}
	}()
	tick := time.NewTicker(probeBusy)
	defer tick.Stop()
	for n := 0; s.ctx.Err() == nil; n++ {
		select {
		case <-s.ctx.Done():
		case <-s.wire.gone:
			s.cancel(s.wire.why)
		case <-tick.C:
			v.beat(s, p, n)
		}
	}
	<-done
}

// beat looks at the answers so far and pings again.
func (v *VPP) beat(s *session, p *probe, n int) {
	if s.pinging.Load() {
		p.since = time.Now()
		return
	}
	open := p.sent - p.answered.Load()
	if open == 0 {
		p.since = time.Now()
	}
	silence := time.Since(p.since).Round(100 * time.Millisecond)
	switch {
	case open > maxUnanswered:
		s.cancel(fmt.Errorf("no answer for %v", silence))
		return
	case silence > s.timeout:
		v.setMute(s, fmt.Errorf("%w: it has not answered for %v", ErrDown, silence))
	case open == 0:
		v.setMute(s, nil)
	}
	if n%probeIdle != 0 && (s.busy.Load() == 0 || open > probeIdle) {
		return
	}
	p.ping(s)
}

// ping ends the session where nobody reads it any more.
func (p *probe) ping(s *session) {
	if err := p.stream.SendMsg(&memclnt.ControlPing{}); err != nil {
		s.cancel(fmt.Errorf("connection lost: %w", err))
		return
	}
	p.sent++
}

// setMute says that VPP does not answer, or that it does again. What was under
// way meanwhile may have been done or not, so nothing that was known is kept.
func (v *VPP) setMute(s *session, err error) {
	was := s.mute.Load()
	if err == nil {
		if was == nil {
			return
		}
		v.index.clear()
		s.mute.Store(nil)
		epoch := v.setInfo(Info{Connected: true, PID: s.pid, Version: s.version})
		v.log.WithField("pid", s.pid).Info("VPP answers again")
		v.events.put(Event{Kind: EventConnected, PID: s.pid, Version: s.version, Epoch: epoch})
		return
	}
	s.mute.Store(&err)
	v.setInfo(Info{PID: s.pid, Version: s.version, Err: err})
	if was == nil {
		v.log.WithFields(logrus.Fields{"pid": s.pid, "err": err}).Warn("VPP does not answer")
		v.events.put(Event{Kind: EventDisconnected, PID: s.pid, Err: err})
	}
}

// setInfo begins another epoch.
func (v *VPP) setInfo(info Info) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	info.Epoch = v.info.Epoch + 1
	v.info = info
	return info.Epoch
}
