package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// Waits between two tries to watch.
const (
	firstRetry = 100 * time.Millisecond
	maxRetry   = 5 * time.Second
)

// AwaitHostStatus watches the status of one host end and the presence of the
// node's agent. It calls done with both as they are once the watch stands, and
// at each change after that, until done says stop. st is the status, nil where
// the key is absent; agent is nil where it cannot be read; agentGone says that
// it is absent.
//
// When ctx ends the error wraps its cause, and is ErrUnavailable only if the
// watch could not be had.
//
// The watch begins at etcd's present and is followed by a read. A watch from a
// revision that is past by the time it arrives, as that of the caller's own
// transaction is when the agent was quick or the cluster is busy, would be
// served by etcd's catch-up loop, up to 100 ms later
// (server/storage/mvcc, watchResyncPeriod).
func (s *Store) AwaitHostStatus(ctx context.Context, node schema.Node, container schema.ContainerID, ifname schema.IfName, done func(st *schema.InterfaceStatus, agent *schema.AgentInfo, agentGone bool) (stop bool)) error {
	l := Lookup{Node: node, Container: container, IfName: ifname}
	if err := l.validate(false); err != nil {
		return err
	}
	w := &waiter{
		s: s, what: "await status of " + l.String(), done: done,
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
	created             bool

	rev    int64 // of the read: events up to here are known
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
	c, err := w.s.connect()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(parent))
	defer cancel()
	status := c.Watch(ctx, w.statusKey, clientv3.WithCreatedNotify())
	agent := c.Watch(ctx, w.agentKey, clientv3.WithCreatedNotify())
	for _, events := range []clientv3.WatchChan{status, agent} {
		if err := w.stand(parent, events); err != nil {
			return false, err
		}
	}
	w.created = true
	if stop, err := w.read(parent); stop || err != nil {
		return stop, err
	}
	for {
		select {
		case resp, ok := <-status:
			if stop, err := w.handle(resp, ok); stop || err != nil {
				return stop, err
			}
		case resp, ok := <-agent:
			if stop, err := w.handle(resp, ok); stop || err != nil {
				return stop, err
			}
		case <-parent.Done():
			return false, context.Cause(parent)
		}
	}
}

// stand waits until etcd has taken the watch.
func (w *waiter) stand(ctx context.Context, events clientv3.WatchChan) error {
	select {
	case resp, ok := <-events:
		if !ok {
			return errWatchClosed
		}
		return resp.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errWatchClosed = errors.New("the watch was closed")

func (w *waiter) handle(resp clientv3.WatchResponse, ok bool) (bool, error) {
	if !ok {
		return false, errWatchClosed
	}
	if err := resp.Err(); err != nil {
		return false, err
	}
	for _, ev := range resp.Events {
		if ev.Kv.ModRevision <= w.rev {
			continue
		}
		if stop, err := w.event(ev); stop || err != nil {
			return stop, err
		}
	}
	return false, nil
}

func (w *waiter) event(ev *clientv3.Event) (bool, error) {
	gone := ev.Type == clientv3.EventTypeDelete
	if string(ev.Kv.Key) == w.agentKey {
		w.setAgent(ev.Kv.Value, gone)
	} else if err := w.setStatus(ev.Kv.Value, gone); err != nil {
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
	w.status = nil
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

// read takes both keys as they are now.
func (w *waiter) read(ctx context.Context) (bool, error) {
	resp, err := w.s.txn(ctx, w.what, nil, []clientv3.Op{clientv3.OpGet(w.statusKey), clientv3.OpGet(w.agentKey)}, nil)
	if err != nil {
		return false, err
	}
	w.rev = resp.Header.GetRevision()
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
