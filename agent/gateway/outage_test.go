package gateway_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
)

// get reads a key, and says whether the answer is marked as old.
func (w *world) get(kv etcdserverpb.KVClient, key string) (value string, rev int64, stale bool, err error) {
	var md metadata.MD
	resp, err := kv.Range(w.ctx(), &etcdserverpb.RangeRequest{Key: []byte(key)}, grpc.Header(&md))
	if err != nil {
		return "", 0, false, err
	}
	if len(resp.Kvs) == 1 {
		value = string(resp.Kvs[0].Value)
	}
	return value, resp.Header.Revision, len(md.Get(gateway.StaleHeader)) > 0, nil
}

func eventually(t *testing.T, what string, get func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if get() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s: not after 30 s", what)
}

// TestOutage: while etcd is away reads say what was known, marked as old, progress
// is not vouched for, and writes are Unavailable; then all is as before.
func TestOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{Patience: time.Second})
	conn := dial(t, w.open(myPod))
	kv := etcdserverpb.NewKVClient(conn)
	w.set(myPod, "interfaces/net1", "mine")
	eventually(t, "the key", func() bool { v, _, _, err := w.get(kv, "interfaces/net1"); return err == nil && v == "mine" })
	_, rev, stale, err := w.get(kv, "interfaces/net1")
	if err != nil || stale {
		t.Fatalf("before the outage: stale %v, %v", stale, err)
	}
	watch := newWatcher(t, conn)
	watch.controlled(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: &etcdserverpb.WatchCreateRequest{RangeEnd: []byte{0}}}})
	watch.synced()

	// A watch whose progress requests etcd has never answered may be silent for
	// long (schema/store, mutedFactor); an agent sees the outage by its presence.
	time.Sleep(1500 * time.Millisecond)
	w.etcd.Stop(0)
	eventually(t, "answers marked as old", func() bool { _, _, old, gone := w.get(kv, "x"); return gone == nil && old })
	if v, r, old, gone := w.get(kv, "interfaces/net1"); v != "mine" || r < rev || !old || gone != nil {
		t.Errorf("during the outage: %q at %d, stale %v, %v", v, r, old, gone)
	}
	watch.mu.Lock()
	before := watch.progress
	watch.mu.Unlock()
	watch.send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_ProgressRequest{ProgressRequest: &etcdserverpb.WatchProgressRequest{}}})
	begin := time.Now()
	_, err = kv.Put(w.ctx(), &etcdserverpb.PutRequest{Key: []byte("status/net1"), Value: []byte(ready("x"))})
	if took := time.Since(begin); status.Code(err) != codes.Unavailable || took < 1800*time.Millisecond || took > 8*time.Second {
		t.Errorf("a write during the outage: %v after %s, want Unavailable after 2 s", err, took)
	}
	if said := status.Convert(err).Message(); strings.ContainsAny(said, "/@") {
		t.Errorf("a pod is told of keys or addresses: %q", said)
	}
	watch.mu.Lock()
	if watch.progress != before {
		t.Error("progress is vouched for while etcd is away")
	}
	watch.mu.Unlock()

	if err := w.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "fresh answers", func() bool { _, _, stale, err := w.get(kv, "x"); return err == nil && !stale })
	eventually(t, "a write", func() bool {
		_, err := kv.Put(w.ctx(), &etcdserverpb.PutRequest{Key: []byte("status/net1"), Value: []byte(ready("after"))})
		return err == nil
	})
	// The watch either goes on or was told to begin anew; it is not left waiting.
	watch.await("an end of the watch, or the event", func() bool { return len(watch.control) > 1 || len(watch.heard) > 0 })
}

// TestUnread: a gateway that has not read etcd answers nothing, and above all no
// empty list.
func TestUnread(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{Patience: 200 * time.Millisecond})
	w.set(myPod, "interfaces/net1", "mine")
	w.stop()
	w.etcd.Stop(0)
	w.start(gateway.Limits{Patience: 200 * time.Millisecond})
	conn := dial(t, w.open(myPod))
	kv := etcdserverpb.NewKVClient(conn)
	for range 3 {
		if v, _, _, err := w.get(kv, "interfaces/net1"); status.Code(err) != codes.Unavailable {
			t.Fatalf("%q, %v; want Unavailable", v, err)
		}
	}
	stream, err := etcdserverpb.NewWatchClient(conn).Watch(w.ctx())
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("watch: %v; want Unavailable", err)
	}
	if err := w.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key", func() bool { v, _, _, err := w.get(kv, "interfaces/net1"); return err == nil && v == "mine" })
}

// TestWiped: of an etcd that lost everything, watches end as compacted, and lists
// show what is there.
func TestWiped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	w.open(myPod)
	for range 20 {
		w.set(myPod, "interfaces/net1", "mine")
	}
	w.set(myPod, "interfaces/net1", "last")
	c := w.client()
	w.shown(c, "interfaces/net1", "last")
	was, err := c.Get(w.ctx(), "interfaces/net1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := c.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(was.Header.Revision+1))
	if err = w.etcd.Wipe(); err != nil {
		t.Fatal(err)
	}
	select {
	case resp, ok := <-events:
		if !ok || !errors.Is(resp.Err(), rpctypes.ErrCompacted) || resp.CompactRevision == 0 {
			t.Errorf("the watch: %v, %v; want compacted", resp, resp.Err())
		}
	case <-time.After(30 * time.Second):
		t.Error("the watch was told nothing")
	}
	now, err := c.Get(w.ctx(), "interfaces/net1")
	if err != nil || len(now.Kvs) != 0 || now.Header.Revision >= was.Header.Revision {
		t.Errorf("afterwards: %v, %v; want nothing, at an older revision than %d", now, err, was.Header.Revision)
	}
}

