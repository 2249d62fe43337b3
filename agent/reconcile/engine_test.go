package reconcile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

func pod(tb testing.TB, name, extra string) Spec {
	tb.Helper()
	return Spec{Objects: withDirs(objects(tb, fmt.Sprintf("directory /%[1]s\nsocket /%[1]s/s\nmemif %[1]s /%[1]s/s\nbridge-domain 5\nbridge-member %[1]s 5\nadmin-up %[1]s\n%[2]s", name, extra)))}
}

// states are the results, one a line as in "a Ready".
func states(results []Result) string {
	lines := make([]string, 0, len(results))
	for _, r := range results {
		line := r.Key + " " + r.State.String()
		if r.Err != nil {
			line += ": " + r.Err.Error()
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func same(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// started is an engine that has adopted an empty world.
func started(t *testing.T, w *world) *Engine {
	t.Helper()
	e := engine(t, w)
	e.Replace(nil)
	if _, err := e.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAddAndRemove(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := started(t, w)
	e.Set("b", pod(t, "b", ""))
	same(t, "first", "b Ready", states(e.Sync(t.Context()).Results))
	w.took()

	e.Set("a", pod(t, "a", ""))
	same(t, "results of one more", "a Ready", states(e.Sync(t.Context()).Results))
	same(t, "operations of one more", "put directory /a\nput socket /a/s\nput memif a\nput bridge-member a\nput admin-up a", w.took())

	e.Remove("b")
	same(t, "results of the removal", "b Gone", states(e.Sync(t.Context()).Results))
	same(t, "operations of the removal", "del memif b\ndel socket /b/s\ndel directory /b", w.took())

	e.Remove("a")
	e.Sync(t.Context())
	same(t, "left", "", w.holds())
	same(t, "a result is reported once", "", states(e.Sync(t.Context()).Results))
}

func TestAdoptsWithoutWrites(t *testing.T) {
	t.Parallel()
	spec := pod(t, "a", "")
	for i, o := range spec.Objects {
		if m, ok := o.(model.Memif); ok {
			m.Secret, m.Dir = model.NewSecret("s3cret"), "/a"
			spec.Objects[i] = m
		}
	}
	w := newWorld(spec.Objects...)
	e := engine(t, w)
	e.Replace(map[string]Spec{"a": spec})
	rep, err := e.Resync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "operations", "", w.took())
	same(t, "results", "a Ready", states(rep.Results))
	if len(rep.Drift) > 0 || !rep.Clean {
		t.Errorf("drift %v, clean %v: want none and true", rep.Drift, rep.Clean)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	w := newWorld(pod(t, "a", "").Objects...)
	e := engine(t, w)
	if _, err := e.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, "before the first snapshot", "", w.took())
	e.Replace(map[string]Spec{"b": pod(t, "b", "")})
	e.Stale()
	e.Sync(t.Context())
	same(t, "with a stale view", "put directory /b\nput socket /b/s\nput memif b\nput bridge-member b\nput admin-up b", w.took())
	e.Replace(map[string]Spec{"b": pod(t, "b", "")})
	e.Sync(t.Context())
	same(t, "with all wishes known", "del memif a\ndel socket /a/s\ndel directory /a", w.took())
}

func TestFailureHoldsUpWhatDependsOnIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		e := started(t, w)
		w.failOn("put memif a")
		e.Set("a", pod(t, "a", ""))
		e.Set("b", pod(t, "b", ""))
		same(t, "results", "a Pending: refused\nb Ready", states(e.Sync(t.Context()).Results))
		for range 5 {
			at, ok := e.NextRetry()
			if !ok {
				t.Fatal("nothing is due")
			}
			time.Sleep(time.Until(at))
			w.took()
			e.Sync(t.Context())
			same(t, "a retry", "put memif a", w.took())
		}
		w.failOn()
		at, _ := e.NextRetry()
		if wait := time.Until(at); wait < 32*minRetry {
			t.Errorf("sixth wait is %v, want %v at least: the back-off doubles", wait, 32*minRetry)
		}
		time.Sleep(time.Until(at))
		same(t, "in the end", "a Ready", states(e.Sync(t.Context()).Results))
		same(t, "operations in the end", "put memif a\nput bridge-member a\nput admin-up a", w.took())
		if at, ok := e.NextRetry(); ok {
			t.Errorf("still due at %v", at)
		}
	})
}

func TestFailedDeleteHoldsUpItsFloor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		e := started(t, w)
		e.Set("a", pod(t, "a", "address a 10.0.0.2/32"))
		e.Sync(t.Context())
		w.took()
		w.failOn("del address a 10.0.0.2/32")
		e.Remove("a")
		same(t, "results", "a Leaving: refused", states(e.Sync(t.Context()).Results))
		same(t, "operations", "del address a 10.0.0.2/32", w.took())
		w.failOn()
		at, _ := e.NextRetry()
		time.Sleep(time.Until(at))
		same(t, "in the end", "a Gone", states(e.Sync(t.Context()).Results))
		same(t, "left", "", w.holds())
	})
}

// TestSharedObjectKeepsNobodyBack: somebody else has an interface in our bridge
// domain when its last attachment goes. The attachment is gone at once, the
// domain when it can.
func TestSharedObjectKeepsNobodyBack(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := started(t, w)
	e.Set("a", pod(t, "a", "bridge-domain 5\nbridge-member a 5"))
	e.Sync(t.Context())
	w.failOn("del bridge-domain 5")
	e.Remove("a")
	same(t, "results", "a Gone", states(e.Sync(t.Context()).Results))
	same(t, "left", "bridge-domain 5", w.holds())
	w.failOn()
	at, ok := e.NextRetry()
	if !ok {
		t.Fatal("the domain is never tried again")
	}
	time.Sleep(time.Until(at))
	e.Sync(t.Context())
	same(t, "left in the end", "", w.holds())
}

