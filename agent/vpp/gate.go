package vpp

import (
	"sync"
	"time"
)

// group is a sort of call that must not run beside the other.
type group int

const (
	creating group = iota
	flipping
)

// gate keeps creates of memifs and changes of their admin state apart: any
// number of one group at a time, never both, taking turns. A change of admin
// state lets VPP 25.10's memif_process walk all memifs, with pauses in between,
// and a create that moves the pool meanwhile kills VPP (VPP-FACTS.md). So a
// create also waits until the walk is over.
type gate struct {
	mu      sync.Mutex
	changed *sync.Cond
	active  [2]int
	waiting [2]int
	turn    group
	quiet   time.Time // when the last walk is over
}

func (g *gate) cond() *sync.Cond {
	if g.changed == nil {
		g.changed = sync.NewCond(&g.mu)
	}
	return g.changed
}

func (g *gate) enter(me group) {
	g.mu.Lock()
	other := 1 - me
	g.waiting[me]++
	for g.active[other] > 0 || g.turn == other && g.waiting[other] > 0 {
		g.cond().Wait()
	}
	g.waiting[me]--
	g.active[me]++
	var wait time.Duration
	if me == creating {
		wait = time.Until(g.quiet)
	}
	g.mu.Unlock()
	if wait > 0 {
		time.Sleep(wait)
	}
}

// leave ends a call; settle is how long a walk takes that it began.
func (g *gate) leave(me group, settle time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active[me]--
	if me == flipping {
		g.quiet = time.Now().Add(settle)
	}
	if g.active[me] == 0 {
		g.turn = 1 - me
		g.cond().Broadcast()
	}
}