// TestCompacted: history is bounded, and what is older is refused as etcd does.
func TestCompacted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{History: 10})
	w.open(myPod)
	first := w.set(myPod, "interfaces/net1", "first")
	var revs []int64
	for range 30 {
		revs = append(revs, w.set(myPod, "interfaces/net1", "more"))
	}
	w.set(myPod, "interfaces/net1", "last")
	c := w.client()
	w.shown(c, "interfaces/net1", "last")
	if _, err := c.Get(w.ctx(), "interfaces/net1", clientv3.WithRev(first)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("read at %d: %v, want compacted", first, err)
	}
	if resp, err := c.Get(w.ctx(), "interfaces/net1", clientv3.WithRev(revs[len(revs)-3])); err != nil || resp.Kvs[0].ModRevision != revs[len(revs)-3] {
		t.Errorf("read at %d: %v, %v", revs[len(revs)-3], resp, err)
	}
	resp := <-c.Watch(w.ctx(), "interfaces/net1", clientv3.WithRev(first))
	if !errors.Is(resp.Err(), rpctypes.ErrCompacted) || resp.CompactRevision <= first {
		t.Errorf("watch from %d: %v, compacted at %d", first, resp.Err(), resp.CompactRevision)
	}
	from := resp.CompactRevision
	resp = <-c.Watch(w.ctx(), "interfaces/net1", clientv3.WithRev(from))
	if resp.Err() != nil || resp.Events[0].Kv.ModRevision != from || len(resp.Events) != 10 {
		t.Errorf("watch from %d: %v, %d events", from, resp.Err(), len(resp.Events))
	}
	if _, err := c.Get(w.ctx(), "x", clientv3.WithRev(1<<40)); !errors.Is(err, rpctypes.ErrFutureRev) {
		t.Errorf("read at a revision to come: %v", err)
	}
}

// TestAgain: a watch from the revision that the gateway began at is told of a
// delete of that very revision.
func TestAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	w.stop()
	w.set(myPod, "interfaces/net1", "mine")
	resp, err := w.root.Delete(w.ctx(), w.keys.PodInterface(node, myPod, "net1"))
	if err != nil {
		t.Fatal(err)
	}
	w.start(gateway.Limits{})
	w.open(myPod)
	c := w.client()
	got := <-c.Watch(w.ctx(), "", clientv3.WithPrefix(), clientv3.WithRev(resp.Header.Revision))
	if got.Err() != nil || len(got.Events) != 1 || got.Events[0].Type != clientv3.EventTypeDelete || got.Events[0].Kv.ModRevision != resp.Header.Revision {
		t.Errorf("watch from %d: %v, %v", resp.Header.Revision, got.Events, got.Err())
	}
}

// TestWaitingWrites: writes that wait for etcd are few, and cost neither the same
// pod's reads nor another pod anything.
func TestWaitingWrites(t *testing.T) {
	t.Parallel()
	limits := gateway.Limits{Requests: 1e4, Writes: 1e4, Concurrent: 4, Patience: 500 * time.Millisecond}
	w := newWorld(t, limits)
	mine, other := etcdserverpb.NewKVClient(dial(t, w.open(myPod))), etcdserverpb.NewKVClient(dial(t, w.open("p2")))
	w.set(myPod, "interfaces/net1", "mine")
	w.set("p2", "interfaces/net1", "the other's")
	eventually(t, "the key", func() bool { v, _, _, err := w.get(other, "interfaces/net1"); return err == nil && v != "" })
	w.etcd.Stop(0)
	put := &etcdserverpb.PutRequest{Key: []byte("status/net1"), Value: []byte(ready("x"))}
	done := make(chan error, 32)
	for range cap(done) {
		go func() {
			_, err := mine.Put(w.ctx(), put)
			done <- err
		}()
	}
	time.Sleep(200 * time.Millisecond)
	for _, kv := range []etcdserverpb.KVClient{mine, other} {
		if v, _, _, err := w.get(kv, "interfaces/net1"); err != nil || v == "" { // one that waited is refused
			t.Errorf("a read beside waiting writes: %q, %v", v, err)
		}
	}
	codesOf := map[codes.Code]int{}
	for range cap(done) {
		codesOf[status.Code(<-done)]++
	}
	if codesOf[codes.Unavailable] != limits.Concurrent || codesOf[codes.ResourceExhausted] != cap(done)-limits.Concurrent {
		t.Errorf("writes ended as %v, want %d to have waited for etcd, and no more", codesOf, limits.Concurrent)
	}
	// One that is made shortly before etcd is back is carried out.
	go func() {
		_, err := other.Put(w.ctx(), put)
		done <- err
	}()
	if err := w.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil && status.Code(err) != codes.Unavailable { // a slow machine
		t.Errorf("a write while etcd comes back: %v", err)
	}
	eventually(t, "a write", func() bool { _, err := mine.Put(w.ctx(), put); return err == nil })
}
