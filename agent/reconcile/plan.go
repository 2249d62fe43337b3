package reconcile

import (
	"strings"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// Verb is what an operation does.
type Verb string

// The verbs.
const (
	Put    Verb = "put"
	Delete Verb = "del"
)

// Op is one operation on one object.
type Op struct {
	Verb Verb
	ID   model.ID
	// Want is nil for a Delete, Have is nil where nothing is there.
	Want, Have model.Object
}

// String is the operation as in "put memif vpp-cni/net1/abc".
func (o Op) String() string { return string(o.Verb) + " " + o.ID.String() }

// Plan is a list of operations in the order in which they run.
type Plan []Op

// String is one operation a line.
func (p Plan) String() string {
	lines := make([]string, 0, len(p))
	for _, o := range p {
		lines = append(lines, o.String())
	}
	return strings.Join(lines, "\n")
}

// planner compares what is wanted with what is there. It changes neither.
type planner struct {
	wanted wanted
	actual actual
	// keep are objects that must not be deleted.
	keep map[model.ID]struct{}
	// mayDelete is false while what is wanted or what is there is not fully
	// known: then a missing wish means "not heard of yet".
	mayDelete bool
	doomed    map[model.ID]model.Object
}

// plan is what must be done about ids. Objects that stand on a deleted one are
// deleted before it, unless VPP removes them with it, and are put again
// afterwards where they are wanted.
func (p planner) plan(ids map[model.ID]struct{}) Plan {
	p.doomed = map[model.ID]model.Object{}
	for id := range ids {
		if p.mustGo(id) {
			p.doom(id)
		}
	}
	var deletes, puts Plan
	for id, have := range p.doomed {
		if !p.falls(have) {
			deletes = append(deletes, Op{Verb: Delete, ID: id, Have: have})
		}
		if want := p.wanted.object(id); want != nil {
			puts = append(puts, Op{Verb: Put, ID: id, Want: want})
		}
	}
	for id := range ids {
		if _, gone := p.doomed[id]; gone {
			continue
		}
		if op, ok := p.put(id); ok {
			puts = append(puts, op)
		}
	}
	return sorted(deletes, puts)
}

// put is the operation that makes what is there under id as wanted, if there
// is one to do.
func (p planner) put(id model.ID) (Op, bool) {
	want := p.wanted.object(id)
	if want == nil {
		return Op{}, false
	}
	have, ok := p.actual.objects[id]
	if !ok {
		return Op{Verb: Put, ID: id, Want: want}, true
	}
	change := want.Compare(have.object)
	if change == model.Same && have.sure || change == model.Replace {
		return Op{}, false
	}
	return Op{Verb: Put, ID: id, Want: want, Have: have.object}, true
}

// mustGo says whether what is there under id has to be deleted: nobody wants
// it, or what is wanted can only be made anew.
func (p planner) mustGo(id model.ID) bool {
	return p.mayDelete && p.shouldGo(id)
}

// shouldGo is mustGo where deletes are allowed.
func (p planner) shouldGo(id model.ID) bool {
	have, ok := p.actual.objects[id]
	if !ok {
		return false
	}
	if _, kept := p.keep[id]; kept {
		return false
	}
	want := p.wanted.object(id)
	return want == nil || want.Compare(have.object) == model.Replace
}

// doom marks id and everything that stands on it.
func (p planner) doom(id model.ID) {
	have, ok := p.actual.objects[id]
	if _, done := p.doomed[id]; done || !ok {
		return
	}
	p.doomed[id] = have.object
	for dep := range p.actual.dependents[id] {
		p.doom(dep)
	}
}

// falls says whether VPP removes have together with another doomed object.
func (p planner) falls(have model.Object) bool {
	for _, dep := range have.Deps() {
		if _, doomed := p.doomed[dep]; doomed && have.FallsWith(dep) {
			return true
		}
	}
	return false
}

// kept are the objects that roots name, all that they stand on and all that
// stands on them. A gateway's loopback is kept with what makes it one, a pod's
// directory with the agent's own socket in it.
func kept(a actual, roots []model.ID) map[model.ID]struct{} {
	out := map[model.ID]struct{}{}
	var up, down func(id model.ID)
	down = func(id model.ID) {
		out[id] = struct{}{}
		if f, ok := a.objects[id]; ok {
			for _, dep := range f.object.Deps() {
				if _, done := out[dep]; !done {
					down(dep)
				}
			}
		}
		if id.Kind != model.KindLoopback && id.Kind != model.KindDirectory {
			return
		}
		for dep := range a.dependents[id] {
			switch dep.Kind { //nolint:exhaustive // the others belong to who uses the gateway, or the directory
			case model.KindInterfaceTable, model.KindMTU, model.KindAddress, model.KindAdminUp, model.KindGatewaySocket:
				down(dep)
			}
		}
	}
	up = func(id model.ID) {
		down(id)
		for dep := range a.dependents[id] {
			up(dep)
		}
	}
	for _, id := range roots {
		if _, ok := a.objects[id]; ok {
			up(id)
		}
	}
	return out
}
