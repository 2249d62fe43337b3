package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// Waits between two tries to watch.
const (
	firstRetry = 100 * time.Millisecond
	maxRetry   = 5 * time.Second
)

// AwaitHostStatus watches the status of one host end, and the presence of the
// node's agent, from revision fromRev on, and calls done at each change until
// it says stop. st is the status, nil where the key is absent. agent is nil
// where the agent's presence has not changed since fromRev; agentGone says that
// it is absent.
//
// It makes no read before the watch, so fromRev should be the revision after
// the one the caller knows. When ctx ends the error wraps its cause, and is
// ErrUnavailable only if the watch could not be had.
func (s *Store) AwaitHostStatus(ctx context.Context, node schema.Node, container schema.ContainerID, ifname schema.IfName, fromRev int64, done func(st *schema.InterfaceStatus, agent *schema.AgentInfo, agentGone bool) (stop bool)) error {
	l := Lookup{Node: node, Container: container, IfName: ifname}
	if err := l.validate(false); err != nil {
		return err
	}
	w := &waiter{
		s: s, what: "await status of " + l.String(), done: done, next: fromRev,
		statusKey: s.keys.HostStatus(node, container, ifname), agentKey: s.keys.Agent(node),
	}
	for try := 0; ; try++ {
		stop, err := w.watch(ctx)
		if stop {
			return err
		}
		if ctx.Err() != nil {
			return w.ended(ctx, err)
		}
		if errors.Is(err, rpctypes.ErrCompacted) {
			if stop, err = w.read(ctx); stop {
				return err
			}
		}
		if err := sleep(ctx, jitter(growing(try, firstRetry, maxRetry))); err != nil {
			return w.ended(ctx, err)
		}
	}
}

// waiter is one AwaitHostStatus.
type waiter struct {
	s                   *Store
	what                string
	statusKey, agentKey string
	done                func(*schema.InterfaceStatus, *schema.AgentInfo, bool) bool
	next                int64
	created             bool

	known  bool // status is what etcd holds
	status *schema.InterfaceStatus
	agent  *schema.AgentInfo
	gone   bool
}

func (w *waiter) ended(ctx context.Context, last error) error {
	cause := context.Cause(ctx)
	if w.created || errors.Is(cause, context.Canceled) {
		return fmt.Errorf("%s: %w", w.what, cause)
	}
	if last == nil || errors.Is(last, cause) {
		last = errors.New("the watch was not answered")
	}
	return fmt.Errorf("%s: %w at %s: %w: %w", w.what, ErrUnavailable, w.s.where(), last, cause)
}

// watch runs until done says stop or the watch breaks.
func (w *waiter) watch(parent context.Context) (bool, error) {
	c, err := w.s.connect(parent)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(parent))
	defer cancel()
	status := c.Watch(ctx, w.statusKey, clientv3.WithRev(w.next), clientv3.WithCreatedNotify())
	agent := c.Watch(ctx, w.agentKey, clientv3.WithRev(w.next))
	for {
		select {
		case resp, ok := <-status:
			if stop, err := w.handle(parent, resp, ok); stop || err != nil {
				return stop, err
			}
		case resp, ok := <-agent:
			if stop, err := w.handle(parent, resp, ok); stop || err != nil {
				return stop, err
			}
		case <-parent.Done():
			return false, context.Cause(parent)
		}
	}
}

func (w *waiter) handle(ctx context.Context, resp clientv3.WatchResponse, ok bool) (bool, error) {
	if !ok {
		return false, errors.New("the watch was closed")
	}
	if err := resp.Err(); err != nil {
		return false, err
	}
	w.created = w.created || resp.Created
	for _, ev := range resp.Events {
		stop, err := w.event(ctx, ev)
		if stop || err != nil {
			return stop, err
		}
	}
	return false, nil
}

func (w *waiter) event(ctx context.Context, ev *clientv3.Event) (bool, error) {
	gone := ev.Type == clientv3.EventTypeDelete
	if string(ev.Kv.Key) == w.agentKey {
		w.setAgent(ev.Kv.Value, gone)
		if !w.known {
			// done must not take a status not heard of for an absent one.
			return w.read(ctx)
		}
		return w.done(w.status, w.agent, w.gone), nil
	}
	if err := w.setStatus(ev.Kv.Value, gone); err != nil {
		return true, err
	}
	return w.done(w.status, w.agent, w.gone), nil
}

// setAgent takes a presence that cannot be read, by a newer agent, for one of
// which nothing is known but that it is there.
func (w *waiter) setAgent(value []byte, gone bool) {
	w.gone, w.agent = gone, nil
	if gone {
		return
	}
	if a, err := schema.Decode[schema.AgentInfo](value); err == nil {
		w.agent = &a
	}
}

func (w *waiter) setStatus(value []byte, gone bool) error {
	w.known, w.status = true, nil
	if gone {
		return nil
	}
	st, err := schema.Decode[schema.InterfaceStatus](value)
	if err != nil {
		return fmt.Errorf("%s: key %s: %w", w.what, w.statusKey, err)
	}
	w.status = &st
	return nil
}

// read takes both keys as they are now, where events do not tell.
func (w *waiter) read(ctx context.Context) (bool, error) {
	resp, err := w.s.txn(ctx, w.what, nil, []clientv3.Op{clientv3.OpGet(w.statusKey), clientv3.OpGet(w.agentKey)}, nil)
	if err != nil {
		return false, err
	}
	w.next = resp.Header.GetRevision() + 1
	st, agent := resp.Responses[0].GetResponseRange().GetKvs(), resp.Responses[1].GetResponseRange().GetKvs()
	w.setAgent(valueOf(agent), len(agent) == 0)
	if err := w.setStatus(valueOf(st), len(st) == 0); err != nil {
		return true, err
	}
	return w.done(w.status, w.agent, w.gone), nil
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
