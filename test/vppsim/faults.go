package vppsim

import (
	"maps"
	"sync"
	"time"

	govpp "go.fd.io/govpp/api"
)

// faults are what tests break on demand. They outlive the lives of a Sim, and
// are asked with the main thread held but never need it.
type faults struct {
	mu      sync.Mutex
	calls   map[string]int
	refuse  map[string]*refusal
	delay   map[string]time.Duration
	dieOn   map[string]bool
	ignore  map[string]bool
	resumed chan struct{} // not nil: hanging until it is closed
}

type refusal struct {
	retval govpp.VPPApiError
	left   int // < 0: for ever
}

type actKind int

const (
	actServe actKind = iota
	actRefuse
	actIgnore
	actDie
)

type act struct {
	kind   actKind
	retval govpp.VPPApiError
}

func newFaults() *faults {
	f := &faults{calls: make(map[string]int)}
	f.ClearFaults()
	return f
}

// Refuse lets the next times calls of a message fail with a retval and do
// nothing; times < 0 is for ever, 0 ends it. A dump cannot be refused in VPP:
// here it then gives no details.
func (f *faults) Refuse(message string, retval int32, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if times == 0 {
		delete(f.refuse, message)
		return
	}
	f.refuse[message] = &refusal{retval: govpp.VPPApiError(retval), left: times}
}

// Delay stops the main thread for d at every such message, and with it all
// other clients, before the message is done. 0 ends it.
func (f *faults) Delay(message string, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d == 0 {
		delete(f.delay, message)
		return
	}
	f.delay[message] = d
}

// DieOn lets the simulated VPP crash when it gets the message next, before
// doing anything of it. It holds for one crash.
func (f *faults) DieOn(message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dieOn[message] = true
}

// Ignore drops every such message without doing it or answering.
func (f *faults) Ignore(message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ignore[message] = true
}

// Hang stops the main thread: connections stay, nothing is answered any more.
// What came in meanwhile is done after Resume. Packets still move, as they do
// on VPP's workers.
func (f *faults) Hang() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.resumed == nil {
		f.resumed = make(chan struct{})
	}
}

// Resume ends Hang.
func (f *faults) Resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.resumed != nil {
		close(f.resumed)
		f.resumed = nil
	}
}

// ClearFaults ends every fault.
func (f *faults) ClearFaults() {
	f.Resume()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = make(map[string]*refusal)
	f.delay = make(map[string]time.Duration)
	f.dieOn = make(map[string]bool)
	f.ignore = make(map[string]bool)
}

// Calls tells how often each message came in since the start or ResetCalls, in
// all lives, whatever became of it.
func (f *faults) Calls() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.calls)
}

// ResetCalls sets all counters to zero.
func (f *faults) ResetCalls() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.calls)
}

// meet counts one message and says what is to become of it, after any wait
// that faults ask for. A wait ends when quit is closed.
func (f *faults) meet(message string, quit <-chan struct{}) act {
	f.mu.Lock()
	f.calls[message]++
	delay, resumed := f.delay[message], f.resumed
	f.mu.Unlock()

	if resumed != nil {
		select {
		case <-resumed:
		case <-quit:
			return act{kind: actIgnore}
		}
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-quit:
			return act{kind: actIgnore}
		}
	}
	return f.verdict(message)
}

func (f *faults) verdict(message string) act {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dieOn[message] {
		delete(f.dieOn, message)
		return act{kind: actDie}
	}
	if f.ignore[message] {
		return act{kind: actIgnore}
	}
	if r := f.refuse[message]; r != nil {
		if r.left > 0 {
			r.left--
		}
		if r.left == 0 {
			delete(f.refuse, message)
		}
		return act{kind: actRefuse, retval: r.retval}
	}
	return act{}
}
