package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// incarnation is a watch: an id can be used again when its watch was canceled.
type incarnation struct {
	id   int64
	life int
}

// watcher is a client's end of a watch stream, which keeps what it hears.
type watcher struct {
	t      *testing.T
	stream etcdserverpb.Watch_WatchClient
	made   int
	events int

	mu sync.Mutex
	// heard are the answers of each watch, in their order; control are those that
	// create and cancel.
	heard    map[incarnation][]*etcdserverpb.WatchResponse
	lives    map[int64]int
	control  []*etcdserverpb.WatchResponse
	progress int
	err      error
}

func newWatcher(t *testing.T, conn *grpc.ClientConn) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := etcdserverpb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{t: t, stream: stream, heard: map[incarnation][]*etcdserverpb.WatchResponse{}, lives: map[int64]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			resp, err := stream.Recv()
			if err != nil {
				w.mu.Lock()
				w.err = err
				w.mu.Unlock()
				return
			}
			w.hear(resp)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

func (w *watcher) hear(resp *etcdserverpb.WatchResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if resp.Created {
		w.lives[resp.WatchId]++
	}
	of := incarnation{resp.WatchId, w.lives[resp.WatchId]}
	switch {
	case resp.Created || resp.Canceled:
		w.control = append(w.control, resp)
	case len(resp.Events) == 0:
		w.progress++
	default:
		w.events += len(resp.Events)
		w.heard[of] = append(w.heard[of], resp)
	}
}

func (w *watcher) send(r *etcdserverpb.WatchRequest) {
	w.t.Helper()
	if err := w.stream.Send(r); err != nil {
		w.t.Fatal(err)
	}
}

// await waits until get says so.
func (w *watcher) await(what string, get func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		w.mu.Lock()
		ok, err := get(), w.err
		w.mu.Unlock()
		if ok {
			return
		}
		if err != nil {
			w.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatalf("%s: nothing came", what)
}

// controlled waits for the answer to a request that is always answered.
func (w *watcher) controlled(r *etcdserverpb.WatchRequest) *etcdserverpb.WatchResponse {
	w.t.Helper()
	w.mu.Lock()
	before := len(w.control)
	w.mu.Unlock()
	w.send(r)
	w.await(r.String(), func() bool { return len(w.control) > before })
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control[before]
}

// synced waits until the server says that all watches have seen everything. etcd
// does not answer while one of them has not.
func (w *watcher) synced() {
	w.t.Helper()
	w.mu.Lock()
	before := w.progress
	w.mu.Unlock()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		w.send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_ProgressRequest{ProgressRequest: &etcdserverpb.WatchProgressRequest{}}})
		for range 50 {
			w.mu.Lock()
			ok := w.progress > before
			w.mu.Unlock()
			if ok {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	w.t.Fatal("no progress is told")
}

// watchStep makes or cancels a watch in both.
func (tw *twins) watchStep() {
	if tw.rnd.IntN(4) == 0 && tw.watchGW.made > 0 {
		tw.sameEvents()
		id := tw.rnd.Int64N(int64(tw.watchGW.made))
		if id == 0 {
			return // the one that is always there, so that progress is told
		}
		cancel := &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CancelRequest{CancelRequest: &etcdserverpb.WatchCancelRequest{WatchId: id}}}
		tw.watchGW.send(cancel)
		tw.watchPlain.send(cancel)
		tw.sameControl()
		return
	}
	r := &etcdserverpb.WatchCreateRequest{
		StartRevision: some(tw.rnd, tw.rev), ProgressNotify: tw.rnd.IntN(2) == 0, PrevKv: tw.rnd.IntN(2) == 0, Fragment: tw.rnd.IntN(4) == 0,
		WatchId: pick[int64](tw.rnd, 0, 0, 0, 3, 1000+tw.rnd.Int64N(3)),
	}
	if r.StartRevision >= int64(len(tw.revs)) { // no progress is told while one has not begun
		r.StartRevision = pick[int64](tw.rnd, -1, int64(len(tw.revs))-1)
	}
	if tw.rnd.IntN(10) != 0 {
		r.Key, r.RangeEnd = tw.span()
	} else {
		r.RangeEnd = []byte{0}
	}
	for f := range etcdserverpb.WatchCreateRequest_FilterType_name {
		if tw.rnd.IntN(5) == 0 {
			r.Filters = append(r.Filters, etcdserverpb.WatchCreateRequest_FilterType(f))
		}
	}
	if tw.watchGW.made == 0 {
		r = &etcdserverpb.WatchCreateRequest{RangeEnd: []byte{0}}
	}
	mapped := &etcdserverpb.WatchCreateRequest{
		Key: r.Key, RangeEnd: r.RangeEnd, StartRevision: tw.big(r.StartRevision), ProgressNotify: r.ProgressNotify, PrevKv: r.PrevKv,
		Fragment: r.Fragment, WatchId: r.WatchId, Filters: r.Filters,
	}
	a := tw.watchGW.controlled(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: mapped}})
	b := tw.watchPlain.controlled(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: r}})
	if diff := cmp.Diff(controlText(b, func(r int64) int64 { return r }), controlText(a, tw.small)); diff != "" {
		tw.t.Fatalf("watch %v (-etcd +gateway):\n%s", r, diff)
	}
	tw.watchGW.made++
	tw.watchPlain.made++
}

