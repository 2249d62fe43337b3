package reconcile

import (
	"context"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// Difference is an object that is not as wanted.
type Difference struct {
	// Op is what would mend it.
	Op Verb
	ID model.ID
	// Keys are the attachments that want it; none for an object nobody wants.
	Keys []string
	// Want is nil for what nobody wants, Have is nil for what is not there.
	Want, Have model.Object
}

func compareDifferences(a, b Difference) int { return compareIDs(a.ID, b.ID) }

// Drift reads what is there from all drivers and compares it with what is
// wanted. It changes nothing. Interfaces that are held are listed apart. The
// error names the drivers that could not be read.
func (e *Engine) Drift(ctx context.Context) (diffs []Difference, held []model.ID, err error) {
	e.pass.Lock()
	defer e.pass.Unlock()
	dumps, failed := e.dump(ctx)
	for _, err := range failed {
		return nil, nil, err
	}
	var all []model.Object
	for _, objects := range dumps {
		all = append(all, objects...)
	}
	there := newActual()
	for _, o := range inDirectories(all) {
		there.put(o, true)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := make(map[model.ID]struct{}, len(there.objects))
	for id := range there.objects {
		ids[id] = struct{}{}
	}
	for id := range e.wanted.claims {
		ids[id] = struct{}{}
	}
	strangers := e.strangers(there)
	held = sortIDs(strangers)
	keep := kept(there, append(e.roots(), held...))
	for _, id := range sortIDs(ids) {
		if _, ok := keep[id]; ok && e.wanted.object(id) == nil {
			continue
		}
		if d, differs := difference(id, e.wanted, there); differs {
			diffs = append(diffs, d)
		}
	}
	return diffs, held, nil
}

// difference compares one object.
func difference(id model.ID, w wanted, there actual) (Difference, bool) {
	want, have := w.object(id), there.objects[id].object
	d := Difference{Op: Put, ID: id, Keys: w.owners(id), Want: want, Have: have}
	switch {
	case want == nil:
		d.Op = Delete
		return d, have != nil
	case have == nil:
		return d, true
	}
	return d, want.Compare(have) != model.Same
}
