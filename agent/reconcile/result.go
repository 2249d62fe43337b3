package reconcile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// State is where an attachment stands.
type State int

// The states.
const (
	// Ready: all its objects are there as wanted.
	Ready State = iota + 1
	// Pending: Err says what it waits for; nil: its turn.
	Pending
	// Failed: Err will not go away by itself.
	Failed
	// Conflict: another attachment has one of its objects otherwise.
	Conflict
	// Leaving: it was removed, and something of it is still there.
	Leaving
	// Gone: it was removed, and nothing of it is left. Reported once.
	Gone
)

func (s State) String() string {
	names := map[State]string{Ready: "Ready", Pending: "Pending", Failed: "Failed", Conflict: "Conflict", Leaving: "Leaving", Gone: "Gone"}
	return names[s]
}

// Result is where one attachment stands.
type Result struct {
	Key   string
	State State
	// ID is the object that Err speaks of.
	ID  model.ID
	Err error
	// Away is true where Err is that the far side of a driver is away.
	Away bool
}

// ConflictError is an object that another attachment has otherwise.
type ConflictError struct {
	ID model.ID
	// Rival is the key of the attachment that has it.
	Rival string
}

func (c *ConflictError) Error() string {
	return fmt.Sprintf("%s: attachment %s has it otherwise", c.ID, c.Rival)
}

// results are the attachments touched since the last report.
func (e *Engine) results() []Result {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]Result, 0, len(e.touched))
	for key := range e.touched {
		if r, ok := e.result(key); ok {
			out = append(out, r)
		}
	}
	clear(e.touched)
	slices.SortFunc(out, func(a, b Result) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// All are the results of all attachments, by key.
func (e *Engine) All() []Result {
	e.mu.Lock()
	e.touchAll()
	e.mu.Unlock()
	return e.results()
}

func (e *Engine) result(key string) (Result, bool) {
	a, ok := e.attachments[key]
	if !ok {
		return e.farewell(key)
	}
	r := Result{Key: key, State: Ready}
	for _, o := range a.spec.Objects {
		if other := e.judge(key, o); rank(other) > rank(r) {
			r = other
		}
	}
	return r, true
}

// rank orders results by how much they say.
func rank(r Result) int {
	switch {
	case r.State == Conflict:
		return 4
	case r.State == Failed:
		return 3
	case r.State == Pending && r.Err != nil:
		return 2
	case r.State == Pending:
		return 1
	}
	return 0
}

// judge is an attachment's result as far as one object goes.
func (e *Engine) judge(key string, o model.Object) Result {
	id := o.ID()
	r := Result{Key: key, State: Pending, ID: id}
	if rival, ok := e.wanted.rival(key, id); ok {
		r.State, r.Err = Conflict, &ConflictError{ID: id, Rival: rival}
		return r
	}
	s := e.of[id.Kind]
	if s != nil && s.away != nil {
		r.Err, r.Away = s.away, true
		return r
	}
	if e.actual.is(o) {
		return Result{Key: key, State: Ready}
	}
	for range len(e.waiting) + 1 {
		if f, ok := e.retries.failed[id]; ok {
			r.ID, r.Err = id, f.err
			if f.terminal {
				r.State = Failed
			}
			return r
		}
		next, ok := e.waiting[id]
		if !ok || next == id {
			return r
		}
		id = next
	}
	return r
}

// farewell is the result of an attachment that was removed. A shared object
// that cannot go, since others have something of theirs in it, is tried again
// but keeps no attachment back.
func (e *Engine) farewell(key string) (Result, bool) {
	left, ok := e.leaving[key]
	if !ok {
		return Result{}, false
	}
	r := Result{Key: key, State: Gone}
	for id := range left {
		_, there := e.actual.objects[id]
		s := e.of[id.Kind]
		unknown := s != nil && s.away != nil
		f, failed := e.retries.failed[id]
		if e.wanted.object(id) != nil || !there && !unknown || failed && id.Kind.Shared() {
			continue
		}
		r.State, r.ID = Leaving, id
		if unknown {
			r.Err = s.away
		}
		if failed {
			r.Err = f.err
			break
		}
	}
	if r.State == Gone {
		e.back(key)
	}
	return r, true
}