func TestTerminalFailureWaitsForAnotherWish(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := started(t, w)
	w.fail = func(op Op) (error, bool) {
		if m, ok := op.Want.(model.Memif); ok && !m.IPMode {
			return errHopeless, false
		}
		return nil, true
	}
	e.Set("a", pod(t, "a", ""))
	same(t, "results", "a Failed: hopeless", states(e.Sync(t.Context()).Results))
	if at, ok := e.NextRetry(); ok {
		t.Errorf("due at %v, want never", at)
	}
	w.took()
	e.Sync(t.Context())
	same(t, "no retry", "", w.took())
	spec := pod(t, "a", "")
	for i, o := range spec.Objects {
		if m, ok := o.(model.Memif); ok {
			m.IPMode = true
			spec.Objects[i] = m
		}
	}
	e.Set("a", spec)
	same(t, "another wish", "a Ready", states(e.Sync(t.Context()).Results))
}

func TestSupersededAddLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := started(t, w)
	w.fail = func(op Op) (error, bool) { // the answer is lost, the effect is not
		if op.String() == "put memif a" {
			return errRefused, true
		}
		return nil, true
	}
	e.Set("a", pod(t, "a", ""))
	e.Sync(t.Context())
	w.failOn()
	e.Remove("a")
	same(t, "results", "a Gone", states(e.Sync(t.Context()).Results))
	same(t, "left", "", w.holds())
}

func TestConflict(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := started(t, w)
	e.Set("z", Spec{Order: 1, Objects: objects(t, "memif z /z\nsocket /z\nroute 10.0.0.9/32 z")})
	e.Set("a", Spec{Order: 2, Objects: objects(t, "memif a /a\nsocket /a\nroute 10.0.0.9/32 a")})
	same(t, "the earlier one has it", "a Conflict: route 0 10.0.0.9/32: attachment z has it otherwise\nz Ready",
		states(e.Sync(t.Context()).Results))
	var conflict *ConflictError
	if r := e.All()[0]; !errors.As(r.Err, &conflict) || conflict.Rival != "z" {
		t.Errorf("error %v: want a ConflictError that names z", r.Err)
	}
	e.Remove("z")
	same(t, "its end gives it free", "a Ready\nz Gone", states(e.Sync(t.Context()).Results))
}

func TestDown(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := started(t, w)
	e.Set("a", pod(t, "a", ""))
	e.Sync(t.Context())
	w.away = true
	e.Set("b", pod(t, "b", ""))
	same(t, "results", "a Pending: away\nb Pending: away", states(e.Sync(t.Context()).Results))
	w.took()
	e.Remove("a")
	same(t, "removed meanwhile", "a Leaving: away\nb Pending: away", states(e.Sync(t.Context()).Results)+"\n"+states(e.All()[1:]))
	same(t, "nothing is tried", "", w.took())
	if _, ok := e.NextRetry(); ok {
		t.Error("a retry is due while the far side is away")
	}
	w.away = false
	w.objects = map[model.ID]model.Object{} // a new VPP
	rep, err := e.Resync(t.Context())
	if err != nil || len(rep.Drift) > 0 {
		t.Errorf("error %v, drift %v: want none", err, rep.Drift)
	}
	same(t, "back", "a Gone\nb Ready", states(rep.Results))
}

func TestUnreadableKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(append(pod(t, "a", "").Objects, pod(t, "b", "").Objects...)...)
	e := engine(t, w)
	e.Replace(map[string]Spec{"a": {Keep: []model.ID{iface("a")}}})
	if _, err := e.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, "operations", "del memif b\ndel socket /b/s\ndel directory /b", w.took())
	e.Remove("a")
	same(t, "removed", "a Gone", states(e.Sync(t.Context()).Results))
	same(t, "left", "", w.holds())
}

func TestDrift(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := started(t, w)
	e.Set("a", pod(t, "a", "mtu a 1500"))
	e.Sync(t.Context())
	mtu := objects(t, "mtu a 9000")[0]
	w.objects[mtu.ID()] = mtu
	delete(w.objects, objects(t, "admin-up a")[0].ID())
	extra := objects(t, "socket /x")[0]
	w.objects[extra.ID()] = extra
	w.took()

	diffs, _, err := e.Drift(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range diffs {
		lines = append(lines, fmt.Sprintf("%s %s %v", d.Op, d.ID, d.Keys))
	}
	same(t, "drift", "del socket /x []\nput mtu a [a]\nput admin-up a [a]", strings.Join(lines, "\n"))
	same(t, "nothing is done", "", w.took())

	rep, err := e.Resync(t.Context())
	if err != nil || len(rep.Drift) != 3 {
		t.Errorf("audit: error %v, drift %v: want the same three", err, rep.Drift)
	}
	same(t, "mended", "del socket /x\nput mtu a\nput admin-up a", w.took())
}

// TestCostOfOne holds a single ADD among many to its own objects.
func TestCostOfOne(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := started(t, w)
	for i := range 2000 {
		e.Set(fmt.Sprint(i), pod(t, fmt.Sprint("p", i), ""))
	}
	e.Sync(t.Context())
	w.took()
	e.Set("a", pod(t, "a", ""))
	rep := e.Sync(t.Context())
	if len(rep.Results) != 1 || len(rep.Ops) != 5 {
		t.Errorf("%d results and %d operations: want 1 and 5", len(rep.Results), len(rep.Ops))
	}
	if rep.Took > 20*time.Millisecond {
		t.Errorf("took %v among 2000", rep.Took)
	}
}
