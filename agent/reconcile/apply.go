package reconcile

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// apply carries a plan out, phase by phase.
func (e *Engine) apply(ctx context.Context, p Plan) []Applied {
	var done []Applied
	for _, phase := range phases(p) {
		ready := e.ready(phase)
		if b, ok := e.batcher(ready); ok {
			done = append(done, e.inBatches(ctx, b, ready)...)
			continue
		}
		done = append(done, e.oneByOne(ctx, ready)...)
	}
	return done
}

// oneByOne runs the operations of a phase, many at a time.
func (e *Engine) oneByOne(ctx context.Context, ops []Op) []Applied {
	results := make([]Applied, len(ops))
	var g errgroup.Group
	g.SetLimit(e.opts.Workers)
	for i, op := range ops {
		if len(ops) == 1 {
			results[i] = e.run(ctx, op)
			continue
		}
		g.Go(func() error {
			results[i] = e.run(ctx, op)
			return nil
		})
	}
	_ = g.Wait() // the errors stand in results
	return results
}

// ready are the operations of a phase that nothing stands in the way of; the
// others wait.
func (e *Engine) ready(phase Plan) []Op {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]Op, 0, len(phase))
	for _, op := range phase {
		s := e.of[op.ID.Kind]
		switch blocker, state := e.obstacle(op); {
		case s == nil:
			e.retries.fail(op.ID, fmt.Errorf("%s: no driver has this kind", op.ID), true)
		case s.away != nil:
			e.dirty[op.ID] = struct{}{}
		case state == blocked:
			e.waiting[op.ID] = blocker
			e.touch(op.ID)
		case state == clearWay:
			if op.Verb == Put {
				op.Have = e.have(op)
			}
			out = append(out, op)
		}
	}
	return out
}

// have is what a Put finds. What an earlier Put of it may have left is for the
// driver to find out.
func (e *Engine) have(op Op) model.Object {
	f := e.actual.objects[op.ID]
	if !f.sure && f.object == op.Want {
		return nil
	}
	return f.object
}

// way is what stands before an operation.
type way int

const (
	clearWay way = iota
	blocked      // by another object
	needless     // it is so already, or it cannot be now
)

// obstacle looks at what the phases before have left.
func (e *Engine) obstacle(op Op) (model.ID, way) {
	have, there := e.actual.objects[op.ID]
	if op.Verb == Delete {
		if !there {
			return model.ID{}, needless
		}
		if holder, held := e.actual.holder(op.ID); held {
			return holder, blocked
		}
		return model.ID{}, clearWay
	}
	if e.actual.is(op.Want) {
		return model.ID{}, needless
	}
	if there && op.Want.Compare(have.object) == model.Replace {
		return model.ID{}, needless // its own delete failed or waits, and this with it
	}
	for _, dep := range op.Want.Deps() {
		if !e.actual.has(dep) {
			return dep, blocked
		}
	}
	return model.ID{}, clearWay
}

// run carries one operation out and notes what came of it.
func (e *Engine) run(ctx context.Context, op Op) Applied {
	if err := ctx.Err(); err != nil { // a pass that is broken off begins nothing
		e.mu.Lock()
		defer e.mu.Unlock()
		e.dirty[op.ID] = struct{}{}
		return Applied{Op: op, Err: err}
	}
	start := time.Now()
	driver := e.of[op.ID.Kind].driver
	var err error
	if op.Verb == Delete {
		err = driver.Delete(ctx, op.Have)
	} else {
		err = driver.Put(ctx, op.Want, op.Have)
	}
	a := Applied{Op: op, Took: time.Since(start), Err: err}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, a.Retry = e.retries.failed[op.ID]
	e.note(ctx, a)
	return a
}

// note brings what is known up to date with an operation's outcome.
func (e *Engine) note(ctx context.Context, a Applied) {
	e.touch(a.ID)
	switch {
	case a.Err == nil && a.Verb == Delete:
		e.actual.remove(a.ID)
		e.retries.forget(a.ID)
	case a.Err == nil:
		e.actual.put(a.Want, true)
		e.retries.forget(a.ID)
	default:
		e.unsure(a)
		e.excuse(ctx, a)
	}
}

// unsure keeps in mind that a failed write may have had an effect.
func (e *Engine) unsure(a Applied) {
	o := a.Have
	if o == nil {
		o = a.Want
	}
	e.actual.put(o, false)
}

// excuse decides what a failure means for the next attempt.
func (e *Engine) excuse(ctx context.Context, a Applied) {
	s := e.of[a.ID.Kind]
	switch {
	case e.opts.Down(a.Err):
		if s.away == nil {
			e.away(s, a.Err)
		}
		e.dirty[a.ID] = struct{}{}
	case ctx.Err() != nil:
		e.dirty[a.ID] = struct{}{}
	default:
		e.retries.fail(a.ID, a.Err, e.opts.Terminal(a.Err))
	}
}
