package daemon

import (
	"math/rand/v2"
	"sync"
	"time"
)

// pace holds writes back while etcd refuses them: they are then tried one at a
// time, and further and further apart. However many statuses wait, an etcd that
// is full or has no leader gets one write every few seconds, and the first that
// it takes lets all of them go on.
type pace struct {
	mu       sync.Mutex // guards what follows
	failures int        // in a row
	pause    time.Duration
	until    time.Time
	probing  bool // one is being tried
}

// enter says whether a write may be tried now, or else when to come back. A write
// that is tried ends with leave.
func (p *pace) enter() (later time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failures == 0 {
		return 0
	}
	if wait := time.Until(p.until); wait > 0 {
		return wait
	}
	if p.probing {
		return p.pause
	}
	p.probing = true
	return 0
}

// leave notes what came of a write, and whether etcd was asked.
func (p *pace) leave(asked bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probing = false
	if !asked {
		return
	}
	if err == nil {
		p.failures = 0
		return
	}
	p.pause = min(minStatusWait<<min(p.failures, 10), maxStatusWait)
	p.pause += rand.N(p.pause / 2) //nolint:gosec // spreads the agents of a cluster, guards nothing
	p.failures++
	p.until = time.Now().Add(p.pause)
}
