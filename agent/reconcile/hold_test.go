package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// TestResidue: what an earlier wish has left, and could not be deleted since,
// belongs to the attachment's end.
func TestResidue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		e := started(t, w)
		e.Set("a", pod(t, "a", "directory /x"))
		e.Sync(t.Context())
		w.failOn("del directory /x")
		e.Set("a", pod(t, "a", ""))
		same(t, "after the change", "a Ready", states(e.Sync(t.Context()).Results))
		e.Set("a", pod(t, "a", "mtu a 1500")) // over one more change
		e.Sync(t.Context())
		e.Remove("a")
		same(t, "after the removal", "a Leaving: refused", states(e.Sync(t.Context()).Results))
		w.failOn()
		at, ok := e.NextRetry()
		if !ok {
			t.Fatal("nothing is due")
		}
		time.Sleep(time.Until(at))
		same(t, "in the end", "a Gone", states(e.Sync(t.Context()).Results))
		same(t, "left", "", w.holds())
	})
}

// holder is an engine that holds, with what attachment a has left in the world.
func holder(t *testing.T, all map[string]Spec) (*Engine, *world, Report) {
	t.Helper()
	w := newWorld(pod(t, "a", "mtu a 1500\nsub-interface a.7\nadmin-up a.7").Objects...)
	e, err := New(Options{Workers: 4, Hold: true}, w)
	if err != nil {
		t.Fatal(err)
	}
	e.Replace(all)
	rep, err := e.Resync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e, w, rep
}

func heldBy(e *Engine) string {
	var lines []string
	for _, id := range e.Held() {
		lines = append(lines, id.String())
	}
	return strings.Join(lines, "\n")
}

func memifID(name string) model.ID { return model.ID{Kind: model.KindMemif, Name: name} }

func TestHold(t *testing.T) {
	t.Parallel()
	e, w, rep := holder(t, nil)
	same(t, "held", "memif a", heldBy(e))
	same(t, "operations", "", w.took())
	if len(rep.Drift) > 0 || !rep.Clean {
		t.Errorf("drift %v, clean %t: want none, and true", rep.Drift, rep.Clean)
	}
	e.Set("b", pod(t, "b", ""))
	e.Sync(t.Context())
	e.Remove("b")
	e.Sync(t.Context())
	w.took()
	diffs, held, err := e.Drift(t.Context())
	if err != nil || len(diffs) > 0 || len(held) != 1 {
		t.Errorf("drift %v, held %v, %v: want only a held one", diffs, held, err)
	}
	if _, err := e.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, "operations later", "", w.took())
}

// TestHoldEnds: what ends a hold, before the full pass that finds the interface
// and after it.
func TestHoldEnds(t *testing.T) {
	t.Parallel()
	const gone = "del sub-interface a.7\ndel memif a\ndel socket /a/s\ndel bridge-domain 5\ndel directory /a"
	for name, tc := range map[string]struct {
		end  func(e *Engine)
		want string
	}{
		"a witness": {func(e *Engine) { e.Witness([]model.ID{memifID("a")}) }, gone},
		"a release": {func(e *Engine) { e.Release(memifID("a"), memifID("x")) }, gone},
		"it is wanted": {func(e *Engine) {
			s := pod(t, "a", "mtu a 1500\nsub-interface a.7\nadmin-up a.7")
			s.Names = []model.ID{memifID("a")}
			e.Set("a", s)
		}, ""},
		"it is named, and not wanted": {func(e *Engine) { e.Set("a", Spec{Names: []model.ID{memifID("a")}}) }, gone},
		"its socket is wanted": {
			func(e *Engine) {
				e.Set("n", Spec{Objects: withDirs(objects(t, "directory /a\nsocket /a/s\nmemif n /a/s"))})
			},
			"del sub-interface a.7\ndel memif a\ndel bridge-domain 5\nput memif n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, w, _ := holder(t, nil)
			tc.end(e)
			e.Sync(t.Context())
			same(t, "operations", tc.want, w.took())
			same(t, "held", "", heldBy(e))
			if _, err := e.Resync(t.Context()); err != nil {
				t.Fatal(err)
			}
			same(t, "operations of a full pass", "", w.took())
			same(t, "held after it", "", heldBy(e))
		})
	}
}

