package gateway

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// readable says whether rev can be read, 0 being now.
func (v view) readable(rev int64) error {
	switch {
	case rev > v.rev:
		return rpctypes.ErrGRPCFutureRev
	case rev > 0 && rev < v.compact:
		return rpctypes.ErrGRPCCompacted
	}
	return nil
}

// kvBytes is what a key takes in an answer beside itself and its value, at most.
const kvBytes = 64

func sizeOf(kvs []*mvccpb.KeyValue, keysOnly bool) int {
	n := 0
	for _, kv := range kvs {
		n += len(kv.Key) + kvBytes
		if !keysOnly {
			n += len(kv.Value)
		}
	}
	return n
}

// errTooLong refuses an answer before it is built.
var errTooLong = status.Error(codes.ResourceExhausted, "etcdserver: answer is too large")

// room is how long an answer may be, in bytes. Whoever asks for each key once is
// answered.
func (v view) room(l Limits) int { return max(l.UntakenBytes, sizeOf(v.kvs, false)) }

// fits is an error where the answer to a transaction that etcd is to carry out
// would be longer than one from here may be, whichever branch it takes, or is
// not known to be shorter.
func (v view) fits(r *etcdserverpb.TxnRequest, l Limits) error {
	for _, ops := range [][]*etcdserverpb.RequestOp{r.Success, r.Failure} {
		room := v.room(l)
		for _, op := range ops {
			r := op.GetRequestRange()
			if r == nil {
				continue
			}
			if r.Revision > v.rev { // etcd may be there
				r = proto.CloneOf(r)
				r.Revision = 0
			}
			if _, err := v.ranged(r, &room); err != nil {
				return err
			}
		}
	}
	return nil
}

// ranged answers a range as etcd does (server/etcdserver/txn, executeRange), with
// a header of nothing but the revision. What it shows is taken from room.
func (v view) ranged(r *etcdserverpb.RangeRequest, room *int) (*etcdserverpb.RangeResponse, error) {
	if err := v.readable(r.Revision); err != nil {
		return nil, err
	}
	all := v.kvs
	if r.Revision > 0 {
		all = at(v.kvs, v.history, r.Revision)
	}
	kvs := newSpan(r.Key, r.RangeEnd).of(all)
	out := &etcdserverpb.RangeResponse{
		Header: &etcdserverpb.ResponseHeader{Revision: v.rev}, Count: int64(len(kvs)),
	}
	if r.CountOnly {
		return out, nil
	}
	if byKey(r) && !filters(r) && r.Limit > 0 && len(kvs) > 0 {
		// etcd then reads one key more than it may show, and sorts those.
		kvs = kvs[:min(int64(len(kvs))-1, r.Limit)+1]
	}
	kvs = ordered(filtered(kvs, r), r)
	if r.Limit > 0 && int64(len(kvs)) > r.Limit {
		kvs, out.More = kvs[:r.Limit], true
	}
	if *room -= sizeOf(kvs, r.KeysOnly); *room < 0 {
		return nil, errTooLong
	}
	out.Kvs = make([]*mvccpb.KeyValue, 0, len(kvs))
	for _, kv := range kvs {
		out.Kvs = append(out.Kvs, shown(kv, r))
	}
	return out, nil
}

// firstPiece is how many keys a stream begins with; each piece may have twice as
// many as the one before.
const firstPiece = 10

// streamed sends a range in pieces. The last one has the header and the count.
func (v view) streamed(r *etcdserverpb.RangeRequest, send func(*etcdserverpb.RangeResponse) error) error {
	room := math.MaxInt // each key once
	if r.CountOnly {
		resp, err := v.ranged(r, &room)
		if err != nil {
			return err
		}
		return send(&etcdserverpb.RangeResponse{Header: v.header(), Count: resp.Count})
	}
	left := r.Limit
	if left == 0 {
		left = math.MaxInt64
	}
	next, count := proto.CloneOf(r), int64(0)
	for size := int64(firstPiece); ; size *= 2 {
		next.Limit = min(size, left)
		resp, err := v.ranged(next, &room)
		if err != nil {
			return err
		}
		count += int64(len(resp.Kvs))
		left -= int64(len(resp.Kvs))
		piece := &etcdserverpb.RangeResponse{Kvs: resp.Kvs}
		if resp.More {
			next.Key = append(bytes.Clone(resp.Kvs[len(resp.Kvs)-1].Key), 0)
		}
		last := !resp.More || left == 0
		if last {
			piece.Header, piece.More, piece.Count = v.header(), resp.More, count
		}
		if last && resp.More {
			rest, failed := v.ranged(&etcdserverpb.RangeRequest{Key: next.Key, RangeEnd: r.RangeEnd, Revision: r.Revision, CountOnly: true}, &room)
			if failed != nil {
				return failed
			}
			piece.Count += rest.Count
		}
		if err = send(piece); err != nil || last {
			return err
		}
	}
}

// shown is a key as the answer has it. Of keys only, etcd takes neither value nor
// lease from where it keeps them, unless it had to sort by values.
func shown(kv *mvccpb.KeyValue, r *etcdserverpb.RangeRequest) *mvccpb.KeyValue {
	if !r.KeysOnly {
		return kv
	}
	out := &mvccpb.KeyValue{Key: kv.Key, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version}
	if r.SortTarget == etcdserverpb.RangeRequest_VALUE {
		out.Lease = kv.Lease
	}
	return out
}

