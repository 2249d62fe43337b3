package gateway

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/time/rate"
)

// Limits bound what one pod can ask for. A zero field means its default.
//
// What exceeds a rate is made to wait before it is refused, and bytes are not
// read from the socket before they may be: refusing costs as much as answering,
// waiting costs nothing.
type Limits struct {
	// Connections are open connections; more are closed at once.
	Connections int
	// Accepts are new connections a second.
	Accepts float64
	// Bytes are read from all connections a second. Each HTTP/2 frame counts as 512
	// more.
	Bytes int
	// Streams are requests under way on one connection.
	Streams uint32
	// Watchers are watch streams, Watches are watches on all of them.
	Watchers, Watches int
	// Requests are requests a second, those on watch streams too. Each comparison
	// and each operation of a transaction counts as one.
	Requests float64
	// Concurrent are requests that are answered at the same time, those that write
	// and the others each.
	Concurrent int
	// Writes are transactions a second that may write: each is a write to disk for
	// etcd. Those of twenty seconds may come at once.
	Writes float64
	// MessageBytes is the longest request, StatusBytes the longest status.
	MessageBytes, StatusBytes int
	// UntakenBytes are the answers that were sent and not taken, on all connections:
	// an answer waits while there is no place for it. One may not be longer, unless
	// all that the pod has is, each key once. Untaken is how long an answer may take
	// to be taken, and a connection to be read from; then it is closed.
	UntakenBytes int
	Untaken      time.Duration
	// History and HistoryBytes bound the changes that are remembered.
	History, HistoryBytes int
	// Patience is how long a request waits for its turn, for etcd to have been
	// read, for a write to be seen, or for a place for its answer.
	Patience time.Duration
	// Handshake is how long a connection may take to say what it is, and a request to
	// be there.
	Handshake time.Duration
}

// DefaultLimits leave a container agent with a hundred interfaces unhindered.
var DefaultLimits = Limits{
	Connections: 8, Accepts: 5, Bytes: 256 << 10, Streams: 32, Watchers: 8, Watches: 64,
	Requests: 100, Concurrent: 8, Writes: 5, MessageBytes: 16 << 10, StatusBytes: 4 << 10,
	UntakenBytes: 1 << 20, Untaken: 30 * time.Second,
	History: 512, HistoryBytes: 256 << 10, Patience: 3 * time.Second, Handshake: 5 * time.Second,
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits
	l.Connections = or(l.Connections, d.Connections)
	l.Accepts = or(l.Accepts, d.Accepts)
	l.Bytes = or(l.Bytes, d.Bytes)
	l.Streams = or(l.Streams, d.Streams)
	l.Watchers = or(l.Watchers, d.Watchers)
	l.Watches = or(l.Watches, d.Watches)
	l.Requests = or(l.Requests, d.Requests)
	l.Concurrent = or(l.Concurrent, d.Concurrent)
	l.Writes = or(l.Writes, d.Writes)
	l.MessageBytes = or(l.MessageBytes, d.MessageBytes)
	l.StatusBytes = or(l.StatusBytes, d.StatusBytes)
	l.UntakenBytes = or(l.UntakenBytes, d.UntakenBytes)
	l.Untaken = or(l.Untaken, d.Untaken)
	l.History = or(l.History, d.History)
	l.HistoryBytes = or(l.HistoryBytes, d.HistoryBytes)
	l.Patience = or(l.Patience, d.Patience)
	l.Handshake = or(l.Handshake, d.Handshake)
	return l
}

func or[T int | uint32 | float64 | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// bucket allows r a second, and at first the work of some seconds at once.
func bucket(r, seconds float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(r), max(1, int(r*seconds)))
}

// admit waits for n tokens, or all that there can be, at most for so long.
func (p *pod) admit(ctx context.Context, l *rate.Limiter, n int, patience time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if l.WaitN(bounded, min(n, l.Burst())) != nil {
		return rpctypes.ErrGRPCRequestTooManyRequests
	}
	return nil
}

// cost is how many requests one counts as.
func cost(req any) int {
	r, ok := req.(*etcdserverpb.TxnRequest)
	if !ok {
		return 1
	}
	return max(1, len(r.Compare)+max(len(r.Success), len(r.Failure)))
}

// writes says whether a request is one that etcd is to carry out.
func writes(req any) bool {
	switch r := req.(type) {
	case *etcdserverpb.PutRequest, *etcdserverpb.DeleteRangeRequest:
		return true
	case *etcdserverpb.TxnRequest:
		return !reads(r)
	default:
		return false
	}
}
