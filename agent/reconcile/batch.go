package reconcile

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// abreast is how many batches run at a time: while the replies of one are taken
// in, the far side of the driver has another to work on.
const abreast = 2

// batcher is the driver of a phase's operations if they are several and it takes
// them in batches.
func (e *Engine) batcher(phase []Op) (Batcher, bool) {
	if len(phase) < 2 || phase[0].Verb != Put {
		return nil, false
	}
	b, ok := e.of[phase[0].ID.Kind].driver.(Batcher)
	return b, ok
}

// inBatches runs the puts of a phase. They are of one kind, so none of them
// stands on another.
func (e *Engine) inBatches(ctx context.Context, b Batcher, ops []Op) []Applied {
	results := make([]Applied, 0, len(ops))
	size := max(1, e.opts.Workers/abreast)
	batches := slices.Collect(slices.Chunk(ops, size))
	parts := make([][]Applied, len(batches))
	var g errgroup.Group
	g.SetLimit(abreast)
	for i, batch := range batches {
		g.Go(func() error {
			parts[i] = e.runBatch(ctx, b, batch)
			return nil
		})
	}
	_ = g.Wait() // the errors stand in parts
	for _, part := range parts {
		results = append(results, part...)
	}
	return results
}

// runBatch carries a batch out and notes what came of each operation. One that
// comes after its driver's far side went away, or in a pass that is broken off,
// begins nothing.
func (e *Engine) runBatch(ctx context.Context, b Batcher, ops []Op) []Applied {
	out := make([]Applied, 0, len(ops))
	if err := e.futile(ctx, ops); err != nil {
		for _, op := range ops {
			out = append(out, Applied{Op: op, Err: err})
		}
		return out
	}
	want, have := make([]model.Object, 0, len(ops)), make([]model.Object, 0, len(ops))
	for _, op := range ops {
		want, have = append(want, op.Want), append(have, op.Have)
	}
	start := time.Now()
	errs := b.PutAll(ctx, want, have)
	share := time.Since(start) / time.Duration(len(ops))
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, op := range ops {
		a := Applied{Op: op, Took: share, Err: errs[i]}
		_, a.Retry = e.retries.failed[op.ID]
		e.note(ctx, a)
		out = append(out, a)
	}
	return out
}

// futile says why a batch is not begun, and has the next pass look at it.
func (e *Engine) futile(ctx context.Context, ops []Op) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := ctx.Err()
	if err == nil {
		err = e.of[ops[0].ID.Kind].away
	}
	if err != nil {
		for _, op := range ops {
			e.dirty[op.ID] = struct{}{}
		}
	}
	return err
}
