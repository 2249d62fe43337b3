package reconcile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// Options set up an Engine.
type Options struct {
	// Workers is how many operations of one phase run at a time; 0 means 256,
	// with which VPP 25.10 is kept busy.
	Workers int
	// Terminal says that an error will not go away by itself. Nil: none is.
	Terminal func(error) bool
	// Down says that an error means that the driver's far side is away. All of
	// that driver's objects then wait for the next Resync. Nil: none does.
	Down func(error) bool
	// Hold keeps attachments' interfaces that are nobody's: see Engine.Witness.
	Hold bool
}

// ErrNotRead is why nothing is written through a driver before its first dump.
var ErrNotRead = errors.New("what is there has not been read yet")

// side is a driver and whether we know what it holds.
type side struct {
	driver Driver
	// away is nil while what the driver holds is known.
	away error
}

// attachment is one attachment's part in what is wanted.
type attachment struct {
	spec Spec
	// ids are the objects that it wants.
	ids map[model.ID]struct{}
	// residue are objects of earlier wishes that were still there when the wish
	// changed.
	residue map[model.ID]struct{}
}

// Engine makes what is there equal to what attachments want. All methods may be
// called at any time; passes (Sync, Resync, Drift) run one after the other.
type Engine struct {
	opts  Options
	sides []*side
	of    map[model.Kind]*side

	pass sync.Mutex // held through a pass

	mu          sync.Mutex // guards what follows
	attachments map[string]*attachment
	wanted      wanted
	actual      actual
	retries     retries
	// complete is false until all of what is wanted is known, and while that
	// knowledge is stale.
	complete bool
	// dirty objects are looked at in the next pass.
	dirty map[model.ID]struct{}
	// waiting objects could not be handled because of another one.
	waiting map[model.ID]model.ID
	// leaving are the objects that removed attachments leave behind; leavers are
	// those attachments by object.
	leaving map[string]map[model.ID]struct{}
	leavers map[model.ID]map[string]struct{}
	// keeps are the objects that attachments name in Spec.Keep.
	keeps map[string][]model.ID
	holds holds
	// touched attachments may have another result than last reported.
	touched map[string]struct{}
}

// New returns an engine that reads and writes through drivers. No two of them
// may have a kind in common.
func New(opts Options, drivers ...Driver) (*Engine, error) {
	if opts.Workers <= 0 {
		opts.Workers = 256
	}
	never := func(error) bool { return false }
	if opts.Terminal == nil {
		opts.Terminal = never
	}
	if opts.Down == nil {
		opts.Down = never
	}
	e := &Engine{
		opts: opts, of: map[model.Kind]*side{},
		attachments: map[string]*attachment{}, wanted: newWanted(), actual: newActual(), retries: newRetries(),
		dirty: map[model.ID]struct{}{}, waiting: map[model.ID]model.ID{},
		leaving: map[string]map[model.ID]struct{}{}, leavers: map[model.ID]map[string]struct{}{},
		keeps: map[string][]model.ID{}, holds: newHolds(), touched: map[string]struct{}{},
	}
	for _, d := range drivers {
		s := &side{driver: d, away: ErrNotRead}
		e.sides = append(e.sides, s)
		for _, k := range d.Kinds() {
			if e.of[k] != nil {
				return nil, fmt.Errorf("two drivers for kind %s", k)
			}
			e.of[k] = s
		}
	}
	return e, nil
}

// Set says what the attachment key wants from now on. It acts in the next pass.
func (e *Engine) Set(key string, spec Spec) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.set(key, spec)
}

// Remove says that the attachment key is not wanted any more.
func (e *Engine) Remove(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.remove(key)
}

// Replace says what all attachments want: those not in all are removed. From
// then on objects that nobody wants are deleted.
func (e *Engine) Replace(all map[string]Spec) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key := range e.attachments {
		if _, ok := all[key]; !ok {
			e.remove(key)
		}
	}
	for key, spec := range all {
		e.set(key, spec)
	}
	if !e.complete {
		e.complete = true
		for id := range e.actual.objects {
			e.dirty[id] = struct{}{}
		}
	}
}

// Stale says that what is wanted may have changed unseen: nothing is deleted
// until the next Replace.
func (e *Engine) Stale() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.complete = false
}

// Down says that the far side of driver is away, and why. Nothing is known of
// its objects until the next Resync.
func (e *Engine) Down(driver Driver, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.sides {
		if s.driver == driver {
			e.away(s, why)
		}
	}
}

// Away says whether nothing is known of driver's objects.
func (e *Engine) Away(driver Driver) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.sides, func(s *side) bool { return s.driver == driver && s.away != nil })
}

// AsWanted says whether what is known to be there under id is what is wanted.
func (e *Engine) AsWanted(id model.ID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.of[id.Kind]; s == nil || s.away != nil {
		return false
	}
	want := e.wanted.object(id)
	if want == nil {
		_, there := e.actual.objects[id]
		return !there
	}
	return e.actual.is(want)
}

