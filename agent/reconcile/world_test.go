package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// objects reads one object a line, in the form of the names that IDs print:
//
//	directory /d
//	socket /d/a.memif
//	memif a /d/a.memif [ip]
//	sub-interface a.7
//	bridge-domain 5
//	bridge-member a 5
//	address a 10.0.0.2/32
//	route 10.0.0.9/32 a
//	mtu a 1500
//	admin-up a
func objects(tb testing.TB, text string) []model.Object {
	tb.Helper()
	var out []model.Object
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		o, err := object(f)
		if err != nil {
			tb.Fatalf("line %q: %v", line, err)
		}
		out = append(out, o)
	}
	return out
}

func object(f []string) (model.Object, error) {
	n := 0
	if len(f) > 2 {
		n, _ = strconv.Atoi(f[2])
	}
	switch f[0] {
	case "directory":
		return model.Directory{Path: f[1]}, nil
	case "socket":
		return model.Socket{Path: f[1]}, nil
	case "memif":
		return model.Memif{Tag: model.Tag(f[1]), Socket: f[2], IPMode: len(f) > 3}, nil
	case "sub-interface":
		parent, vlan, _ := strings.Cut(f[1], ".")
		id, err := strconv.Atoi(vlan)
		return model.SubInterface{Tag: model.Tag(f[1]), Parent: iface(parent), VLAN: uint16(id), Popped: true}, err
	case "bridge-domain":
		id, err := strconv.Atoi(f[1])
		return model.BridgeDomain{DomainID: uint32(id)}, err
	case "bridge-member":
		return model.BridgeMember{Interface: iface(f[1]), DomainID: uint32(n)}, nil
	case "address":
		p, err := netip.ParsePrefix(f[2])
		return model.Address{Interface: iface(f[1]), Prefix: p}, err
	case "route":
		p, err := netip.ParsePrefix(f[1])
		return model.Route{Prefix: p, Interface: iface(f[2])}, err
	case "mtu":
		return model.MTU{Interface: iface(f[1]), Bytes: uint32(n)}, nil
	case "admin-up":
		return model.AdminUp{Interface: iface(f[1])}, nil
	}
	return nil, fmt.Errorf("no such kind")
}

func iface(name string) model.ID {
	if strings.Contains(name, ".") {
		return model.ID{Kind: model.KindSubInterface, Name: name}
	}
	return model.ID{Kind: model.KindMemif, Name: name}
}

var (
	errHeldUp  = errors.New("broke DependentsFirst: something stands on it")
	errNoFloor = errors.New("broke DepsFirst: what it stands on is not there")
	errForeign = errors.New("broke NoForeignTouch: it is not ours")
	errRefused = errors.New("refused")
	errAway    = errors.New("away")
)

// world is a driver of all kinds that is as strict as VPP about order. It lists
// what is ours only.
type world struct {
	mu      sync.Mutex
	objects map[model.ID]model.Object
	foreign map[model.ID]model.Object
	// fail decides an operation's fate: an error, and whether it has its effect
	// all the same.
	fail func(Op) (err error, effect bool)
	log  Plan
	// broke are the invariants that were broken.
	broke []error
	away  bool
	kinds []model.Kind
}

func newWorld(objects ...model.Object) *world {
	w := &world{objects: map[model.ID]model.Object{}, foreign: map[model.ID]model.Object{}, kinds: model.Kinds()}
	for _, o := range objects {
		w.objects[o.ID()] = o
	}
	return w
}

func (w *world) Kinds() []model.Kind { return w.kinds }

func (w *world) Dump(context.Context) ([]model.Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, errAway
	}
	out := make([]model.Object, 0, len(w.objects))
	for _, o := range w.objects {
		if m, ok := o.(model.Memif); ok { // as VPP: it shows neither, but a mark
			_, m.Mark = model.ParseLabel(model.Label(m))
			m.Secret, m.Dir = model.Secret{}, ""
			o = m
		}
		out = append(out, o)
	}
	return out, nil
}

func (w *world) Put(ctx context.Context, want, have model.Object) error {
	return w.do(ctx, Op{Verb: Put, ID: want.ID(), Want: want, Have: have})
}

func (w *world) Delete(ctx context.Context, have model.Object) error {
	return w.do(ctx, Op{Verb: Delete, ID: have.ID(), Have: have})
}

func (w *world) do(ctx context.Context, op Op) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, op)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if w.away {
		return errAway
	}
	if _, foreign := w.foreign[op.ID]; foreign {
		w.broke = append(w.broke, fmt.Errorf("%s: %w", op, errForeign))
	}
	err, effect := error(nil), true
	if w.fail != nil {
		err, effect = w.fail(op)
	}
	if err != nil && !effect {
		return err
	}
	if op.Verb == Delete {
		w.del(op)
	} else {
		w.put(op)
	}
	return err
}

func (w *world) put(op Op) {
	for _, dep := range op.Want.Deps() {
		if _, ok := w.objects[dep]; !ok {
			w.broke = append(w.broke, fmt.Errorf("%s without %s: %w", op, dep, errNoFloor))
			return
		}
	}
	if have, ok := w.objects[op.ID]; ok && op.Want.Compare(have) == model.Replace {
		w.broke = append(w.broke, fmt.Errorf("%s over %v: it must be deleted first", op, have))
		return
	}
	w.objects[op.ID] = op.Want
}

func (w *world) del(op Op) {
	for id, o := range w.objects {
		if slices.Contains(o.Deps(), op.ID) && !o.FallsWith(op.ID) {
			w.broke = append(w.broke, fmt.Errorf("%s under %s: %w", op, id, errHeldUp))
			return
		}
	}
	w.remove(op.ID)
}

func (w *world) remove(id model.ID) {
	delete(w.objects, id)
	for dep, o := range w.objects {
		if slices.Contains(o.Deps(), id) && o.FallsWith(id) {
			w.remove(dep)
		}
	}
}

// holds is what is there, one ID a line in order.
func (w *world) holds() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := map[model.ID]struct{}{}
	for id := range w.objects {
		ids[id] = struct{}{}
	}
	var lines []string
	for _, id := range sortIDs(ids) {
		lines = append(lines, id.String())
	}
	return strings.Join(lines, "\n")
}

// took is what was done since the last call, one operation a line.
func (w *world) took() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.log.String()
	w.log = nil
	return out
}

func (w *world) failOn(ops ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = func(op Op) (error, bool) {
		if slices.Contains(ops, op.String()) {
			return errRefused, false
		}
		return nil, true
	}
}

func engine(tb testing.TB, drivers ...Driver) *Engine {
	tb.Helper()
	e, err := New(Options{
		Workers:  4,
		Terminal: func(err error) bool { return errors.Is(err, errHopeless) },
		Down:     func(err error) bool { return errors.Is(err, errAway) },
	}, drivers...)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

var errHopeless = errors.New("hopeless")
