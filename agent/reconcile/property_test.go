package reconcile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

var (
	errDiverged  = errors.New("broke Converges: what is there is not what is wanted")
	errEarly     = errors.New("broke InSyncGate: a delete while wishes are not all known")
	errFalse     = errors.New("broke ResultTruth: a result does not say what is there")
	errRestless  = errors.New("broke Quiet: operations where nothing is to be done")
	errForgotten = errors.New("broke Farewell: a removed attachment was never reported gone")
)

// random draws what one attachment wants. Attachments share bridge domains,
// tables' routes and the objects of a pod's directory.
func random(t *rapid.T, name string) Spec {
	lines := []string{"directory /p", "socket /p/" + name}
	memif := "memif " + name + " /p/" + name
	if rapid.Bool().Draw(t, "ip") {
		memif += " ip"
	}
	lines = append(lines, memif, "admin-up "+name)
	if rapid.Bool().Draw(t, "bridged") {
		member, bd := name, rapid.IntRange(1, 3).Draw(t, "bd")
		lines = append(lines, fmt.Sprint("bridge-domain ", bd))
		if rapid.Bool().Draw(t, "tagged") {
			member = name + ".7"
			lines = append(lines, "sub-interface "+member, "admin-up "+member)
		}
		lines = append(lines, fmt.Sprint("bridge-member ", member, " ", bd))
	}
	if rapid.Bool().Draw(t, "mtu") {
		lines = append(lines, fmt.Sprint("mtu ", name, " ", rapid.IntRange(1500, 1502).Draw(t, "bytes")))
	}
	for range rapid.IntRange(0, 2).Draw(t, "addresses") {
		lines = append(lines, fmt.Sprintf("address %s 10.0.0.%d/32", name, rapid.IntRange(1, 4).Draw(t, "address")))
	}
	if rapid.Bool().Draw(t, "routed") {
		lines = append(lines, fmt.Sprintf("route 10.9.0.%d/32 %s", rapid.IntRange(1, 3).Draw(t, "route"), name))
	}
	slices.Sort(lines)
	text := strings.Join(slices.Compact(lines), "\n")
	var out []model.Object
	for line := range strings.Lines(text) {
		o, err := object(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
	}
	return Spec{Order: int64(rapid.IntRange(1, 3).Draw(t, "order")), Objects: inDirectories(out)}
}

// machine drives an engine and a world at random and holds both to the
// invariants.
type machine struct {
	e      *Engine
	w      *world
	wanted map[string]Spec
	// gone are removed attachments that no result has called gone yet.
	gone     map[string]bool
	complete bool
	clock    time.Time
}

func newMachine(t *rapid.T) *machine {
	m := &machine{w: newWorld(), wanted: map[string]Spec{}, gone: map[string]bool{}}
	for i := range rapid.IntRange(0, 3).Draw(t, "left behind") {
		for _, o := range random(t, fmt.Sprint("old", i)).Objects {
			m.w.objects[o.ID()] = o
		}
	}
	for _, name := range []string{"foreign", "a.9"} {
		id := iface(name)
		m.w.foreign[id] = model.Memif{Tag: model.Tag(name)}
	}
	var driver Driver = m.w
	if rapid.Bool().Draw(t, "in batches") {
		driver = &batchWorld{world: m.w}
	}
	var err error
	if m.e, err = New(Options{Workers: 3, Down: func(err error) bool { return errors.Is(err, errAway) }}, driver); err != nil {
		t.Fatal(err)
	}
	m.clock = time.Unix(1, 0)
	m.e.retries.now = func() time.Time { return m.clock }
	return m
}

func (m *machine) wait(t *rapid.T) {
	m.clock = m.clock.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "seconds")) * time.Second)
}

func (m *machine) set(t *rapid.T) {
	key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
	spec := random(t, key)
	m.wanted[key] = spec
	delete(m.gone, key)
	m.e.Set(key, spec)
}

func (m *machine) remove(t *rapid.T) {
	key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
	if _, ok := m.wanted[key]; ok {
		m.gone[key] = true
	}
	delete(m.wanted, key)
	m.e.Remove(key)
}

func (m *machine) snapshot(*rapid.T) {
	m.complete = true
	m.e.Replace(maps.Clone(m.wanted))
}

func (m *machine) stale(*rapid.T) {
	m.complete = false
	m.e.Stale()
}

func (m *machine) sync(t *rapid.T) {
	before := len(m.w.log)
	rep := m.e.Sync(t.Context())
	m.check(t, before, rep)
}

