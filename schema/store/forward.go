package store

import (
	"context"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// maxForwarded is the longest answer that Forward takes, in bytes. A pod's keys
// are far less; a transaction may ask for them many times over.
const maxForwarded = 8 << 20

// Forward carries out a transaction of keys that are relative to prefix, itself
// relative to the subtree's root, while the presence is this owner's, and
// answers with keys relative to it again. It looks at nothing in req: what may
// be in there is the caller's to check. etcd's own refusals stay recognisable
// (status.FromError); nothing was done then. While etcd is away it waits for it,
// for Config.RequestTimeout. An answer of more than 8 MiB is an error although the
// transaction was carried out.
func (t *Subtree) Forward(ctx context.Context, prefix string, req *etcdserverpb.TxnRequest) (*etcdserverpb.TxnResponse, error) {
	m := mapping{prefix: t.root + prefix}
	outer := &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{
		{Request: &etcdserverpb.RequestOp_RequestTxn{RequestTxn: m.txn(req)}},
	}}
	what := "write under " + m.prefix
	if t.owner != nil {
		own, ok := t.owner.guard(t.owner.c.Key)
		if !ok {
			return nil, fmt.Errorf("%s: %w", what, errNotOwner)
		}
		outer.Compare = []*etcdserverpb.Compare{own.GetCompare()}
	}
	var resp *etcdserverpb.TxnResponse
	err := t.s.call(ctx, what, func(ctx context.Context, c *clientv3.Client) (err error) {
		resp, err = etcdserverpb.NewKVClient(c.ActiveConnection()).Txn(ctx, outer,
			grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(maxForwarded))
		return err
	})
	if err != nil {
		return nil, err
	}
	if !resp.Succeeded {
		return nil, fmt.Errorf("%s: %w", what, errNotOwner)
	}
	inner := resp.Responses[0].GetResponseTxn()
	inner.Header = resp.Header
	m.answer(inner)
	return inner, nil
}

// mapping moves requests under a prefix, and answers out from under it.
type mapping struct{ prefix string }

func (m mapping) key(k []byte) []byte { return append([]byte(m.prefix), k...) }

// span is a range under the prefix. An end of one zero byte is that of all keys
// from the first one on.
func (m mapping) span(key, end []byte) ([]byte, []byte) {
	switch {
	case len(end) == 0:
		return m.key(key), nil
	case len(end) == 1 && end[0] == 0:
		return m.key(key), []byte(clientv3.GetPrefixRangeEnd(m.prefix))
	default:
		return m.key(key), m.key(end)
	}
}

func (m mapping) txn(r *etcdserverpb.TxnRequest) *etcdserverpb.TxnRequest {
	out := &etcdserverpb.TxnRequest{Success: m.ops(r.Success), Failure: m.ops(r.Failure)}
	for _, c := range r.Compare {
		key, end := m.span(c.Key, c.RangeEnd)
		out.Compare = append(out.Compare, &etcdserverpb.Compare{
			Result: c.Result, Target: c.Target, TargetUnion: c.TargetUnion, Key: key, RangeEnd: end,
		})
	}
	return out
}

func (m mapping) ops(ops []*etcdserverpb.RequestOp) []*etcdserverpb.RequestOp {
	var out []*etcdserverpb.RequestOp
	for _, op := range ops {
		out = append(out, m.op(op))
	}
	return out
}

// op maps one operation. Messages are made anew field by field: a field that
// this version does not know does not pass.
func (m mapping) op(op *etcdserverpb.RequestOp) *etcdserverpb.RequestOp {
	switch o := op.GetRequest().(type) {
	case *etcdserverpb.RequestOp_RequestRange:
		r := o.RequestRange
		key, end := m.span(r.Key, r.RangeEnd)
		return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: &etcdserverpb.RangeRequest{
			Key: key, RangeEnd: end, Limit: r.Limit, Revision: r.Revision, SortOrder: r.SortOrder, SortTarget: r.SortTarget,
			Serializable: r.Serializable, KeysOnly: r.KeysOnly, CountOnly: r.CountOnly,
			MinModRevision: r.MinModRevision, MaxModRevision: r.MaxModRevision,
			MinCreateRevision: r.MinCreateRevision, MaxCreateRevision: r.MaxCreateRevision,
		}}}
	case *etcdserverpb.RequestOp_RequestPut:
		r := o.RequestPut
		return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: &etcdserverpb.PutRequest{
			Key: m.key(r.Key), Value: r.Value, Lease: r.Lease, PrevKv: r.PrevKv, IgnoreValue: r.IgnoreValue, IgnoreLease: r.IgnoreLease,
		}}}
	case *etcdserverpb.RequestOp_RequestDeleteRange:
		r := o.RequestDeleteRange
		key, end := m.span(r.Key, r.RangeEnd)
		return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{
			Key: key, RangeEnd: end, PrevKv: r.PrevKv,
		}}}
	case *etcdserverpb.RequestOp_RequestTxn:
		return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestTxn{RequestTxn: m.txn(o.RequestTxn)}}
	default:
		return &etcdserverpb.RequestOp{}
	}
}

func (m mapping) answer(r *etcdserverpb.TxnResponse) {
	for _, op := range r.Responses {
		m.strip(op.GetResponseRange().GetKvs()...)
		m.strip(op.GetResponsePut().GetPrevKv())
		m.strip(op.GetResponseDeleteRange().GetPrevKvs()...)
		if t := op.GetResponseTxn(); t != nil {
			m.answer(t)
		}
	}
}

func (m mapping) strip(kvs ...*mvccpb.KeyValue) {
	for _, kv := range kvs {
		if kv != nil {
			kv.Key = []byte(strings.TrimPrefix(string(kv.Key), m.prefix))
		}
	}
}
