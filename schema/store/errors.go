package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vpp-cni/vpp-cni/schema"
)

var (
	// ErrUnavailable is an etcd that cannot be reached, has no leader, refuses
	// writes for want of space, or does not answer in time.
	ErrUnavailable = errors.New("etcd is not available")
	// ErrNoSpace is an etcd that has used up its space and refuses all writes but
	// deletes until somebody makes room. It is ErrUnavailable too, but certain: the
	// write was taken before the answer or never will be.
	ErrNoSpace = errors.New("etcd is out of space: compact and defragment it, or raise its quota, then disarm its alarm")
	// ErrDenied is an etcd that refuses the call to this user: somebody must give
	// it the role that it lacks, or the right password.
	ErrDenied = errors.New("etcd refuses this")
	// ErrConflict is a guard of a transaction that did not hold.
	ErrConflict = errors.New("changed by somebody else meanwhile")
)

// FullError is a node that has as many attachments as it may.
type FullError struct {
	Node schema.Node
	// Attachments counts those that are there without the one that is refused,
	// Limit is how many there may be.
	Attachments int64
	Limit       int
}

func (e *FullError) Error() string {
	return fmt.Sprintf("node %s has %d attachments and may have %d (agent.maxAttachments)", e.Node, e.Attachments, e.Limit)
}

// classify wraps an error of etcd's client. A call that its caller canceled is
// neither ErrUnavailable nor ErrConflict.
func (s *Store) classify(ctx context.Context, what string, took time.Duration, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrConflict) || errors.Is(err, ErrDenied) {
		return fmt.Errorf("%s: %w", what, err)
	}
	if errors.Is(err, rpctypes.ErrNoSpace) {
		return fmt.Errorf("%s: %w at %s: %w", what, ErrUnavailable, s.where(), ErrNoSpace)
	}
	if timedOut(err) {
		why := "no answer within " + roughly(took).String()
		if c := s.cause.text(); c != "" {
			why += ": " + c
		}
		return fmt.Errorf("%s: %w at %s: %s: %w%s", what, ErrUnavailable, s.where(), why, context.DeadlineExceeded, s.notes(why))
	}
	if transient(err) {
		return fmt.Errorf("%s: %w at %s: %w%s", what, ErrUnavailable, s.where(), err, s.notes(err.Error()))
	}
	if denied(err) {
		return fmt.Errorf("%s: %w%s: %w", what, ErrDenied, s.asUser(), err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// notes are what there is to know of the certificates when a connection fails.
func (s *Store) notes(failure string) string {
	if n := s.files.notes(time.Now(), failure); n != "" {
		return ": " + n
	}
	return ""
}

func (s *Store) asUser() string {
	if user := s.User(); user != "" {
		return " to user " + user
	}
	return " without a user"
}

// denied says whether etcd takes the caller for somebody who may not do this, or
// for nobody.
func denied(err error) bool {
	for _, e := range []error{rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty, rpctypes.ErrAuthFailed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// roughly leaves out by how much a time-out was late, so that one that comes
// again reads the same.
func roughly(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Truncate(100 * time.Millisecond)
}

func (s *Store) where() string { return strings.Join(s.cfg.Endpoints, ", ") }

func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}

// transient says whether a call that failed with err may work later without
// anybody changing anything here.
func transient(err error) bool {
	code := status.Code(err)
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		code = e.Code()
	}
	switch code {
	case codes.Unavailable, codes.ResourceExhausted, codes.Internal, codes.DeadlineExceeded, codes.Aborted:
		return true
	default:
		return errors.Is(err, rpctypes.ErrNoLeader) || errors.Is(err, rpctypes.ErrLeaderChanged)
	}
}

// cause remembers why the connection does not work: etcd's client waits for a
// connection until the deadline, and then says that the deadline is over.
type cause struct{ last atomic.Pointer[string] }

func (c *cause) text() string {
	if p := c.last.Load(); p != nil {
		return *p
	}
	return ""
}

// observe stands between etcd's client and gRPC, where the errors are whole.
func (c *cause) observe(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if err == nil {
		c.last.Store(nil)
		return nil
	}
	if s, ok := status.FromError(err); ok {
		text := shorten(s.Message())
		c.last.Store(&text)
	}
	return err
}

// shorten takes gRPC's layers off a connection error, down to the system's own
// words, such as "dial tcp 127.0.0.1:2379: connect: connection refused".
func shorten(s string) string {
	for _, mark := range []string{"latest balancer error: ", "latest connection error: ", "desc = "} {
		if i := strings.LastIndex(s, mark); i >= 0 {
			s = s[i+len(mark):]
		}
	}
	s = strings.TrimPrefix(s, "transport: ")
	s = strings.TrimPrefix(s, "Error while dialing: ")
	return strings.Trim(s, `"`)
}

// isLeaseGone says whether a call failed because etcd does not know the lease.
func isLeaseGone(err error) bool { return errors.Is(err, rpctypes.ErrLeaseNotFound) }
