package gateway

import (
	"math"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// fuzzView is what is known of a pod with a history.
func fuzzView() view {
	k := keyspace{compact: 3}
	for i, key := range []string{"interfaces/net1", "status/net1", "interfaces/net2", "status/net1", "interfaces/net1"} {
		rev := int64(4 + 2*i)
		k.apply(key, &store.Entry{Value: []byte(key), Rev: rev, Create: 4, Version: 1}, rev)
	}
	k.apply("interfaces/net2", nil, 14)
	return view{kvs: k.kvs, history: k.history, compact: k.compact, rev: 20, cluster: 1, life: 1, settled: true}
}

// FuzzRequests has a pod send any bytes as any request: nothing panics, what is
// shown is the pod's, and what may be written is a status.
func FuzzRequests(f *testing.F) {
	status := []byte(`{"specRevision":1,"state":"Ready","reason":"Applied","since":"2026-01-01T00:00:00Z"}`)
	all := &etcdserverpb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Limit: 1, Revision: 9, SortTarget: 4, SortOrder: 2}
	put := &etcdserverpb.PutRequest{Key: []byte("status/net1"), Value: status, PrevKv: true}
	del := &etcdserverpb.DeleteRangeRequest{Key: []byte("status/net1")}
	txn := &etcdserverpb.TxnRequest{
		Compare: []*etcdserverpb.Compare{{Key: []byte("interfaces/net1"), Target: etcdserverpb.Compare_MOD, TargetUnion: &etcdserverpb.Compare_ModRevision{ModRevision: 12}}},
		Success: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: put}}, {Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: all}}},
		Failure: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: del}}},
	}
	watch := &etcdserverpb.WatchCreateRequest{Key: []byte("status/"), RangeEnd: []byte("status0"), StartRevision: 5, PrevKv: true}
	for kind, m := range []proto.Message{all, put, del, txn, watch} {
		f.Add(uint8(kind), marshal(f, m))
	}
	for _, w := range []*etcdserverpb.WatchCreateRequest{
		{Key: []byte("interfaces/net1"), StartRevision: 1},
		{RangeEnd: []byte{0}, StartRevision: 8, PrevKv: true, Filters: []etcdserverpb.WatchCreateRequest_FilterType{etcdserverpb.WatchCreateRequest_NOPUT}},
		{Key: []byte("interfaces/net2"), RangeEnd: []byte{0}, StartRevision: 4, Filters: []etcdserverpb.WatchCreateRequest_FilterType{etcdserverpb.WatchCreateRequest_NODELETE}},
		{Key: []byte{0}, RangeEnd: []byte{0}},
	} {
		f.Add(uint8(4), marshal(f, w))
	}
	v, p := fuzzView(), policy{DefaultLimits}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		switch kind % 5 {
		case 0:
			var r etcdserverpb.RangeRequest
			if proto.Unmarshal(data, &r) == nil && checkRange(&r) == nil {
				shows(t, v, &r)
			}
		case 1:
			var r etcdserverpb.PutRequest
			if proto.Unmarshal(data, &r) == nil && checkPut(&r) == nil && p.put(&r) == nil {
				puts(t, &r)
			}
		case 2:
			var r etcdserverpb.DeleteRangeRequest
			if proto.Unmarshal(data, &r) == nil && checkDelete(&r) == nil && p.delete(&r) == nil {
				deletes(t, &r)
			}
		case 3:
			var r etcdserverpb.TxnRequest
			if proto.Unmarshal(data, &r) == nil && checkTxn(&r) == nil {
				transacts(t, v, p, &r)
			}
		case 4:
			var r etcdserverpb.WatchCreateRequest
			if proto.Unmarshal(data, &r) == nil {
				tells(t, v, &r)
			}
		}
	})
}