func (m *machine) resync(t *rapid.T) {
	before := len(m.w.log)
	rep, err := m.e.Resync(t.Context())
	if err != nil && !m.w.away {
		t.Fatal(err)
	}
	m.check(t, before, rep)
}

func (m *machine) check(t *rapid.T, before int, rep Report) {
	for _, op := range m.w.log[before:] {
		if op.Verb == Delete && !m.complete {
			t.Fatalf("%s: %v", op, errEarly)
		}
	}
	if err := errors.Join(m.w.broke...); err != nil {
		t.Fatal(err)
	}
	for _, r := range rep.Results {
		if r.State == Gone {
			delete(m.gone, r.Key)
		}
		if r.State != Ready || m.w.away {
			continue
		}
		for _, o := range m.wanted[r.Key].Objects {
			if have, ok := m.w.objects[o.ID()]; !ok || o.Compare(have) != model.Same {
				t.Fatalf("%s is called Ready without %s: %v", r.Key, o.ID(), errFalse)
			}
		}
	}
}

// edit is a change by somebody else that was told of, as by a dump; what nobody
// tells of is for Resync.
func (m *machine) edit(t *rapid.T) {
	var ids []model.ID
	for id := range m.w.objects {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return
	}
	slices.SortFunc(ids, compareIDs)
	id := rapid.SampledFrom(ids).Draw(t, "victim")
	for _, o := range m.w.objects { // VPP does not delete under others either
		if slices.Contains(o.Deps(), id) {
			return
		}
	}
	delete(m.w.objects, id)
	m.e.actual.remove(id)
}

func (m *machine) away(*rapid.T) {
	m.w.away = true
	m.e.Down(m.w, errAway)
}

func (m *machine) restart(t *rapid.T) {
	m.w.away = false
	if rapid.Bool().Draw(t, "new VPP") {
		for id := range m.w.objects {
			if id.Kind != model.KindDirectory {
				delete(m.w.objects, id)
			}
		}
	}
	m.e.Down(m.w, errAway)
	m.resync(t)
}

func (m *machine) faults(t *rapid.T) {
	percent := rapid.IntRange(0, 60).Draw(t, "percent")
	seed := uint64(rapid.IntRange(1, 1<<30).Draw(t, "seed"))
	m.w.fail = func(Op) (error, bool) {
		seed = seed*6364136223846793005 + 1442695040888963407
		if int(seed>>33)%100 >= percent {
			return nil, true
		}
		return errRefused, seed>>62 == 0
	}
}

// rest lets everything heal and holds the end to what is wanted.
func (m *machine) rest(t *rapid.T) {
	m.w.fail, m.w.away = nil, false
	m.snapshot(t)
	m.resync(t)
	for range 1000 {
		at, ok := m.e.NextRetry()
		if !ok {
			break
		}
		m.clock = at
		m.sync(t)
	}
	m.sync(t)
	want := newWanted()
	for key, spec := range m.wanted {
		for _, o := range spec.Objects {
			want.add(claim{key: key, order: spec.Order, object: o})
		}
	}
	for id := range want.claims {
		have, ok := m.w.objects[id]
		if !ok && m.blockedByConflict(want, id) {
			continue
		}
		if !ok || want.object(id).Compare(have) != model.Same {
			t.Fatalf("%s is %v, want %v: %v", id, have, want.object(id), errDiverged)
		}
	}
	for id := range m.w.objects {
		if want.object(id) == nil {
			t.Fatalf("%s is there and nobody wants it: %v", id, errDiverged)
		}
	}
	if len(m.gone) > 0 {
		t.Fatalf("%v: %v", slices.Sorted(maps.Keys(m.gone)), errForgotten)
	}
	before := len(m.w.log)
	m.resync(t)
	if more := m.w.log[before:]; len(more) > 0 {
		t.Fatalf("%s: %v", more, errRestless)
	}
}

// blockedByConflict says whether id stands on something that it cannot have,
// since another attachment has it otherwise.
func (m *machine) blockedByConflict(want wanted, id model.ID) bool {
	for _, dep := range want.object(id).Deps() {
		if want.object(dep) == nil {
			return true
		}
	}
	return false
}

func TestConverges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		t.Repeat(map[string]func(*rapid.T){
			"set": m.set, "remove": m.remove, "snapshot": m.snapshot, "stale": m.stale,
			"sync": m.sync, "resync": m.resync, "edit": m.edit, "away": m.away, "restart": m.restart, "faults": m.faults, "wait": m.wait,
		})
		m.rest(t)
	})
}