// NextRetry is when the next object is due for another attempt.
func (e *Engine) NextRetry() (time.Time, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.retries.next()
}

func (e *Engine) set(key string, spec Spec) {
	old := e.attachments[key]
	if old != nil && old.spec.equal(spec) {
		e.touched[key] = struct{}{}
		return
	}
	now := &attachment{spec: spec, ids: make(map[model.ID]struct{}, len(spec.Objects)), residue: e.back(key)}
	e.attachments[key] = now
	e.touched[key] = struct{}{}
	if old != nil {
		for id := range old.ids {
			e.unclaim(key, old.spec.Order, id)
		}
		now.residue = e.leftBy(old, now.residue)
		e.unname(old.spec)
	}
	e.name(spec)
	delete(e.keeps, key)
	if len(spec.Keep) > 0 {
		e.keeps[key] = spec.Keep
	}
	for _, o := range spec.Objects {
		e.claim(claim{key: key, order: spec.Order, object: o})
		now.ids[o.ID()] = struct{}{}
		e.unhold(o.ID())
		e.usurp(o)
	}
}

func (e *Engine) remove(key string) {
	old := e.attachments[key]
	if old == nil {
		return
	}
	for id := range old.ids {
		e.unclaim(key, old.spec.Order, id)
	}
	left := e.leftBy(old, nil)
	for id := range old.ids {
		left[id] = struct{}{} // there or not: a driver that is away does not tell
	}
	e.unname(old.spec)
	delete(e.attachments, key)
	delete(e.keeps, key)
	e.leaving[key] = left
	for id := range left {
		if e.leavers[id] == nil {
			e.leavers[id] = map[string]struct{}{}
		}
		e.leavers[id][key] = struct{}{}
	}
	e.touched[key] = struct{}{}
}

// leftBy adds to left what is there of an attachment's earlier wishes, and
// marks it for the next pass.
func (e *Engine) leftBy(old *attachment, left map[model.ID]struct{}) map[model.ID]struct{} {
	if left == nil {
		left = map[model.ID]struct{}{}
	}
	for _, ids := range []map[model.ID]struct{}{old.ids, old.residue, kept(e.actual, old.spec.Keep)} {
		for id := range ids {
			if _, there := e.actual.objects[id]; there {
				left[id] = struct{}{}
				e.dirty[id] = struct{}{}
			}
		}
	}
	return left
}

// back ends the leaving of an attachment and returns what it had left.
func (e *Engine) back(key string) map[model.ID]struct{} {
	left := e.leaving[key]
	delete(e.leaving, key)
	for id := range left {
		delete(e.leavers[id], key)
		if len(e.leavers[id]) == 0 {
			delete(e.leavers, id)
		}
	}
	return left
}

func (e *Engine) claim(c claim) {
	id := c.object.ID()
	if _, twice := e.attachments[c.key].ids[id]; twice {
		return
	}
	before := e.wanted.object(id)
	e.wanted.add(c)
	e.changed(id, before)
}

func (e *Engine) unclaim(key string, order int64, id model.ID) {
	before := e.wanted.object(id)
	e.wanted.remove(key, order, id)
	e.changed(id, before)
}

// changed marks id for the next pass. Another wish than before makes an end to
// the back-off and moves the results of all who share the object.
func (e *Engine) changed(id model.ID, before model.Object) {
	e.dirty[id] = struct{}{}
	if now := e.wanted.object(id); now != before {
		e.retries.forget(id)
		if before != nil && now != nil {
			e.touch(id)
		}
	}
}

// touch marks all attachments whose result may depend on id.
func (e *Engine) touch(id model.ID) {
	for _, c := range e.wanted.claims[id] {
		e.touched[c.key] = struct{}{}
	}
	for key := range e.leavers[id] {
		e.touched[key] = struct{}{}
	}
}

// away notes that a driver's objects are unknown from now on.
func (e *Engine) away(s *side, why error) {
	s.away = why
	for id := range e.retries.failed {
		if e.of[id.Kind] == s {
			e.retries.forget(id)
		}
	}
	e.touchAll()
}

func (e *Engine) touchAll() {
	for key := range e.attachments {
		e.touched[key] = struct{}{}
	}
	for key := range e.leaving {
		e.touched[key] = struct{}{}
	}
}

// known says whether all drivers' objects are known.
func (e *Engine) known() bool {
	for _, s := range e.sides {
		if s.away != nil {
			return false
		}
	}
	return true
}

// roots are what the attachments that cannot be understood keep, and what is
// held.
func (e *Engine) roots() []model.ID {
	out := slices.Collect(maps.Keys(e.holds.held))
	for _, ids := range e.keeps {
		out = append(out, ids...)
	}
	return out
}
