package reconcile

import (
	"path/filepath"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// found is an object that is there. One that is not sure was part of a write
// that failed: it may be there, or not, or as it was before.
type found struct {
	object model.Object
	sure   bool
}

// actual is what is there as far as we know: filled by dumps and by our own
// writes.
type actual struct {
	objects map[model.ID]found
	// dependents lists what stands on an object.
	dependents map[model.ID]map[model.ID]struct{}
}

func newActual() actual {
	return actual{objects: map[model.ID]found{}, dependents: map[model.ID]map[model.ID]struct{}{}}
}

func (a actual) put(o model.Object, sure bool) {
	id := o.ID()
	if old, ok := a.objects[id]; ok {
		a.unlink(id, old.object)
	}
	a.objects[id] = found{object: o, sure: sure}
	for _, dep := range o.Deps() {
		if a.dependents[dep] == nil {
			a.dependents[dep] = map[model.ID]struct{}{}
		}
		a.dependents[dep][id] = struct{}{}
	}
}

// remove forgets id and what VPP removes together with it.
func (a actual) remove(id model.ID) {
	old, ok := a.objects[id]
	if !ok {
		return
	}
	delete(a.objects, id)
	a.unlink(id, old.object)
	for dep := range a.dependents[id] {
		if o := a.objects[dep].object; o != nil && o.FallsWith(id) {
			a.remove(dep)
		}
	}
}

func (a actual) unlink(id model.ID, o model.Object) {
	for _, dep := range o.Deps() {
		delete(a.dependents[dep], id)
		if len(a.dependents[dep]) == 0 {
			delete(a.dependents, dep)
		}
	}
}

// has says whether id is there for sure.
func (a actual) has(id model.ID) bool { return a.objects[id].sure }

// is says whether want is there for sure and as wanted.
func (a actual) is(want model.Object) bool {
	f, ok := a.objects[want.ID()]
	return ok && f.sure && want.Compare(f.object) == model.Same
}

// holder is an object that stands on id and does not fall with it.
func (a actual) holder(id model.ID) (model.ID, bool) {
	var least model.ID
	held := false
	for dep := range a.dependents[id] {
		if a.objects[dep].object.FallsWith(id) {
			continue
		}
		if !held || less(dep, least) {
			least, held = dep, true
		}
	}
	return least, held
}

// inDirectories gives interfaces found in VPP the directory that their socket
// stands in, where it is one of ours; VPP does not know of directories.
func inDirectories(objects []model.Object) []model.Object {
	dirs := map[string]bool{}
	for _, o := range objects {
		if d, ok := o.(model.Directory); ok {
			dirs[d.Path] = true
		}
	}
	for i, o := range objects {
		switch v := o.(type) {
		case model.Memif:
			if dir := filepath.Dir(v.Socket); dirs[dir] {
				v.Dir = dir
				objects[i] = v
			}
		case model.VhostUser:
			if dir := filepath.Dir(v.Socket); dirs[dir] {
				v.Dir = dir
				objects[i] = v
			}
		}
	}
	return objects
}
