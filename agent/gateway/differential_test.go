package gateway_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

var (
	seeds = flag.Int("seeds", 3, "how many seeds TestDifferential goes through")
	steps = flag.Int("steps", 1500, "how many requests it makes with each")
)

// generous are limits that the differential test does not meet.
var generous = gateway.Limits{Requests: 1e6, Writes: 1e6, Bytes: 1 << 30, History: 1e6, HistoryBytes: 1 << 30, Watches: 1e6}

// twins are a gateway, on an etcd that many pods use, and an etcd that holds
// the keys of one pod and nothing else. Whatever is asked of the one is asked of
// the other.
type twins struct {
	*world
	rnd        *rand.Rand
	gw, plain  etcdserverpb.KVClient
	watchGW    *watcher
	watchPlain *watcher
	// revs are the revisions of the plain etcd in those of the big one.
	revs []int64
	// there are the interfaces that are there now.
	there map[string]bool
	n     int
}

func dial(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func newTwins(t *testing.T, seed uint64) *twins {
	t.Helper()
	w := newWorld(t, generous)
	plain := etcdtest.Start(t, etcdtest.Options{})
	a := dial(t, w.open(myPod))
	b := dial(t, strings.TrimPrefix(plain.Endpoints()[0], "unix://"))
	tw := &twins{
		world: w, rnd: rand.New(rand.NewPCG(seed, 0)), gw: etcdserverpb.NewKVClient(a), plain: etcdserverpb.NewKVClient(b),
		watchGW: newWatcher(t, a), watchPlain: newWatcher(t, b), there: map[string]bool{},
	}
	first, err := tw.gw.Range(w.ctx(), &etcdserverpb.RangeRequest{Key: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	empty, err := tw.plain.Range(w.ctx(), &etcdserverpb.RangeRequest{Key: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	tw.revs = make([]int64, empty.Header.Revision+1)
	tw.revs[empty.Header.Revision] = first.Header.Revision
	return tw
}

// big is a revision of the plain etcd in the big one. What is to come for the
// one is to come for the other.
func (tw *twins) big(rev int64) int64 {
	switch {
	case rev <= 0:
		return rev
	case rev < int64(len(tw.revs)):
		return max(tw.revs[rev], 1)
	default:
		return rev + 1<<40
	}
}

// small is the other way round: the last revision at or before.
func (tw *twins) small(rev int64) int64 {
	if rev <= 0 {
		return rev
	}
	return int64(sort.Search(len(tw.revs), func(i int) bool { return tw.revs[i] > rev })) - 1
}

// wrote notes that one write was made in both.
func (tw *twins) wrote(small, big int64) {
	tw.t.Helper()
	switch {
	case small == int64(len(tw.revs)):
		tw.revs = append(tw.revs, big)
	case small != int64(len(tw.revs))-1 || big < tw.revs[small]:
		tw.t.Fatalf("the two are out of step: %d is %d, %d are known", small, big, len(tw.revs))
	}
}

var (
	ifnames = []string{"net1", "net2", "eth0"}
	words   = []string{
		"interfaces/net1", "interfaces/net2", "interfaces/eth0", "status/net1", "status/net2", "status/eth0",
		"interfaces/", "status/", "interfaces", "i", "z", "\x00", "\xff", "status/net10", "/vpp-cni/v1/nodes/n1/pods/p2/interfaces/net1",
	}
)

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// span is a key and an end, of every shape.
func (tw *twins) span() (key, end []byte) {
	key = []byte(pick(tw.rnd, words...))
	switch tw.rnd.IntN(5) {
	case 0:
		end = []byte{0}
	case 1:
		end = []byte(pick(tw.rnd, words...))
	case 2:
		end = slices.Clone(key)
		end[len(end)-1]++
	}
	return key, end
}

// rev is a revision of the plain etcd: mostly one that was.
func (tw *twins) rev() int64 {
	if tw.rnd.IntN(20) == 0 {
		return int64(len(tw.revs) + tw.rnd.IntN(5))
	}
	return 1 + tw.rnd.Int64N(int64(len(tw.revs)-1))
}

// some is f now and then, else 0.
func some(r *rand.Rand, f func() int64) int64 {
	if r.IntN(4) == 0 {
		return f()
	}
	return 0
}

func (tw *twins) rangeRequest() *etcdserverpb.RangeRequest {
	r := &etcdserverpb.RangeRequest{
		Limit: pick[int64](tw.rnd, 0, 0, 1, 2, 5), Revision: some(tw.rnd, tw.rev),
		SortOrder:    etcdserverpb.RangeRequest_SortOrder(pick[int32](tw.rnd, 0, 0, 1, 2, 9)),
		SortTarget:   etcdserverpb.RangeRequest_SortTarget(pick[int32](tw.rnd, 0, 0, 1, 2, 3, 4, -1)),
		Serializable: tw.rnd.IntN(2) == 0, KeysOnly: tw.rnd.IntN(5) == 0, CountOnly: tw.rnd.IntN(8) == 0,
		MinModRevision: some(tw.rnd, tw.rev), MaxModRevision: some(tw.rnd, tw.rev),
		MinCreateRevision: some(tw.rnd, tw.rev), MaxCreateRevision: some(tw.rnd, tw.rev),
	}
	if tw.rnd.IntN(30) != 0 {
		r.Key, r.RangeEnd = tw.span()
	}
	return r
}

func (tw *twins) status() []byte { return []byte(ready(fmt.Sprint("n", tw.rnd.IntN(1000)))) }

func (tw *twins) putRequest() *etcdserverpb.PutRequest {
	name := pick(tw.rnd, ifnames...)
	for range 10 { // one that is there, as the gateway wants it
		if tw.there[name] {
			break
		}
		name = pick(tw.rnd, ifnames...)
	}
	r := &etcdserverpb.PutRequest{
		Key: []byte(schema.PodStatusPrefix + name), Value: tw.status(), PrevKv: tw.rnd.IntN(2) == 0,
		IgnoreValue: tw.rnd.IntN(10) == 0, IgnoreLease: tw.rnd.IntN(10) == 0,
	}
	if r.IgnoreValue && tw.rnd.IntN(3) != 0 {
		r.Value = nil
	}
	return r
}

func (tw *twins) deleteRequest() *etcdserverpb.DeleteRangeRequest {
	return &etcdserverpb.DeleteRangeRequest{Key: []byte(schema.PodStatusPrefix + pick(tw.rnd, ifnames...)), PrevKv: tw.rnd.IntN(2) == 0}
}

func (tw *twins) compare() *etcdserverpb.Compare {
	c := &etcdserverpb.Compare{
		Result: etcdserverpb.Compare_CompareResult(tw.rnd.IntN(4)), Target: etcdserverpb.Compare_CompareTarget(tw.rnd.IntN(5)),
	}
	c.Key, c.RangeEnd = tw.span()
	switch c.Target {
	case etcdserverpb.Compare_VERSION:
		c.TargetUnion = &etcdserverpb.Compare_Version{Version: tw.rnd.Int64N(4)}
	case etcdserverpb.Compare_CREATE:
		c.TargetUnion = &etcdserverpb.Compare_CreateRevision{CreateRevision: pick(tw.rnd, 0, tw.rev())}
	case etcdserverpb.Compare_MOD:
		c.TargetUnion = &etcdserverpb.Compare_ModRevision{ModRevision: pick(tw.rnd, 0, tw.rev())}
	case etcdserverpb.Compare_VALUE:
		c.TargetUnion = &etcdserverpb.Compare_Value{Value: tw.status()}
	case etcdserverpb.Compare_LEASE:
		c.TargetUnion = &etcdserverpb.Compare_Lease{Lease: tw.rnd.Int64N(2)}
	}
	return c
}

func (tw *twins) ops(writes bool) []*etcdserverpb.RequestOp {
	var out []*etcdserverpb.RequestOp
	for range tw.rnd.IntN(4) {
		op := &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: tw.rangeRequest()}}
		if writes {
			switch tw.rnd.IntN(4) {
			case 0:
				op.Request = &etcdserverpb.RequestOp_RequestPut{RequestPut: tw.putRequest()}
			case 1:
				op.Request = &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: tw.deleteRequest()}
			case 2:
				if tw.rnd.IntN(10) == 0 {
					op.Request = nil
				}
			}
		}
		out = append(out, op)
	}
	return out
}

func (tw *twins) txnRequest(writes bool) *etcdserverpb.TxnRequest {
	r := &etcdserverpb.TxnRequest{Success: tw.ops(writes), Failure: tw.ops(writes)}
	for range tw.rnd.IntN(3) {
		r.Compare = append(r.Compare, tw.compare())
	}
	return r
}

// step asks both the same, or changes both alike.
func (tw *twins) step(i int) {
	what := ""
	var a, b any
	var errA, errB error
	switch n := tw.rnd.IntN(20); {
	case n < 6:
		r := tw.rangeRequest()
		what = "range " + prototext.Format(r)
		b, errB = tw.plain.Range(tw.t.Context(), r)
		a, errA = tw.gw.Range(tw.t.Context(), tw.mapRange(r))
	case n < 7:
		r := tw.rangeRequest()
		what = "range stream " + prototext.Format(r)
		b, errB = streamed(tw.t.Context(), tw.plain, r)
		a, errA = streamed(tw.t.Context(), tw.gw, tw.mapRange(r))
	case n < 9:
		r := tw.putRequest()
		if !tw.there[strings.TrimPrefix(string(r.Key), schema.PodStatusPrefix)] {
			return
		}
		what = "put " + prototext.Format(r)
		b, errB = tw.plain.Put(tw.t.Context(), r)
		a, errA = tw.gw.Put(tw.t.Context(), r)
	case n < 10:
		r := tw.deleteRequest()
		what = "delete " + prototext.Format(r)
		b, errB = tw.plain.DeleteRange(tw.t.Context(), r)
		a, errA = tw.gw.DeleteRange(tw.t.Context(), r)
	case n < 14:
		r := tw.txnRequest(n < 12)
		if !tw.mayPut(r) {
			return
		}
		what = "txn " + prototext.Format(r)
		b, errB = tw.plain.Txn(tw.t.Context(), r)
		a, errA = tw.gw.Txn(tw.t.Context(), tw.mapTxn(r))
	case n < 16:
		tw.hostWrites()
		return
	case n < 17:
		tw.noise()
		return
	default:
		tw.watchStep()
		return
	}
	tw.same(i, what, a, b, errA, errB)
}

// mayPut says whether all statuses that the transaction may put have their
// interfaces: where they have not, the gateway refuses and etcd does not.
func (tw *twins) mayPut(r *etcdserverpb.TxnRequest) bool {
	for _, op := range append(slices.Clone(r.Success), r.Failure...) {
		if p := op.GetRequestPut(); p != nil && !tw.there[strings.TrimPrefix(string(p.Key), schema.PodStatusPrefix)] {
			return false
		}
	}
	return true
}

// same compares two answers, in the revisions of the plain etcd.
func (tw *twins) same(i int, what string, a, b any, errA, errB error) {
	tw.t.Helper()
	if sa, sb := status.Convert(errA), status.Convert(errB); sa.Code() != sb.Code() || sa.Message() != sb.Message() {
		tw.t.Fatalf("step %d, %s\ngateway: %v\netcd:    %v", i, what, errA, errB)
	}
	if errA != nil {
		return
	}
	if h, ok := b.(interface {
		GetHeader() *etcdserverpb.ResponseHeader
	}); ok {
		tw.wrote(h.GetHeader().GetRevision(), a.(interface {
			GetHeader() *etcdserverpb.ResponseHeader
		}).GetHeader().GetRevision())
	}
	if diff := cmp.Diff(tw.text(b, func(r int64) int64 { return r }), tw.text(a, tw.small)); diff != "" {
		tw.t.Fatalf("step %d, %s\n(-etcd +gateway):\n%s", i, what, diff)
	}
}

// hostWrites is what the plugin does: one revision, one or several keys.
func (tw *twins) hostWrites() {
	big, small := &etcdserverpb.TxnRequest{}, &etcdserverpb.TxnRequest{}
	prefix := tw.keys.PodPrefix(node, myPod)
	put := func(key, value string) {
		for to, p := range map[*etcdserverpb.TxnRequest]string{big: prefix, small: ""} {
			to.Success = append(to.Success, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{
				RequestPut: &etcdserverpb.PutRequest{Key: []byte(p + key), Value: []byte(value)},
			}})
		}
	}
	del := func(key string) {
		for to, p := range map[*etcdserverpb.TxnRequest]string{big: prefix, small: ""} {
			to.Success = append(to.Success, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestDeleteRange{
				RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{Key: []byte(p + key)},
			}})
		}
	}
	for _, name := range ifnames {
		switch tw.rnd.IntN(6) {
		case 0, 1:
			tw.n++
			put(schema.PodInterfacesPrefix+name, fmt.Sprint("desired ", tw.n))
			tw.there[name] = true
		case 2:
			del(schema.PodInterfacesPrefix + name)
			del(schema.PodStatusPrefix + name)
			tw.there[name] = false
		}
	}
	// What is no interface is the pod's to read all the same.
	if tw.rnd.IntN(10) == 0 {
		tw.n++
		put("other", fmt.Sprint(tw.n))
	}
	respB, err := tw.plain.Txn(tw.t.Context(), small)
	if err != nil {
		tw.t.Fatal(err)
	}
	respA, err := etcdserverpb.NewKVClient(tw.root.ActiveConnection()).Txn(tw.t.Context(), big)
	if err != nil {
		tw.t.Fatal(err)
	}
	tw.wrote(respB.Header.Revision, respA.Header.Revision)
	if respB.Header.Revision == int64(len(tw.revs))-1 {
		tw.reached(tw.revs[respB.Header.Revision])
	}
}

