package reconcile

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// Applied is an operation that was carried out.
type Applied struct {
	Op
	// Retry says that it had failed before.
	Retry bool
	// Took is how long it took; of a batch, its share.
	Took time.Duration
	Err  error
}

// Report is what one pass did.
type Report struct {
	// Ops are the operations that were carried out, failed ones too.
	Ops []Applied
	// Results are the attachments whose result may have changed, by key.
	Results []Result
	// Drift are the objects that were not as last known (Resync only).
	Drift []Difference
	// Left is what a Resync that could read everything has left behind although
	// nobody wants it. Clean is true where that is nothing.
	Left  []model.ID
	Clean bool
	Took  time.Duration
}

// Sync makes a pass over what changed since the last one and over what is due
// for another attempt. It trusts what is known of the rest: its cost is that of
// the changes. Errors of operations stand in the report.
func (e *Engine) Sync(ctx context.Context) Report {
	e.pass.Lock()
	defer e.pass.Unlock()
	start := time.Now()
	e.mu.Lock()
	ids := e.todo()
	p := e.plan(ids)
	e.mu.Unlock()
	rep := Report{Ops: e.apply(ctx, p)}
	rep.Results = e.results()
	rep.Took = time.Since(start)
	return rep
}

// Resync reads what is there from all drivers and makes a pass over everything.
// The error names the drivers that could not be read; the pass goes on with the
// others, without deletes.
func (e *Engine) Resync(ctx context.Context) (Report, error) {
	e.pass.Lock()
	defer e.pass.Unlock()
	start := time.Now()
	dumps, failed := e.dump(ctx)
	reclaimed, renamed := e.reclaim(ctx, dumps, failed)
	e.mu.Lock()
	err := e.unread(failed)
	drift := append(renamed, e.learn(dumps)...)
	ids := e.everything()
	p := e.plan(ids)
	e.mu.Unlock()
	rep := Report{Ops: append(reclaimed, e.apply(ctx, p)...), Drift: drift}
	if err == nil {
		rep.Left, rep.Clean = e.left()
	}
	rep.Results = e.results()
	rep.Took = time.Since(start)
	return rep, err
}

// dump reads all drivers side by side. A driver that cannot be read has no
// entry among the objects, but one among the errors.
func (e *Engine) dump(ctx context.Context) (map[*side][]model.Object, map[*side]error) {
	type answer struct {
		side    *side
		objects []model.Object
		err     error
	}
	answers := make(chan answer, len(e.sides))
	for _, s := range e.sides {
		go func() {
			objects, err := s.driver.Dump(ctx)
			answers <- answer{s, objects, err}
		}()
	}
	dumps, failed := map[*side][]model.Object{}, map[*side]error{}
	for range e.sides {
		a := <-answers
		if a.err != nil {
			failed[a.side] = a.err
			continue
		}
		dumps[a.side] = a.objects
	}
	return dumps, failed
}

// unread notes the drivers that could not be read. Where the far side is not
// away, what was known before still counts.
func (e *Engine) unread(failed map[*side]error) error {
	var errs []error
	for _, s := range e.sides {
		err, ok := failed[s]
		if !ok {
			continue
		}
		errs = append(errs, err)
		if s.away != nil || e.opts.Down(err) {
			e.away(s, err)
		}
	}
	return errors.Join(errs...)
}

// learn replaces what is known by dumps and returns what was not as known. What
// is as wanted is kept in its wanted form, which has more than VPP shows.
func (e *Engine) learn(dumps map[*side][]model.Object) []Difference {
	var all []model.Object
	for _, objects := range dumps {
		all = append(all, objects...)
	}
	next := newActual()
	for id, f := range e.actual.objects {
		if _, read := dumps[e.of[id.Kind]]; !read {
			next.put(f.object, f.sure)
		}
	}
	for _, o := range inDirectories(all) {
		if want := e.wanted.object(o.ID()); want != nil && want.Compare(o) == model.Same {
			o = want
		}
		next.put(o, true)
	}
	var drift []Difference
	for s := range dumps {
		if s.away == nil {
			drift = append(drift, e.drifted(s, next)...)
		}
		s.away = nil
	}
	e.actual = next
	drift = e.hold(drift)
	slices.SortFunc(drift, compareDifferences)
	return drift
}

// drifted compares what is known of a side with what was read.
func (e *Engine) drifted(s *side, read actual) []Difference {
	var out []Difference
	note := func(id model.ID) {
		if _, expected := e.dirty[id]; e.of[id.Kind] != s || expected {
			return
		}
		if _, failed := e.retries.failed[id]; failed {
			return
		}
		if d, ok := difference(id, e.wanted, read); ok {
			out = append(out, d)
		}
	}
	for id, f := range e.actual.objects {
		if now, ok := read.objects[id]; f.sure && (!ok || now.object != f.object) {
			note(id)
		}
	}
	for id := range read.objects {
		if _, ok := e.actual.objects[id]; !ok {
			note(id)
		}
	}
	return out
}

// todo takes the marks of the next Sync.
func (e *Engine) todo() map[model.ID]struct{} {
	ids := e.dirty
	e.dirty = map[model.ID]struct{}{}
	for _, id := range e.retries.take() {
		ids[id] = struct{}{}
	}
	// What waits is looked at again when the object in its way is, over as many
	// steps as there are.
	for grown := true; grown; {
		grown = false
		for id, blocker := range e.waiting {
			_, looked := ids[blocker]
			_, failed := e.retries.failed[blocker]
			_, still := e.waiting[blocker]
			if looked || !failed && !still {
				ids[id] = struct{}{}
				delete(e.waiting, id)
				grown = true
			}
		}
	}
	return ids
}

// everything takes the marks of a full pass.
func (e *Engine) everything() map[model.ID]struct{} {
	ids := make(map[model.ID]struct{}, len(e.wanted.claims)+len(e.actual.objects))
	for id := range e.wanted.claims {
		ids[id] = struct{}{}
	}
	for id := range e.actual.objects {
		ids[id] = struct{}{}
	}
	clear(e.dirty)
	clear(e.waiting)
	e.touchAll()
	return ids
}

func (e *Engine) plan(ids map[model.ID]struct{}) Plan {
	for id := range ids {
		e.settle(id)
	}
	p := planner{wanted: e.wanted, actual: e.actual, keep: kept(e.actual, e.roots()), mayDelete: e.complete && e.known()}
	if !p.mayDelete {
		for id := range ids {
			if p.shouldGo(id) {
				e.dirty[id] = struct{}{} // looked at again when deletes are allowed
			}
		}
	}
	return p.plan(ids)
}

// settle ends the back-off of an object that is as it should be.
func (e *Engine) settle(id model.ID) {
	if _, failed := e.retries.failed[id]; !failed {
		return
	}
	want := e.wanted.object(id)
	_, there := e.actual.objects[id]
	if want == nil && !there || want != nil && e.actual.is(want) {
		e.retries.forget(id)
		e.touch(id)
	}
}

// left is what is there and nobody wants. Clean says that there is nothing.
func (e *Engine) left() (left []model.ID, clean bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.complete || !e.known() {
		return nil, false
	}
	keep := kept(e.actual, e.roots())
	for id := range e.actual.objects {
		if _, ok := keep[id]; !ok && e.wanted.object(id) == nil {
			left = append(left, id)
		}
	}
	return left, len(left) == 0
}
