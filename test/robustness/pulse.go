package robustness

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	leaseTTL = 4 * time.Second
	// stillBound is how long etcd may leave a question open. An agent has half of
	// its lease to refresh it.
	stillBound = leaseTTL / 2
	pulseEvery = 100 * time.Millisecond
)

// pulse asks etcd something all the time. In a round without faults only the
// machine keeps it from answering, and an agent from keeping its lease: then a
// call may fail as it may under a fault.
type pulse struct {
	mu sync.Mutex
	// asked is how many questions were begun, answered how many of them are over.
	asked, answered int
	// still is how often an answer took longer than stillBound.
	still int
	// excused is how many calls were let off for that.
	excused int
}

// feel runs until ctx ends.
func (p *pulse) feel(ctx context.Context, ask func(context.Context) error, stood func(time.Duration)) {
	last := time.Now()
	for ctx.Err() == nil {
		p.mu.Lock()
		p.asked++
		p.mu.Unlock()
		bounded, cancel := context.WithTimeout(ctx, viewTimeout)
		err := ask(bounded)
		cancel()
		gap := time.Since(last)
		p.mu.Lock()
		p.answered++
		if gap > stillBound {
			p.still++
		}
		p.mu.Unlock()
		if gap > stillBound && ctx.Err() == nil {
			stood(gap)
		}
		if err == nil {
			last = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pulseEvery):
		}
	}
}

func (p *pulse) stills() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.still
}

// excuse says how many calls were let off, if any were.
func (p *pulse) excuse() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.excused == 0 {
		return ""
	}
	return fmt.Sprintf("; %d calls failed without a fault, while the machine stood still", p.excused)
}

// stoodStill says whether there was no answer for too long since so many times
// were counted, after a question that was asked from now on.
func (p *pulse) stoodStill(ctx context.Context, since int) bool {
	p.mu.Lock()
	next := p.asked + 1
	p.mu.Unlock()
	for ctx.Err() == nil {
		p.mu.Lock()
		over, still := p.answered >= next, p.still > since
		if still {
			p.excused++
		}
		p.mu.Unlock()
		if over || still {
			return still
		}
		time.Sleep(pulseEvery / 10)
	}
	return false
}

// askEtcd reads a key that is not there, by a majority.
func (w *world) askEtcd(ctx context.Context) error {
	_, err := w.client.Get(ctx, w.keys.Root()+"none")
	return err
}

func (w *world) stoodStill(gap time.Duration) {
	if w.calm.Load() {
		w.history.add(everything, "the machine stood still: etcd did not answer for %s", gap.Round(time.Millisecond))
	}
}
