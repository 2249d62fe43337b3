package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// An answer that is built is grpc's until its client has opened a window for it:
// grpc keeps what is to be sent without a bound, and for ever. So each answer is
// counted from before it is marshalled until grpc lets go of its bytes, and the
// pod's answers together have no more than Limits.UntakenBytes.

// leastAnswer is what an answer takes at least, in bytes: of less grpc does not
// say when it lets go (mem.IsBelowBufferPoolingThreshold).
const leastAnswer = 1<<10 + 1

// untaken are the answers on one connection that grpc has not let go of.
type untaken struct {
	mu     sync.Mutex
	bytes  int64
	closed bool
}

// answer is a message with its place among those that are not taken.
type answer struct {
	msg   proto.Message
	c     *conn
	bytes int64 // of its place
	late  *time.Timer
}

// hold finds a message its place, and waits for that as long as ctx lasts. A
// message that is longer than there are places has all of them. From then on it
// is to be sent: what is not taken in time ends its connection, since the bytes
// are grpc's until then.
func (c *conn) hold(ctx context.Context, msg any) (*answer, error) {
	m, ok := msg.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("an answer is a %T", msg)
	}
	limits := c.g.cfg.Limits
	a := &answer{msg: m, c: c, bytes: min(max(int64(proto.Size(m)), leastAnswer), int64(limits.UntakenBytes))}
	if c.p.untaken.Acquire(ctx, a.bytes) != nil {
		c.g.metrics.limited.WithLabelValues("answers").Inc()
		return nil, rpctypes.ErrGRPCRequestTooManyRequests
	}
	c.untaken.mu.Lock()
	defer c.untaken.mu.Unlock()
	if c.untaken.closed {
		c.p.untaken.Release(a.bytes)
		return nil, rpctypes.ErrGRPCRequestTooManyRequests
	}
	c.untaken.bytes += a.bytes
	a.late = time.AfterFunc(limits.Untaken, c.late)
	return a, nil
}

// late ends a connection with an answer that was not taken in time.
func (c *conn) late() {
	select {
	case <-c.closed:
	default:
		c.g.metrics.limited.WithLabelValues("untaken").Inc()
		_ = c.Close() // its client has no use for what it says
	}
}

// release gives the places of a connection back that has ended: what is queued on
// it goes without a word.
func (c *conn) release() {
	c.untaken.mu.Lock()
	defer c.untaken.mu.Unlock()
	c.untaken.closed = true
	c.p.untaken.Release(c.untaken.bytes)
	c.untaken.bytes = 0
}

// Get is for grpc's sake: bytes come from the heap.
func (a *answer) Get(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

// Put gives the answer's place back, when grpc has let go of its bytes.
func (a *answer) Put(*[]byte) {
	a.late.Stop()
	a.c.untaken.mu.Lock()
	defer a.c.untaken.mu.Unlock()
	if !a.c.untaken.closed {
		a.c.untaken.bytes -= a.bytes
		a.c.p.untaken.Release(a.bytes)
	}
}

// codec is that of grpc, with answers that take as many bytes as they have: grpc's
// own pool gives 1 MiB for what is longer than 32 KiB.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name is that of grpc's own.
func (codec) Name() string { return "proto" }

// Marshal takes answers and nothing else.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	a, ok := v.(*answer)
	if !ok {
		return nil, fmt.Errorf("an answer without a place, a %T", v)
	}
	b, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 0, max(proto.Size(a.msg), leastAnswer)), a.msg)
	if err != nil {
		a.Put(nil)
		return nil, err
	}
	a.msg = nil
	return mem.BufferSlice{mem.NewBuffer(&b, a)}, nil
}

// Unmarshal is grpc's own, but for the pool.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("a request is a %T", v)
	}
	return proto.Unmarshal(data.Materialize(), m)
}

// stream is a stream whose messages have their places.
type stream struct {
	grpc.ServerStream
	c *conn
}

// RecvMsg receives one that is there in time.
func (s stream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	arrived(s.Context())
	return err
}

// SendMsg sends a message as soon as there is a place for it.
func (s stream) SendMsg(m any) error {
	a, err := s.c.hold(s.Context(), m)
	if err != nil {
		return err
	}
	return s.ServerStream.SendMsg(a)
}
