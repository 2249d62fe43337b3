package vpp

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"go.fd.io/govpp/adapter"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/core"
)

// session is one connection to one VPP. It ends with the connection and is
// never used again.
type session struct {
	conn    *core.Connection
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timeout time.Duration
	slots   chan struct{}
	pid     uint32
	version string
	wire    *wire
	// busy counts the calls under way.
	busy atomic.Int64
	// mute is set while VPP answers nothing: calls then fail at once, so that
	// what waits in VPP's socket stays bounded.
	mute atomic.Pointer[error]
	// pinging is set while VPP must be left alone.
	pinging atomic.Bool
	pings   api.Watcher // guarded by VPP.pinging
}

func newSession(ctx context.Context, conn *core.Connection, cfg Config) *session {
	sctx, cancel := context.WithCancelCause(ctx)
	return &session{
		conn: conn, ctx: sctx, cancel: cancel,
		timeout: cfg.CallTimeout,
		slots:   make(chan struct{}, cfg.Workers),
	}
}

// down is why nothing can be asked any more, nil while it can.
func (s *session) down() error {
	if s.ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrDown, context.Cause(s.ctx))
	}
	return nil
}

// acquire takes one of the slots that bound what is under way.
func (s *session) acquire(ctx context.Context) error {
	if err := s.down(); err != nil {
		return err
	}
	if why := s.mute.Load(); why != nil {
		return *why
	}
	select {
	case s.slots <- struct{}{}:
		s.busy.Add(1)
		return nil
	case <-s.ctx.Done():
		return s.down()
	case <-ctx.Done():
		return fmt.Errorf("wait for VPP: %w", ctx.Err())
	}
}

func (s *session) release() {
	s.busy.Add(-1)
	<-s.slots
}

// lacks is an *IncompatibleError where this VPP has no such message.
func (s *session) lacks(msgs ...api.Message) error {
	missing := &IncompatibleError{}
	for _, m := range msgs {
		if !s.knows(m) {
			missing.Missing = append(missing.Missing, m.GetMessageName()+"_"+m.GetCrcString())
		}
	}
	select {
	case <-s.ctx.Done(): // no word of the VPP to come
		return nil
	default:
	}
	if len(missing.Missing) == 0 {
		return nil
	}
	return missing
}

// knows says whether VPP has the message in the form that we know.
func (s *session) knows(m api.Message) bool {
	_, err := s.conn.GetMessageID(m)
	var unknown *adapter.UnknownMsgError
	return !errors.As(err, &unknown)
}

// ask sends one request and waits for its reply, with a deadline. A retval
// other than 0 is a *RetvalError.
func ask[R api.Message](ctx context.Context, s *session, req api.Message) (R, error) {
	var none R
	op := req.GetMessageName()
	x, err := s.open(ctx, op)
	if err != nil {
		return none, err
	}
	defer x.close()
	if err = x.send(req); err != nil {
		return none, err
	}
	x.waiting++
	msg, err := x.receive()
	if err != nil {
		return none, err
	}
	x.waiting--
	reply, ok := msg.(R)
	if !ok {
		return none, fmt.Errorf("%s: VPP answered with %s", op, msg.GetMessageName())
	}
	return reply, retval(op, msg)
}

// retval turns a reply's retval into an error.
func retval(op string, reply api.Message) error {
	f := reflect.Indirect(reflect.ValueOf(reply)).FieldByName("Retval")
	if f.IsValid() && f.CanInt() && f.Int() != 0 {
		return &RetvalError{Op: op, Retval: int32(f.Int())} // #nosec G115 -- the field is an int32
	}
	return nil
}

// exchange is one stream to VPP with a deadline.
//
// Every exchange has a GoVPP stream of its own, since a stream takes whatever
// comes next for its reply. A stream whose replies did not all come is never
// closed: its number and its buffers would go to another one while a late reply
// may still come. It ends with the session; there are 32,767 numbers, and a
// session that times out goes mute long before they run out.
type exchange struct {
	s       *session
	op      string
	stream  api.Stream
	caller  context.Context
	ctx     context.Context
	cancel  func()
	waiting int // replies still to come
}

func (s *session) open(ctx context.Context, op string, opts ...api.StreamOption) (*exchange, error) {
	if err := s.acquire(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	cctx, cancel := context.WithTimeout(ctx, s.timeout)
	unlink := context.AfterFunc(s.ctx, cancel) //nolint:contextcheck // the end of the session ends the call too
	x := &exchange{s: s, op: op, caller: ctx, ctx: cctx, cancel: func() { unlink(); cancel() }}
	stream, err := s.conn.NewStream(cctx, opts...)
	if err != nil {
		x.cancel()
		s.release()
		return nil, fmt.Errorf("%s: %w: open stream: %w", op, ErrDown, err)
	}
	x.stream = stream
	return x, nil
}

func (x *exchange) send(req api.Message) error {
	err := x.stream.SendMsg(req)
	if err == nil {
		return nil
	}
	if missing := x.s.lacks(req); missing != nil {
		return fmt.Errorf("%s: %w", x.op, missing)
	}
	// What cannot be written now never can on this connection.
	x.s.cancel(err)
	return fmt.Errorf("%s: %w: %w", x.op, ErrDown, err)
}

func (x *exchange) receive() (api.Message, error) {
	msg, err := x.stream.RecvMsg()
	switch {
	case err == nil:
		return msg, nil
	case x.s.ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", x.op, x.s.down())
	case x.caller.Err() != nil:
		return nil, fmt.Errorf("%s: %w", x.op, x.caller.Err())
	case x.ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w: no answer within %v", x.op, ErrDown, x.s.timeout)
	default:
		return nil, fmt.Errorf("%s: %w", x.op, err)
	}
}

func (x *exchange) close() {
	x.cancel()
	if x.waiting == 0 {
		_ = x.stream.Close() // fails only for one closed before
	}
	x.s.release()
}
