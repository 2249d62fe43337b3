package traffic

import (
	"fmt"
	"strings"
	"time"
)

// probe is the number of a packet that is sent before the stream begins.
const probe = ^uint64(0)

// tally is what a stream counts. The stream's lock guards it.
type tally struct {
	start    time.Time // set with the first arrival of a probe
	sentAt   []time.Duration
	seen     []uint64 // a bit for each number that arrived
	refused  uint64
	received uint64
	doubles  uint64
	newest   uint64 // the highest number that arrived
	last     time.Duration
	gap      time.Duration
	end      time.Duration // of sending; 0 while it goes on
}

// Report is what became of a stream.
type Report struct {
	Sent, Received, Lost, Duplicated uint64
	// Refused are those of Lost that the sender's own end did not take: it was
	// not connected, or its ring was full.
	Refused uint64
	// LongestGap is the longest time without an arrival.
	LongestGap time.Duration
	// Losses are the runs of lost packets, the first 20.
	Losses []Loss
}

// Loss is a run of packets that did not arrive.
type Loss struct {
	// At is when the first of them was sent, since the stream began.
	At time.Duration
	// Packets is how many, and Lasted from the first one's sending to the next
	// one's that arrived.
	Packets uint64
	Lasted  time.Duration
}

const maxLosses = 20

func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sent, %d received, %d lost (%d not taken by the sender's ring), %d twice, longest gap %s",
		r.Sent, r.Received, r.Lost, r.Refused, r.Duplicated, r.LongestGap.Round(time.Millisecond))
	for _, l := range r.Losses {
		fmt.Fprintf(&b, "; %d lost at %s for %s", l.Packets, l.At.Round(time.Millisecond), l.Lasted.Round(time.Millisecond))
	}
	return b.String()
}

func (s *Stream) started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.start.IsZero()
}

// now is the time since the stream began.
func (s *Stream) now() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.start)
}

// next is the number of the next packet, and when it is sent.
func (s *Stream) next() (seq uint64, at time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at = time.Since(s.start)
	s.sentAt = append(s.sentAt, at)
	return uint64(len(s.sentAt) - 1), at
}

// refuse counts a packet that the sender's own end did not take.
func (s *Stream) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused++
}

// finish notes that nothing more is sent.
func (s *Stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = time.Since(s.start)
}

func (s *Stream) arrivals() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received
}

// arrived counts one packet.
func (s *Stream) arrived(n number) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.seq == probe {
		if s.start.IsZero() {
			s.start = time.Now()
		}
		return
	}
	if n.seq >= uint64(len(s.sentAt)) {
		return // not one of ours
	}
	for uint64(len(s.seen)) <= n.seq/64 {
		s.seen = append(s.seen, 0)
	}
	bit := uint64(1) << (n.seq % 64)
	if s.seen[n.seq/64]&bit != 0 {
		s.doubles++
		return
	}
	s.seen[n.seq/64] |= bit
	s.received++
	s.newest = max(s.newest, n.seq)
	now := time.Since(s.start)
	s.gap = max(s.gap, now-s.last)
	s.last = now
}

func (t *tally) has(seq uint64) bool {
	return seq/64 < uint64(len(t.seen)) && t.seen[seq/64]&(1<<(seq%64)) != 0
}

// report leaves out what may still be on its way: what was sent less than younger
// ago, and after the newest packet that has arrived.
func (s *Stream) report(younger time.Duration) Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(s.start)
	r := Report{Received: s.received, Duplicated: s.doubles, Refused: s.refused}
	if s.end != 0 {
		now = s.end
	}
	r.LongestGap = max(s.gap, now-s.last) // the one that is not over counts too
	var run *Loss
	for n, at := range s.sentAt {
		switch {
		case s.has(uint64(n)):
			if run != nil {
				run.Lasted, run = at-run.At, nil
			}
			r.Sent++
			continue
		case now-at < younger && (s.received == 0 || uint64(n) > s.newest):
			continue
		}
		r.Sent++
		r.Lost++
		if run == nil {
			if len(r.Losses) == maxLosses {
				run = &Loss{At: at} // counted above, not listed
				continue
			}
			r.Losses = append(r.Losses, Loss{At: at})
			run = &r.Losses[len(r.Losses)-1]
		}
		run.Packets++
	}
	if run != nil {
		run.Lasted = now - run.At
	}
	return r
}