// reached waits until the gateway shows a revision.
func (tw *twins) reached(rev int64) {
	tw.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		resp, err := tw.gw.Range(tw.t.Context(), &etcdserverpb.RangeRequest{Key: []byte("x")})
		if err != nil {
			tw.t.Fatal(err)
		}
		if resp.Header.Revision >= rev {
			return
		}
		time.Sleep(time.Millisecond)
	}
	tw.t.Fatalf("the gateway does not reach revision %d", rev)
}

// noise is what other pods, other nodes and others of the cluster do.
func (tw *twins) noise() {
	tw.n++
	key := pick(tw.rnd, tw.keys.PodInterface(node, "p2", "net1"), tw.keys.PodInterface(node, "p10", "net1"),
		tw.keys.PodInterface("n10", myPod, "net1"), tw.keys.HostPrefix(node)+"c1/net1", tw.keys.PodsPrefix(node)+string(myPod), "/elsewhere")
	if _, err := tw.root.Put(tw.t.Context(), key, fmt.Sprint("secret ", tw.n)); err != nil {
		tw.t.Fatal(err)
	}
}

func (tw *twins) mapRange(r *etcdserverpb.RangeRequest) *etcdserverpb.RangeRequest {
	return &etcdserverpb.RangeRequest{
		Key: r.Key, RangeEnd: r.RangeEnd, Limit: r.Limit, Revision: tw.big(r.Revision), SortOrder: r.SortOrder, SortTarget: r.SortTarget,
		Serializable: r.Serializable, KeysOnly: r.KeysOnly, CountOnly: r.CountOnly,
		MinModRevision: tw.big(r.MinModRevision), MaxModRevision: tw.big(r.MaxModRevision),
		MinCreateRevision: tw.big(r.MinCreateRevision), MaxCreateRevision: tw.big(r.MaxCreateRevision),
	}
}