func marshal(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func shows(t *testing.T, v view, r *etcdserverpb.RangeRequest) {
	t.Helper()
	room := math.MaxInt
	resp, err := v.ranged(r, &room)
	if err != nil {
		return
	}
	if len(resp.Kvs) > 3 || resp.Count > 3 || r.Limit > 0 && int64(len(resp.Kvs)) > r.Limit {
		t.Errorf("%v shows %v", r, resp)
	}
	span := newSpan(r.Key, r.RangeEnd)
	for _, kv := range resp.Kvs {
		if !span.contains(kv.Key) {
			t.Errorf("%v shows %q", r, kv.Key)
		}
	}
}

func puts(t *testing.T, r *etcdserverpb.PutRequest) {
	t.Helper()
	name, ok := strings.CutPrefix(string(r.Key), schema.PodStatusPrefix)
	if !ok || schema.IfName(name).Validate() != nil || r.Lease != 0 || len(r.Value) > DefaultLimits.StatusBytes {
		t.Errorf("allowed: %v", r)
	}
	if _, err := schema.Decode[schema.InterfaceStatus](r.Value); err != nil && !r.IgnoreValue {
		t.Errorf("allowed: %v: %v", r, err)
	}
}

func deletes(t *testing.T, r *etcdserverpb.DeleteRangeRequest) {
	t.Helper()
	name, ok := strings.CutPrefix(string(r.Key), schema.PodStatusPrefix)
	if !ok || schema.IfName(name).Validate() != nil || len(r.RangeEnd) != 0 {
		t.Errorf("allowed: %v", r)
	}
}

// transacts looks at all that a transaction that is allowed would do, and at the
// guards that it goes with.
func transacts(t *testing.T, v view, p policy, r *etcdserverpb.TxnRequest) {
	t.Helper()
	room := math.MaxInt
	_ = v.fits(r, DefaultLimits)
	if reads(r) {
		if _, err := v.transacted(r, &room); err != nil {
			return
		}
	}
	if p.txn(r) != nil {
		return
	}
	for _, ops := range [][]*etcdserverpb.RequestOp{r.Success, r.Failure} {
		n := 0
		for _, op := range ops {
			switch o := op.Request.(type) {
			case *etcdserverpb.RequestOp_RequestRange:
			case *etcdserverpb.RequestOp_RequestPut:
				n++
				puts(t, o.RequestPut)
			case *etcdserverpb.RequestOp_RequestDeleteRange:
				deletes(t, o.RequestDeleteRange)
			default:
				t.Errorf("allowed: %v", op)
			}
		}
		if g := guard(ops); n > 0 && (len(g) != 1 || len(g[0].GetRequestTxn().GetCompare()) != n) {
			t.Errorf("%d puts have the guards %v", n, g)
		}
	}
}

// tells looks at what a watch is told of the history: each change that it asked
// for once and in order, with the value before only where it asked for that.
func tells(t *testing.T, v view, r *etcdserverpb.WatchCreateRequest) {
	t.Helper()
	key, end, first := string(r.Key), string(r.RangeEnd), r.StartRevision
	if first == 0 {
		first = v.rev + 1
	}
	events := newWatch(v, r).events(v.history)
	for _, ch := range v.history {
		k, filter := string(ch.kv.Key), etcdserverpb.WatchCreateRequest_NOPUT
		if ch.delete {
			filter = etcdserverpb.WatchCreateRequest_NODELETE
		}
		asked := end == "" && k == key || k >= key && end != "" && (end == "\x00" || k < end)
		if !asked || ch.rev() < first || slices.Contains(r.Filters, filter) {
			continue
		}
		if len(events) == 0 || events[0].Kv != ch.kv || (events[0].Type == mvccpb.Event_DELETE) != ch.delete {
			t.Errorf("%v is not told of %v: %v", r, ch.kv, events)
			return
		}
		if prev := events[0].PrevKv; prev != nil && (!r.PrevKv || string(prev.Key) != k || prev.ModRevision >= ch.rev()) {
			t.Errorf("%v is told of %v with %v before it", r, ch.kv, prev)
		}
		events = events[1:]
	}
	if len(events) > 0 {
		t.Errorf("%v is told of %v too", r, events)
	}
}
