package gateway

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vpp-cni/vpp-cni/schema"
)

// maxOps bounds each list of a transaction. etcd takes 128 of all levels
// together (its --max-txn-ops), of which the guards need some.
const maxOps = 48

// What a request must be before anybody asks whether it is allowed, in etcd's own
// order (server/etcdserver/api/v3rpc/key.go).

func checkRange(r *etcdserverpb.RangeRequest) error {
	if len(r.Key) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	if _, ok := etcdserverpb.RangeRequest_SortOrder_name[int32(r.SortOrder)]; !ok {
		return rpctypes.ErrGRPCInvalidSortOption
	}
	if _, ok := etcdserverpb.RangeRequest_SortTarget_name[int32(r.SortTarget)]; !ok {
		return rpctypes.ErrGRPCInvalidSortOption
	}
	return nil
}

// checkRangeStream is checkRange with what etcd does not stream.
func checkRangeStream(r *etcdserverpb.RangeRequest) error {
	if err := checkRange(r); err != nil {
		return err
	}
	if !byKey(r) {
		return status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders")
	}
	if filters(r) {
		return status.Error(codes.Unimplemented, "RangeStream does not support revision filters")
	}
	return nil
}

func checkPut(r *etcdserverpb.PutRequest) error {
	switch {
	case len(r.Key) == 0:
		return rpctypes.ErrGRPCEmptyKey
	case r.IgnoreValue && len(r.Value) != 0:
		return rpctypes.ErrGRPCValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return rpctypes.ErrGRPCLeaseProvided
	}
	return nil
}

func checkDelete(r *etcdserverpb.DeleteRangeRequest) error {
	if len(r.Key) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	return nil
}

func checkTxn(r *etcdserverpb.TxnRequest) error {
	if max(len(r.Compare), len(r.Success), len(r.Failure)) > maxOps {
		return rpctypes.ErrGRPCTooManyOps
	}
	for _, c := range r.Compare {
		if len(c.Key) == 0 {
			return rpctypes.ErrGRPCEmptyKey
		}
	}
	for _, ops := range [][]*etcdserverpb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if err := checkOp(op); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOp(op *etcdserverpb.RequestOp) error {
	switch o := op.GetRequest().(type) {
	case *etcdserverpb.RequestOp_RequestRange:
		return checkRange(o.RequestRange)
	case *etcdserverpb.RequestOp_RequestPut:
		return checkPut(o.RequestPut)
	case *etcdserverpb.RequestOp_RequestDeleteRange:
		return checkDelete(o.RequestDeleteRange)
	case *etcdserverpb.RequestOp_RequestTxn:
		return rpctypes.ErrGRPCPermissionDenied
	default:
		return rpctypes.ErrGRPCKeyNotFound
	}
}

// policy is what a pod may write. Reading needs none: there is nothing but the
// pod's own.
type policy struct{ limits Limits }

// txn says whether a transaction may be carried out, whichever branch it takes.
func (p policy) txn(r *etcdserverpb.TxnRequest) error {
	for _, ops := range [][]*etcdserverpb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if err := p.op(op); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p policy) op(op *etcdserverpb.RequestOp) error {
	switch o := op.GetRequest().(type) {
	case *etcdserverpb.RequestOp_RequestRange:
		return nil
	case *etcdserverpb.RequestOp_RequestPut:
		return p.put(o.RequestPut)
	case *etcdserverpb.RequestOp_RequestDeleteRange:
		return p.delete(o.RequestDeleteRange)
	default:
		return rpctypes.ErrGRPCPermissionDenied
	}
}

// put allows a status that can be read, without a lease: a lease is the
// cluster's, and another's.
func (p policy) put(r *etcdserverpb.PutRequest) error {
	if _, ok := statusOf(r.Key); !ok || r.Lease != 0 {
		return rpctypes.ErrGRPCPermissionDenied
	}
	if r.IgnoreValue { // it stays as it is
		return nil
	}
	if !p.status(r.Value) {
		return rpctypes.ErrGRPCPermissionDenied
	}
	return nil
}

// delete allows that of one status.
func (p policy) delete(r *etcdserverpb.DeleteRangeRequest) error {
	if _, ok := statusOf(r.Key); !ok || len(r.RangeEnd) != 0 {
		return rpctypes.ErrGRPCPermissionDenied
	}
	return nil
}

// status says whether value is a status that a pod may write. Removed is the
// plugin's word. People read the value on a terminal: it has no control
// characters but line ends and tabs. Fields that this version does not know pass, as the contract wants
// for what agents report: the pod's agent may be newer than the node's.
func (p policy) status(value []byte) bool {
	if len(value) > p.limits.StatusBytes || !utf8.Valid(value) {
		return false
	}
	s, err := schema.Decode[schema.InterfaceStatus](value)
	if err != nil || s.Validate() != nil || s.State == schema.Removed {
		return false
	}
	return !strings.ContainsFunc(string(value)+s.Message+string(s.Reason)+s.Interface+s.SocketPath, control)
}

func control(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// statusOf is the interface whose status a key is.
func statusOf(key []byte) (schema.IfName, bool) {
	ref, err := schema.ParsePodKey(string(key))
	return ref.IfName, err == nil && ref.Kind == schema.KeyPodStatus
}

// reads says whether a transaction only reads, as etcd counts it.
func reads(r *etcdserverpb.TxnRequest) bool {
	for _, ops := range [][]*etcdserverpb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if op.GetRequestRange() == nil {
				return false
			}
		}
	}
	return true
}

// guarded has each branch that puts statuses do nothing unless their interfaces
// are there: else a pod could fill etcd with statuses of nothing, and one that
// writes while it is removed would leave a status for ever.
func guarded(r *etcdserverpb.TxnRequest) *etcdserverpb.TxnRequest {
	return &etcdserverpb.TxnRequest{Compare: r.Compare, Success: guard(r.Success), Failure: guard(r.Failure)}
}

func guard(ops []*etcdserverpb.RequestOp) []*etcdserverpb.RequestOp {
	guards := guardsOf(ops)
	if len(guards) == 0 {
		return ops
	}
	return []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestTxn{
		RequestTxn: &etcdserverpb.TxnRequest{Compare: guards, Success: ops},
	}}}
}

func guardsOf(ops []*etcdserverpb.RequestOp) []*etcdserverpb.Compare {
	var out []*etcdserverpb.Compare
	for _, op := range ops {
		put := op.GetRequestPut()
		if put == nil {
			continue
		}
		name, _ := statusOf(put.Key)
		out = append(out, &etcdserverpb.Compare{
			Key: []byte(schema.PodInterfaceKey(name)), Target: etcdserverpb.Compare_CREATE,
			Result: etcdserverpb.Compare_GREATER, TargetUnion: &etcdserverpb.Compare_CreateRevision{},
		})
	}
	return out
}

// unguarded takes the guards out of the answer to guarded(r).
func unguarded(r *etcdserverpb.TxnRequest, resp *etcdserverpb.TxnResponse) error {
	ops := r.Success
	if !resp.Succeeded {
		ops = r.Failure
	}
	if len(guardsOf(ops)) == 0 {
		return nil
	}
	inner := resp.Responses[0].GetResponseTxn()
	if !inner.GetSucceeded() {
		return rpctypes.ErrGRPCPermissionDenied
	}
	resp.Responses = inner.Responses
	return nil
}
