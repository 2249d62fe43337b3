package reconcile

import (
	"maps"
	"slices"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// What is found in VPP and is nobody's may be what a removed attachment has
// left, or what an attachment holds that the store has forgotten: etcd was
// wiped, or restored from an older backup. The two differ in who bears witness.
// With Options.Hold an interface of an attachment that no attachment names, that
// was not removed before our eyes and that has no witness stays, with all that
// it stands on and all that stands on it, until it is claimed or released.

// holds is what is known of interfaces that are held.
type holds struct {
	// held are interfaces that are there and stay.
	held map[model.ID]struct{}
	// names counts the attachments that name an interface.
	names map[model.ID]int
	// witness are interfaces of attachments that were removed.
	witness map[model.ID]struct{}
	// released are interfaces that were held and must go.
	released map[model.ID]struct{}
}

func newHolds() holds {
	return holds{
		held: map[model.ID]struct{}{}, names: map[model.ID]int{},
		witness: map[model.ID]struct{}{}, released: map[model.ID]struct{}{},
	}
}

// socketOf is the socket of an attachment's interface.
func socketOf(o model.Object) (string, bool) {
	switch v := o.(type) {
	case model.Memif:
		return v.Socket, true
	case model.VhostUser:
		return v.Socket, true
	}
	return "", false
}

// strangers are the interfaces in a that stay though nobody wants them.
func (e *Engine) strangers(a actual) map[model.ID]struct{} {
	out := map[model.ID]struct{}{}
	if !e.opts.Hold {
		return out
	}
	var sockets map[string]struct{}
	leftovers := map[model.ID]struct{}{}
	for id, f := range a.objects {
		socket, ok := socketOf(f.object)
		if !ok || e.accounted(id) {
			continue
		}
		if sockets == nil {
			sockets = e.wantedSockets()
		}
		switch _, needed := sockets[socket]; {
		case needed:
		case model.Leftover(id):
			leftovers[id] = struct{}{}
		default:
			out[id] = struct{}{}
		}
	}
	// A leftover names no attachment, so nothing could bear witness of its
	// removal: most were never more than begun. It stays where the store has
	// forgotten others, too.
	if len(out) > 0 {
		maps.Copy(out, leftovers)
	}
	return out
}

// accounted says whether it is known what is to become of an interface.
func (e *Engine) accounted(id model.ID) bool {
	_, witness := e.holds.witness[id]
	_, released := e.holds.released[id]
	return witness || released || e.holds.names[id] > 0 || len(e.leavers[id]) > 0 || e.wanted.object(id) != nil
}

func (e *Engine) wantedSockets() map[string]struct{} {
	out := map[string]struct{}{}
	for id := range e.wanted.claims {
		if socket, ok := socketOf(e.wanted.object(id)); ok {
			out[socket] = struct{}{}
		}
	}
	return out
}

// name counts the names of an attachment, and ends the hold of what it names.
func (e *Engine) name(spec Spec) {
	for _, id := range spec.Names {
		e.holds.names[id]++
		e.unhold(id)
	}
}

func (e *Engine) unname(spec Spec) {
	for _, id := range spec.Names {
		if e.holds.names[id]--; e.holds.names[id] <= 0 {
			delete(e.holds.names, id)
		}
	}
}

// unhold ends the hold of id: the next pass decides on it and what is about it.
func (e *Engine) unhold(id model.ID) bool {
	if _, held := e.holds.held[id]; !held {
		return false
	}
	for about := range kept(e.actual, []model.ID{id}) {
		e.dirty[about] = struct{}{}
	}
	delete(e.holds.held, id)
	return true
}

// usurp ends the holds that stand in the way of what an attachment wants: VPP
// gives one socket to one interface.
func (e *Engine) usurp(want model.Object) {
	socket, ok := socketOf(want)
	if !ok {
		return
	}
	for id := range e.holds.held {
		if have, _ := socketOf(e.actual.objects[id].object); have == socket {
			e.unhold(id)
		}
	}
}

// Witness says which interfaces are known to be those of attachments that were
// removed, in the place of what it said before.
func (e *Engine) Witness(ids []model.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.holds.witness)
	for _, id := range ids {
		e.holds.witness[id] = struct{}{}
		e.unhold(id)
	}
}

// Release lets those of ids go that are held, and says how many were.
func (e *Engine) Release(ids ...model.ID) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, id := range ids {
		if e.unhold(id) {
			e.holds.released[id] = struct{}{}
			n++
		}
	}
	return n
}

// Absent says whether it is known that nothing is there under ids.
func (e *Engine) Absent(ids ...model.ID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known() && !slices.ContainsFunc(ids, func(id model.ID) bool { _, there := e.actual.objects[id]; return there })
}

// Held are the interfaces that are held.
func (e *Engine) Held() []model.ID {
	e.mu.Lock()
	defer e.mu.Unlock()
	return sortIDs(e.holds.held)
}

// Forget drops an attachment without removing anything of it: what is found of
// it is nobody's.
func (e *Engine) Forget(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.attachments[key]
	if a == nil {
		return
	}
	for id := range a.ids {
		e.unclaim(key, a.spec.Order, id)
	}
	e.unname(a.spec)
	delete(e.attachments, key)
	delete(e.keeps, key)
}

// hold takes what was read into account: which strangers there are, and which of
// those that were released are gone.
func (e *Engine) hold(drift []Difference) []Difference {
	for id := range e.holds.released {
		if _, there := e.actual.objects[id]; !there {
			delete(e.holds.released, id)
		}
	}
	e.holds.held = e.strangers(e.actual)
	if len(e.holds.held) == 0 {
		return drift
	}
	stays := kept(e.actual, slices.Collect(maps.Keys(e.holds.held)))
	return slices.DeleteFunc(drift, func(d Difference) bool {
		_, stay := stays[d.ID]
		return stay && d.Op == Delete
	})
}
