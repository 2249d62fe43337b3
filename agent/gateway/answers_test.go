package gateway_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
)

// fill gives the pod n interfaces of the fullest kind, and returns when it is
// shown them.
func (w *world) fill(n int) {
	w.t.Helper()
	c := w.client()
	defer func() { _ = c.Close() }()
	for i := range n {
		w.set(myPod, fmt.Sprintf("interfaces/net%d", i), strings.Repeat("x", 600))
		w.set(myPod, fmt.Sprintf("status/net%d", i), ready(strings.Repeat("x", 3900)))
	}
	w.shown(c, fmt.Sprintf("status/net%d", n-1), ready(strings.Repeat("x", 3900)))
}

func heap() int {
	runtime.GC()
	runtime.GC() // what sync.Pools had
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestUntaken: a pod that takes none of its answers makes the agent hold little,
// and nothing for long. It is not parallel: it weighs the heap.
func TestUntaken(t *testing.T) {
	key := []byte("interfaces/net0")
	longTxn := readsAll(40)
	for _, op := range longTxn.Success {
		op.GetRequestRange().Limit = 4
	}
	watch := &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{RangeEnd: []byte{0}, StartRevision: 1},
	}}
	for name, tc := range map[string]struct {
		ask func(r *raw)
		// refused: there is nothing to take.
		refused bool
	}{
		"more than an answer may have": {ask: func(r *raw) { r.call("/etcdserverpb.KV/Txn", readsAll(48)) }, refused: true},
		"as much as one may have":      {ask: func(r *raw) { r.call("/etcdserverpb.KV/Txn", longTxn) }},
		"all keys":                     {ask: func(r *raw) { r.call("/etcdserverpb.KV/Range", readsAll(1).Success[0].GetRequestRange()) }},
		"all keys, in pieces":          {ask: func(r *raw) { r.call("/etcdserverpb.KV/RangeStream", readsAll(1).Success[0].GetRequestRange()) }},
		"one key":                      {ask: func(r *raw) { r.call("/etcdserverpb.KV/Range", &etcdserverpb.RangeRequest{Key: key}) }},
		"a watch":                      {ask: func(r *raw) { r.call("/etcdserverpb.Watch/Watch", watch) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, gateway.Limits{Untaken: 4 * time.Second, Requests: 1e5, Bytes: 16 << 20})
			path := w.open(myPod)
			w.fill(40)
			time.Sleep(500 * time.Millisecond)
			before := heap()
			conns := make([]*raw, 8)
			for i := range conns {
				conns[i] = newRaw(t, path)
				for range 32 {
					tc.ask(conns[i])
				}
			}
			most := 0
			for range 3 {
				time.Sleep(time.Second)
				most = max(most, heap()-before)
			}
			if most > 8<<20 {
				t.Errorf("the heap grows by %d KiB, want less than 8 MiB", most>>10)
			}
			if !tc.refused { // those that hold something are closed
				eventually(t, "an end of a connection", func() bool {
					return slices.ContainsFunc(conns, func(r *raw) bool { return r.over() })
				})
			}
			for _, r := range conns {
				_ = r.c.Close()
			}
			c := w.client()
			if resp, err := c.Get(w.ctx(), "", clientv3.WithPrefix()); err != nil || len(resp.Kvs) != 80 {
				t.Errorf("afterwards: %v", err)
			}
			after := heap() - before
			if after > 4<<20 {
				t.Errorf("%d KiB stay", after>>10)
			}
			t.Logf("the heap grew by %d KiB at most, %d stay", most>>10, after>>10)
		})
	}
}

// TestLargest: who asks for each key once is answered, however many there are and
// however many ask; who asks for more than an answer may have is refused, by a
// transaction that writes too, which is not carried out then.
func TestLargest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{HistoryBytes: 8 << 20, History: 10000, Patience: patience})
	w.open(myPod)
	w.fill(300) // 1.4 MB
	c := w.client()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			resp, err := c.Get(w.ctx(), "", clientv3.WithPrefix())
			if err != nil || len(resp.Kvs) != 600 {
				t.Errorf("all keys: %v", err)
			}
		})
	}
	wg.Wait()
	if resp, err := c.Txn(w.ctx()).Then(clientv3.OpGet("interfaces/", clientv3.WithPrefix()), clientv3.OpGet("status/", clientv3.WithPrefix())).Commit(); err != nil ||
		len(resp.Responses[0].GetResponseRange().Kvs)+len(resp.Responses[1].GetResponseRange().Kvs) != 600 {
		t.Errorf("all keys in two ranges: %v", err)
	}
	kv := etcdserverpb.NewKVClient(dial(t, w.socket(myPod).Path))
	if _, err := kv.Txn(w.ctx(), readsAll(2)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("all keys twice: %v, want ResourceExhausted", err)
	}
	counts := readsAll(48)
	for _, op := range counts.Success {
		op.GetRequestRange().CountOnly = true
	}
	if resp, err := kv.Txn(w.ctx(), counts); err != nil || resp.Responses[47].GetResponseRange().Count != 600 {
		t.Errorf("counts: %v", err)
	}
	before := w.everything()
	writing := readsAll(2)
	writing.Success = append(writing.Success, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{Key: []byte("status/net0")},
	}})
	for _, r := range []*etcdserverpb.TxnRequest{writing, {Success: writing.Success[:2], Failure: writing.Success}} {
		if _, err := kv.Txn(w.ctx(), r); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("a transaction that writes: %v, want ResourceExhausted", err)
		}
	}
	if w.everything() != before {
		t.Error("it was refused and carried out")
	}
	watched := 0
	for resp := range c.Watch(w.ctx(), "", clientv3.WithPrefix(), clientv3.WithRev(2)) {
		if resp.Err() != nil {
			t.Fatal(resp.Err())
		}
		if watched += len(resp.Events); watched >= 600 {
			break
		}
	}
}

// TestUnfinished: requests that are never sent to their end are given up, and are
// sent no faster than they may be, however small the pieces.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{Handshake: 2 * time.Second, Untaken: time.Second})
	path := w.open(myPod)
	r := newRaw(t, path)
	for range 32 { // all that a connection may have
		id := r.begin("/etcdserverpb.KV/Range")
		r.sent(r.f.WriteData(id, false, []byte{0, 0, 0, 60, 0, 1}))
	}
	time.Sleep(4 * time.Second)
	if r.over() {
		t.Fatal("the connection is closed")
	}
	// Their places are free: this one is answered, and the answer not taken.
	r.call("/etcdserverpb.KV/Range", &etcdserverpb.RangeRequest{Key: []byte("x")})
	eventually(t, "the end of the connection", r.over)

	begin := time.Now()
	small := newRaw(t, path)
	id := small.begin("/etcdserverpb.KV/Range")
	_ = small.c.SetWriteDeadline(time.Now().Add(6 * time.Second))
	for i := range 60000 {
		if err := small.f.WriteData(id, false, []byte{0}); err != nil {
			t.Logf("%d frames in %s", i, time.Since(begin))
			return
		}
	}
	t.Errorf("60000 frames in %s", time.Since(begin))
}
