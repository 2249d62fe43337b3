package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// batchWorld is a world that takes batches.
type batchWorld struct {
	*world
	mu    sync.Mutex
	sizes []int
	// running and most are the batches under way, and most of them at once.
	running, most atomic.Int32
	// before is called with every batch before it is carried out.
	before func(want []model.Object)
}

func (b *batchWorld) PutAll(ctx context.Context, want, have []model.Object) []error {
	now := b.running.Add(1)
	defer b.running.Add(-1)
	b.mu.Lock()
	b.most.Store(max(now, b.most.Load()))
	b.sizes = append(b.sizes, len(want))
	b.mu.Unlock()
	if b.before != nil {
		b.before(want)
	}
	errs := make([]error, len(want))
	for n := range want {
		errs[n] = b.Put(ctx, want[n], have[n])
	}
	return errs
}

func startedInBatches(t *testing.T, pods ...string) (*Engine, *batchWorld) {
	t.Helper()
	w := &batchWorld{world: newWorld()}
	e := engine(t, w)
	all := map[string]Spec{}
	for _, name := range pods {
		all[name] = pod(t, name, "")
	}
	e.Replace(all)
	return e, w
}

// A phase is put in batches of half the workers, two at a time, and deletes and
// single puts are not.
func TestBatches(t *testing.T) {
	t.Parallel()
	e, w := startedInBatches(t, "a", "b", "c", "d", "e")
	var together sync.WaitGroup
	together.Add(abreast)
	var seen atomic.Int32
	w.before = func([]model.Object) {
		if seen.Add(1) <= abreast { // the first two meet
			together.Done()
			together.Wait()
		}
		time.Sleep(time.Millisecond) // a third would meet them too
	}
	rep, err := e.Resync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "results", "a Ready\nb Ready\nc Ready\nd Ready\ne Ready", states(rep.Results))
	// Directories, sockets, memifs, members and admin-ups of five pods, and one
	// bridge domain, with four workers.
	w.mu.Lock()
	if got := len(w.sizes); got != 5*3 || w.most.Load() != abreast {
		t.Errorf("batches of %v, %d at once; want 15, %d at once", w.sizes, w.most.Load(), abreast)
	}
	for _, n := range w.sizes {
		if n > 2 {
			t.Errorf("a batch of %d", n)
		}
	}
	w.sizes = nil
	w.mu.Unlock()
	for _, a := range rep.Ops {
		if a.Err != nil || a.Took < 0 {
			t.Errorf("%s: took %v, %v", a.Op, a.Took, a.Err)
		}
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		e.Remove(name)
	}
	e.Sync(t.Context())
	e.Set("a", pod(t, "a", ""))
	e.Sync(t.Context())
	if len(w.sizes) != 0 {
		t.Errorf("batches of %v for deletes and single puts", w.sizes)
	}
	for _, err := range w.broke {
		t.Error(err)
	}
}

// In a batch each object has its own end: what was refused is tried again alone,
// and holds up only what stands on it.
func TestBatchErrorsAreTheirObjects(t *testing.T) {
	t.Parallel()
	e, w := startedInBatches(t, "a", "b", "c")
	w.failOn("put socket /b/s")
	rep, err := e.Resync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "results", "a Ready\nb Pending: refused\nc Ready", states(rep.Results))
	for _, a := range rep.Ops {
		if refused := a.String() == "put socket /b/s"; refused != errors.Is(a.Err, errRefused) {
			t.Errorf("%s: %v", a.Op, a.Err)
		}
	}
	if log := w.took(); strings.Contains(log, "put memif b") || strings.Contains(log, "put admin-up b") {
		t.Errorf("what stands on the refused socket was put:\n%s", log)
	}
	w.failOn()
	e.retries.now = func() time.Time { return time.Now().Add(time.Hour) }
	same(t, "results of the next pass", "b Ready", states(e.Sync(t.Context()).Results))
	same(t, "operations of the next pass", "put socket /b/s\nput memif b\nput bridge-member b\nput admin-up b", w.took())
	for _, err := range w.broke {
		t.Error(err)
	}
}

// A pass that is broken off begins no batch, and the next one has all that it
// has left.
func TestBatchOfBrokenOffPass(t *testing.T) {
	t.Parallel()
	e, w := startedInBatches(t, "a", "b", "c", "d", "e")
	ctx, cancel := context.WithCancel(t.Context())
	w.before = func(want []model.Object) {
		if want[0].ID().Kind == model.KindMemif {
			cancel()
		}
	}
	if _, err := e.Resync(ctx); err != nil {
		t.Fatal(err)
	}
	begun := strings.Count(w.took(), "put memif")
	if begun == 0 || begun > 2*abreast {
		t.Errorf("%d memifs were begun, want those of the batches that ran", begun)
	}
	w.before = nil
	e.Sync(t.Context())
	same(t, "results", "a Ready\nb Ready\nc Ready\nd Ready\ne Ready", states(e.All()))
	for _, err := range w.broke {
		t.Error(err)
	}
}

// Where the far side goes away under a batch no other one is begun, and all of
// it is put when it is back.
func TestBatchOfDriverThatGoesAway(t *testing.T) {
	t.Parallel()
	var pods []string
	for n := range 20 {
		pods = append(pods, fmt.Sprintf("p%02d", n))
	}
	e, w := startedInBatches(t, pods...)
	w.before = func(want []model.Object) {
		if want[0].ID().Kind == model.KindMemif {
			w.world.mu.Lock()
			w.away = true
			w.world.mu.Unlock()
		}
	}
	rep, err := e.Resync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tried := strings.Count(w.took(), "put memif")
	if tried == 0 || tried > 2*abreast {
		t.Errorf("%d memifs were tried, want those of the batches that ran", tried)
	}
	for _, r := range rep.Results {
		if r.State != Pending || !r.Away {
			t.Errorf("%+v, want pending while the driver is away", r)
		}
	}
	w.before, w.away = nil, false
	if rep, err = e.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range rep.Results {
		if r.State != Ready {
			t.Errorf("%+v, want ready", r)
		}
	}
	for _, err := range w.broke {
		t.Error(err)
	}
}