// TestReleasedStaysReleased: a release outlives a delete that fails and the full
// passes and witnesses that come between.
func TestReleasedStaysReleased(t *testing.T) {
	t.Parallel()
	e, w, _ := holder(t, nil)
	w.failOn("del memif a")
	e.Release(memifID("a"))
	e.Sync(t.Context())
	e.Witness(nil)
	if _, err := e.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, "held", "", heldBy(e))
	w.failOn()
	if _, err := e.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, "left", "", w.holds())
}

// TestRemovedIsNotHeld: an attachment that was removed before our eyes, and whose
// delete fails, is found by a full pass and is no stranger.
func TestRemovedIsNotHeld(t *testing.T) {
	t.Parallel()
	spec := pod(t, "a", "mtu a 1500\nsub-interface a.7\nadmin-up a.7")
	spec.Names = []model.ID{memifID("a")}
	e, w, _ := holder(t, map[string]Spec{"a": spec})
	w.failOn("del memif a")
	e.Remove("a")
	e.Sync(t.Context())
	if _, err := e.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, "held", "", heldBy(e))
	w.failOn()
	if _, err := e.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, "left", "", w.holds())
}

func TestForgetRemovesNothing(t *testing.T) {
	t.Parallel()
	spec := pod(t, "a", "mtu a 1500\nsub-interface a.7\nadmin-up a.7")
	spec.Names = []model.ID{memifID("a")}
	e, w, _ := holder(t, map[string]Spec{"a": spec})
	e.Forget("a")
	if _, err := e.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, "operations", "", w.took())
	same(t, "held", "memif a", heldBy(e))
}

// TestNamedIsNotHeld: an attachment that wants nothing has its interface under a
// name of its own.
func TestNamedIsNotHeld(t *testing.T) {
	t.Parallel()
	e, w, _ := holder(t, map[string]Spec{"a": {Names: []model.ID{memifID("a")}}})
	same(t, "held", "", heldBy(e))
	same(t, "left", "", w.holds())
}

// TestSocketWantedFromTheStart: the new sandbox is there before the first full
// pass.
func TestSocketWantedFromTheStart(t *testing.T) {
	t.Parallel()
	e, w, _ := holder(t, map[string]Spec{"n": {Objects: withDirs(objects(t, "directory /a\nsocket /a/s\nmemif n /a/s"))}})
	same(t, "held", "", heldBy(e))
	same(t, "there", "directory /a\nsocket /a/s\nmemif n", w.holds())
}

// TestHeldIsNoDrift: an interface that turns up later is held, and told as that.
func TestHeldIsNoDrift(t *testing.T) {
	t.Parallel()
	e, w, _ := holder(t, nil)
	w.mu.Lock()
	for _, o := range pod(t, "b", "mtu b 1400").Objects {
		w.objects[o.ID()] = o
	}
	w.mu.Unlock()
	rep, err := e.Resync(t.Context())
	if err != nil || len(rep.Drift) > 0 || len(rep.Ops) > 0 {
		t.Errorf("drift %v, operations %v, %v: want none", rep.Drift, rep.Ops, err)
	}
	same(t, "held", "memif a\nmemif b", heldBy(e))
}

// TestLeftoverIsNotHeld: an interface whose making was cut short, before it got
// its tag, goes as any other that nobody wants, unless the store has forgotten
// others, too.
func TestLeftoverIsNotHeld(t *testing.T) {
	t.Parallel()
	leftover := model.Memif{Tag: model.LeftoverTag("x"), Socket: "/run/x"}
	for name, tc := range map[string]struct {
		others string
		want   string
	}{
		"alone":        {"", ""},
		"with another": {"mtu a 1500", "memif a\nmemif vpp-cni/:untagged/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var there []model.Object
			if tc.others != "" {
				there = pod(t, "a", tc.others).Objects
			}
			w := newWorld(append(there, leftover)...)
			e, err := New(Options{Workers: 4, Hold: true}, w)
			if err != nil {
				t.Fatal(err)
			}
			e.Replace(nil)
			if _, err := e.Resync(t.Context()); err != nil {
				t.Fatal(err)
			}
			same(t, "held", tc.want, heldBy(e))
			if left := w.holds(); strings.Contains(left, "untagged") != (tc.want != "") {
				t.Errorf("left in VPP:\n%s", left)
			}
		})
	}
}