func controlText(r *etcdserverpb.WatchResponse, rev func(int64) int64) string {
	return fmt.Sprintf("watch %d at %d: created %v, canceled %v %q, compacted %d", r.WatchId, rev(r.Header.GetRevision()), r.Created, r.Canceled, r.CancelReason, rev(r.CompactRevision))
}

// sameControl compares all that creates and cancels, once both have told of it.
func (tw *twins) sameControl() {
	tw.t.Helper()
	tw.watchGW.synced()
	tw.watchPlain.synced()
	text := func(w *watcher, rev func(int64) int64) string {
		w.mu.Lock()
		defer w.mu.Unlock()
		var b strings.Builder
		for _, r := range w.control {
			b.WriteString(controlText(r, rev) + "\n")
		}
		return b.String()
	}
	if diff := cmp.Diff(text(tw.watchPlain, func(r int64) int64 { return r }), text(tw.watchGW, tw.small)); diff != "" {
		tw.t.Fatalf("watches made and canceled (-etcd +gateway):\n%s", diff)
	}
}

// sameEvents compares what the watches were told.
func (tw *twins) sameEvents() {
	tw.t.Helper()
	if tw.watchGW.made == 0 {
		return
	}
	tw.watchGW.synced()
	tw.watchPlain.synced()
	if diff := cmp.Diff(tw.watchPlain.text(func(r int64) int64 { return r }), tw.watchGW.text(tw.small)); diff != "" {
		tw.t.Fatalf("events (-etcd +gateway):\n%s", diff)
	}
}

// text is all events by watch. A revision that is told in two answers is an
// error: clients take up a watch again after the last revision that they saw.
func (w *watcher) text(rev func(int64) int64) map[string][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string][]string{}
	for of, answers := range w.heard {
		id := fmt.Sprintf("%d, made for the %d. time", of.id, of.life)
		last := int64(0)
		for _, a := range answers {
			if first := a.Events[0].Kv.ModRevision; first <= last {
				w.t.Errorf("watch %s: revision %d is told in two answers", id, first)
			}
			for _, ev := range a.Events {
				last = ev.Kv.ModRevision
				text := ev.Type.String() + " " + keyText(ev.Kv, rev)
				if ev.PrevKv != nil {
					text += " before " + keyText(ev.PrevKv, rev)
				}
				out[id] = append(out[id], text)
			}
			if a.Header.Revision < last {
				w.t.Errorf("watch %s: an answer at revision %d tells of %d", id, a.Header.Revision, last)
			}
		}
	}
	return out
}