func (tw *twins) mapTxn(r *etcdserverpb.TxnRequest) *etcdserverpb.TxnRequest {
	out := &etcdserverpb.TxnRequest{Success: tw.mapOps(r.Success), Failure: tw.mapOps(r.Failure)}
	for _, c := range r.Compare {
		m := &etcdserverpb.Compare{Result: c.Result, Target: c.Target, Key: c.Key, RangeEnd: c.RangeEnd, TargetUnion: c.TargetUnion}
		switch u := c.TargetUnion.(type) {
		case *etcdserverpb.Compare_CreateRevision:
			m.TargetUnion = &etcdserverpb.Compare_CreateRevision{CreateRevision: tw.big(u.CreateRevision)}
		case *etcdserverpb.Compare_ModRevision:
			m.TargetUnion = &etcdserverpb.Compare_ModRevision{ModRevision: tw.big(u.ModRevision)}
		}
		out.Compare = append(out.Compare, m)
	}
	return out
}

func (tw *twins) mapOps(ops []*etcdserverpb.RequestOp) []*etcdserverpb.RequestOp {
	var out []*etcdserverpb.RequestOp
	for _, op := range ops {
		if r := op.GetRequestRange(); r != nil {
			op = &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: tw.mapRange(r)}}
		}
		out = append(out, op)
	}
	return out
}