// byKey says whether etcd takes a range to be in the order of keys anyway: it
// looks at the order first, though another target without one is sorted too.
func byKey(r *etcdserverpb.RangeRequest) bool {
	return r.SortOrder == etcdserverpb.RangeRequest_NONE ||
		r.SortTarget == etcdserverpb.RangeRequest_KEY && r.SortOrder == etcdserverpb.RangeRequest_ASCEND
}

// filters says whether a range asks for some revisions only.
func filters(r *etcdserverpb.RangeRequest) bool {
	return r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0
}

// filtered drops what is outside of the revisions asked for.
func filtered(kvs []*mvccpb.KeyValue, r *etcdserverpb.RangeRequest) []*mvccpb.KeyValue {
	if !filters(r) {
		return kvs
	}
	out := make([]*mvccpb.KeyValue, 0, len(kvs))
	for _, kv := range kvs {
		if r.MaxModRevision != 0 && kv.ModRevision > r.MaxModRevision ||
			r.MinModRevision != 0 && kv.ModRevision < r.MinModRevision ||
			r.MaxCreateRevision != 0 && kv.CreateRevision > r.MaxCreateRevision ||
			r.MinCreateRevision != 0 && kv.CreateRevision < r.MinCreateRevision {
			continue
		}
		out = append(out, kv)
	}
	return out
}

// ordered sorts. A target other than the key without an order is ascending; with
// no order the key is as it is.
func ordered(kvs []*mvccpb.KeyValue, r *etcdserverpb.RangeRequest) []*mvccpb.KeyValue {
	order := r.SortOrder
	if r.SortTarget != etcdserverpb.RangeRequest_KEY && order == etcdserverpb.RangeRequest_NONE {
		order = etcdserverpb.RangeRequest_ASCEND
	}
	if order == etcdserverpb.RangeRequest_NONE || r.SortTarget == etcdserverpb.RangeRequest_KEY && order == etcdserverpb.RangeRequest_ASCEND {
		return kvs
	}
	compare := comparisons[r.SortTarget]
	out := slices.Clone(kvs)
	// What compares equal stands in the order of keys: etcd leaves it open.
	slices.SortStableFunc(out, func(a, b *mvccpb.KeyValue) int {
		if order == etcdserverpb.RangeRequest_DESCEND {
			return compare(b, a)
		}
		return compare(a, b)
	})
	return out
}

var comparisons = map[etcdserverpb.RangeRequest_SortTarget]func(a, b *mvccpb.KeyValue) int{
	etcdserverpb.RangeRequest_KEY:     func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Key, b.Key) },
	etcdserverpb.RangeRequest_VERSION: func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.Version, b.Version) },
	etcdserverpb.RangeRequest_CREATE:  func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) },
	etcdserverpb.RangeRequest_MOD:     func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) },
	etcdserverpb.RangeRequest_VALUE:   func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Value, b.Value) },
}

// transacted answers a transaction that only reads.
func (v view) transacted(r *etcdserverpb.TxnRequest, room *int) (*etcdserverpb.TxnResponse, error) {
	out := &etcdserverpb.TxnResponse{Succeeded: true}
	for _, c := range r.Compare {
		if !v.holds(c) {
			out.Succeeded = false
			break
		}
	}
	ops := r.Success
	if !out.Succeeded {
		ops = r.Failure
	}
	for _, op := range ops {
		resp, err := v.ranged(op.GetRequestRange(), room)
		if err != nil {
			return nil, err
		}
		out.Responses = append(out.Responses, &etcdserverpb.ResponseOp{Response: &etcdserverpb.ResponseOp_ResponseRange{ResponseRange: resp}})
	}
	return out, nil
}

// holds says whether a comparison holds, for every key of its range. Of a range
// without keys every number is 0, and no value compares.
func (v view) holds(c *etcdserverpb.Compare) bool {
	kvs := newSpan(c.Key, c.RangeEnd).of(v.kvs)
	if len(kvs) == 0 {
		return c.Target != etcdserverpb.Compare_VALUE && compared(c, &mvccpb.KeyValue{})
	}
	for _, kv := range kvs {
		if !compared(c, kv) {
			return false
		}
	}
	return true
}

func compared(c *etcdserverpb.Compare, kv *mvccpb.KeyValue) bool {
	var result int
	switch c.Target {
	case etcdserverpb.Compare_VALUE:
		result = bytes.Compare(kv.Value, c.GetValue())
	case etcdserverpb.Compare_CREATE:
		result = cmp.Compare(kv.CreateRevision, c.GetCreateRevision())
	case etcdserverpb.Compare_MOD:
		result = cmp.Compare(kv.ModRevision, c.GetModRevision())
	case etcdserverpb.Compare_VERSION:
		result = cmp.Compare(kv.Version, c.GetVersion())
	case etcdserverpb.Compare_LEASE:
		result = cmp.Compare(kv.Lease, c.GetLease())
	}
	switch c.Result {
	case etcdserverpb.Compare_EQUAL:
		return result == 0
	case etcdserverpb.Compare_NOT_EQUAL:
		return result != 0
	case etcdserverpb.Compare_GREATER:
		return result > 0
	case etcdserverpb.Compare_LESS:
		return result < 0
	}
	return true
}
