package gateway

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// StaleHeader is in the header metadata of an answer that says what was known
// before etcd went away. Its value says since when there is no news, in the words
// of schema/store without addresses: one word.
const StaleHeader = "vpp-cni-stale"

// staleValue is StaleHeader's only value.
const staleValue = "etcd-away"

// kv is etcd's KV service for all pods.
type kv struct {
	etcdserverpb.UnimplementedKVServer
	g *Gateway
}

// known is what the gateway may answer a pod with.
func (s kv) known(ctx context.Context, p *pod) (view, error) {
	v, ok := s.g.cache.await(ctx, p.id, s.g.cfg.Limits.Patience)
	if !ok {
		return view{}, rpctypes.ErrGRPCTimeout
	}
	return v, nil
}

// mark says in the header metadata that an answer may be old.
func (v view) mark(ctx context.Context) {
	if v.stale != nil {
		// A stream that is gone needs no header.
		_ = grpc.SetHeader(ctx, metadata.Pairs(StaleHeader, staleValue))
	}
}

// Range answers from memory.
func (s kv) Range(ctx context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	if err := checkRange(r); err != nil {
		return nil, err
	}
	v, err := s.known(ctx, podOf(ctx))
	if err != nil {
		return nil, err
	}
	room := v.room(s.g.cfg.Limits)
	resp, err := v.ranged(r, &room)
	if err != nil {
		return nil, err
	}
	resp.Header = v.header()
	v.mark(ctx)
	return resp, nil
}

// RangeStream is Range in pieces, as etcd cuts them (etcdserver, rangeStream).
func (s kv) RangeStream(r *etcdserverpb.RangeRequest, stream grpc.ServerStreamingServer[etcdserverpb.RangeStreamResponse]) error {
	if err := checkRangeStream(r); err != nil {
		return err
	}
	v, err := s.known(stream.Context(), podOf(stream.Context()))
	if err != nil {
		return err
	}
	v.mark(stream.Context())
	return v.streamed(r, func(resp *etcdserverpb.RangeResponse) error {
		return stream.Send(&etcdserverpb.RangeStreamResponse{RangeResponse: resp})
	})
}

// Put writes a status.
func (s kv) Put(ctx context.Context, r *etcdserverpb.PutRequest) (*etcdserverpb.PutResponse, error) {
	if err := checkPut(r); err != nil {
		return nil, err
	}
	resp, err := s.write(ctx, &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{
		{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: r}},
	}})
	if err != nil {
		return nil, err
	}
	out := resp.Responses[0].GetResponsePut()
	out.Header = resp.Header
	return out, nil
}

// DeleteRange deletes a status.
func (s kv) DeleteRange(ctx context.Context, r *etcdserverpb.DeleteRangeRequest) (*etcdserverpb.DeleteRangeResponse, error) {
	if err := checkDelete(r); err != nil {
		return nil, err
	}
	resp, err := s.write(ctx, &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{
		{Request: &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}},
	}})
	if err != nil {
		return nil, err
	}
	out := resp.Responses[0].GetResponseDeleteRange()
	out.Header = resp.Header
	return out, nil
}

// Txn answers from memory what only reads, and has etcd carry out the rest.
func (s kv) Txn(ctx context.Context, r *etcdserverpb.TxnRequest) (*etcdserverpb.TxnResponse, error) {
	if err := checkTxn(r); err != nil {
		return nil, err
	}
	if !reads(r) {
		return s.write(ctx, r)
	}
	v, err := s.known(ctx, podOf(ctx))
	if err != nil {
		return nil, err
	}
	room := v.room(s.g.cfg.Limits)
	resp, err := v.transacted(r, &room)
	if err != nil {
		return nil, err
	}
	resp.Header = v.header()
	v.mark(ctx)
	return resp, nil
}

// Compact is the cluster's business.
func (s kv) Compact(context.Context, *etcdserverpb.CompactionRequest) (*etcdserverpb.CompactionResponse, error) {
	return nil, rpctypes.ErrGRPCPermissionDenied
}

// write carries out a transaction that may write, and answers when what is known
// here has it too.
func (s kv) write(ctx context.Context, r *etcdserverpb.TxnRequest) (*etcdserverpb.TxnResponse, error) {
	if err := s.g.policy.txn(r); err != nil {
		return nil, err
	}
	p := podOf(ctx)
	v, _ := s.g.cache.look(p.id)
	if err := v.fits(r, s.g.cfg.Limits); err != nil {
		return nil, err
	}
	if err := p.admit(ctx, p.writes, 1, s.g.cfg.Limits.Patience); err != nil {
		s.g.metrics.limited.WithLabelValues("writes").Inc()
		return nil, err
	}
	resp, err := s.g.cfg.Tree.Forward(ctx, podsPrefix+string(p.id)+"/", guarded(r))
	if err == nil {
		err = unguarded(r, resp)
	}
	if err != nil {
		return nil, s.g.refusal(ctx, err)
	}
	resp.Header = &etcdserverpb.ResponseHeader{ClusterId: resp.Header.GetClusterId(), Revision: resp.Header.GetRevision()}
	if !s.g.cache.reach(ctx, resp.Header.Revision, s.g.cfg.Limits.Patience) {
		_ = grpc.SetHeader(ctx, metadata.Pairs(StaleHeader, staleValue))
	}
	return resp, nil
}

// refusals are the errors of etcd that are about the request, and say nothing of
// the cluster but how it is.
var refusals = []error{
	rpctypes.ErrGRPCPermissionDenied, rpctypes.ErrGRPCKeyNotFound, rpctypes.ErrGRPCCompacted, rpctypes.ErrGRPCFutureRev,
	rpctypes.ErrGRPCNoSpace, rpctypes.ErrGRPCDuplicateKey, rpctypes.ErrGRPCTooManyOps, rpctypes.ErrGRPCRequestTooLarge,
	rpctypes.ErrGRPCRequestTooManyRequests, rpctypes.ErrGRPCNoLeader, rpctypes.ErrGRPCLeaderChanged, rpctypes.ErrGRPCTimeout,
	rpctypes.ErrGRPCTimeoutDueToLeaderFail, rpctypes.ErrGRPCTimeoutDueToConnectionLost,
}

// refusal is what a pod is told of a write that failed: etcd's own words where
// they are about the write. Others name addresses, and keys outside of the pod's.
func (g *Gateway) refusal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	var st interface{ GRPCStatus() *status.Status }
	if errors.As(err, &st) {
		for _, known := range refusals {
			if k := status.Convert(known); k.Code() == st.GRPCStatus().Code() && k.Message() == st.GRPCStatus().Message() {
				return known
			}
		}
	}
	g.cfg.Log.WithField("err", err).Debug("a pod's write failed")
	return rpctypes.ErrGRPCTimeout
}