// streamed is the whole of a range that comes in pieces.
func streamed(ctx context.Context, c etcdserverpb.KVClient, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	stream, err := c.RangeStream(ctx, r)
	if err != nil {
		return nil, err
	}
	var out etcdserverpb.RangeResponse
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return &out, nil
		}
		if err != nil {
			return nil, err
		}
		out.Kvs = append(out.Kvs, resp.RangeResponse.Kvs...)
		if resp.RangeResponse.Header != nil {
			out.Header, out.More, out.Count = resp.RangeResponse.Header, resp.RangeResponse.More, resp.RangeResponse.Count
		}
	}
}

// text is an answer for comparison, with revisions as the plain etcd has them.
func (tw *twins) text(answer any, rev func(int64) int64) string {
	var b strings.Builder
	switch a := answer.(type) {
	case *etcdserverpb.RangeResponse:
		fmt.Fprintf(&b, "range at %d, count %d, more %v\n", rev(a.Header.GetRevision()), a.Count, a.More)
		for _, kv := range a.Kvs {
			b.WriteString(keyText(kv, rev))
		}
	case *etcdserverpb.PutResponse:
		fmt.Fprintf(&b, "put at %d\nbefore %s", rev(a.Header.GetRevision()), keyText(a.PrevKv, rev))
	case *etcdserverpb.DeleteRangeResponse:
		fmt.Fprintf(&b, "deleted %d at %d\n", a.Deleted, rev(a.Header.GetRevision()))
		for _, kv := range a.PrevKvs {
			b.WriteString(keyText(kv, rev))
		}
	case *etcdserverpb.TxnResponse:
		fmt.Fprintf(&b, "txn at %d, succeeded %v\n", rev(a.Header.GetRevision()), a.Succeeded)
		for _, op := range a.Responses {
			switch o := op.Response.(type) {
			case *etcdserverpb.ResponseOp_ResponseRange:
				b.WriteString(tw.text(o.ResponseRange, rev))
			case *etcdserverpb.ResponseOp_ResponsePut:
				b.WriteString(tw.text(o.ResponsePut, rev))
			case *etcdserverpb.ResponseOp_ResponseDeleteRange:
				b.WriteString(tw.text(o.ResponseDeleteRange, rev))
			default:
				fmt.Fprintf(&b, "%T\n", o)
			}
		}
	default:
		fmt.Fprintf(&b, "%T", a)
	}
	return b.String()
}

func keyText(kv *mvccpb.KeyValue, rev func(int64) int64) string {
	if kv == nil {
		return "nothing\n"
	}
	return fmt.Sprintf("%q=%q created %d modified %d version %d lease %d\n", kv.Key, kv.Value, rev(kv.CreateRevision), rev(kv.ModRevision), kv.Version, kv.Lease)
}

// TestDifferential asks a gateway and an etcd that holds only that pod's keys the
// same, and wants the same answers.
func TestDifferential(t *testing.T) {
	t.Parallel()
	for seed := range *seeds {
		t.Run(fmt.Sprint("seed ", seed+1), func(t *testing.T) {
			t.Parallel()
			tw := newTwins(t, uint64(seed+1))
			for i := range *steps {
				tw.step(i)
			}
			tw.sameEvents()
			t.Logf("%d requests, %d revisions, %d watches, %d events", *steps, len(tw.revs), tw.watchGW.made, tw.watchGW.events)
		})
	}
}
