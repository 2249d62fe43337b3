package reconcile

import (
	"context"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// Reclaimer is a Driver that knows its interfaces by more than their names.
type Reclaimer interface {
	// Reclaim gives those of wanted that are there under other names their own
	// names back, without touching anything else of them, and returns them as
	// they were found, by their own identities.
	Reclaim(ctx context.Context, wanted []model.Object) map[model.ID]model.Object
}

// reclaim has interfaces get their names back where a dump lacks one that is
// wanted, or shows another under its name, and reads again what that changed.
// What could not be reclaimed is somebody's or nobody's, as it was read.
func (e *Engine) reclaim(ctx context.Context, dumps map[*side][]model.Object, failed map[*side]error) ([]Applied, []Difference) {
	var ops []Applied
	var drift []Difference
	for s, objects := range dumps {
		driver, ok := s.driver.(Reclaimer)
		if !ok {
			continue
		}
		wanted := e.unnamed(s, objects)
		if len(wanted) == 0 {
			continue
		}
		had := driver.Reclaim(ctx, wanted)
		if len(had) == 0 {
			continue
		}
		for _, w := range wanted {
			if o, ok := had[w.ID()]; ok {
				ops = append(ops, Applied{Op: Op{Verb: Put, ID: w.ID(), Want: w, Have: o}})
				drift = append(drift, e.renamed(w, o))
			}
		}
		again, err := s.driver.Dump(ctx)
		if dumps[s] = again; err != nil {
			delete(dumps, s)
			failed[s] = err
		}
	}
	return ops, drift
}

func (e *Engine) renamed(want, have model.Object) Difference {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Difference{Op: Put, ID: want.ID(), Keys: e.wanted.owners(want.ID()), Want: want, Have: have}
}

// unnamed are the interfaces that are wanted of a side and are not among
// objects, or only as something else.
func (e *Engine) unnamed(s *side, objects []model.Object) []model.Object {
	there := make(map[model.ID]model.Object, len(objects))
	for _, o := range objects {
		there[o.ID()] = o
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []model.Object
	for id := range e.wanted.claims {
		if e.of[id.Kind] != s || !id.Kind.Interface() {
			continue
		}
		want := e.wanted.object(id)
		if have, ok := there[id]; !ok || want.Compare(have) == model.Replace {
			out = append(out, want)
		}
	}
	return out
}
