package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// agentGrace is how long ADD waits for an agent that goes away meanwhile: a
// restart takes less.
const agentGrace = 3 * time.Second

var (
	errAgentGone = errors.New("the agent went away and did not come back within " + agentGrace.String())
	errWithdrawn = errors.New("another call removed the attachment meanwhile")
)

// waiting follows the host end's status.
type waiting struct {
	rev    int64
	status *schema.InterfaceStatus // the last one that speaks of rev
	seen   bool                    // there was a status
	gone   bool                    // it was deleted, or says that the host end was removed
}

// take says whether the wait is over.
func (w *waiting) take(st *schema.InterfaceStatus) bool {
	if st == nil {
		w.gone = w.seen
		return w.gone
	}
	w.seen = true
	if st.SpecRevision < w.rev {
		return false
	}
	if st.State == schema.Removed {
		w.gone = true
		return true
	}
	w.status = st
	return st.State != schema.Pending
}

// await waits until the agent says that the host end is Ready. Failed is an
// error at once, Pending waits until the call's time is over.
func (a *adding) await(ctx context.Context) (schema.InterfaceStatus, error) {
	w := &waiting{rev: a.rev}
	done := false
	if st := a.view.HostStatus; !a.mine && st != nil && st.Err == nil {
		done = w.take(&st.Value)
	}
	if !done {
		if err := a.follow(ctx, w); err != nil {
			return schema.InterfaceStatus{}, a.waitError(ctx, w, err)
		}
	}
	switch {
	case w.gone:
		return schema.InterfaceStatus{}, a.waitError(ctx, w, errWithdrawn)
	case w.status.State == schema.Failed:
		return schema.InterfaceStatus{}, fail(types.ErrInvalidNetworkConfig,
			"the agent of node "+string(a.set.node)+" refuses the attachment", statusText(w.status))
	}
	return *w.status, nil
}

// follow watches until w has what it waits for. An agent that goes away has
// agentGrace to come back.
func (a *adding) follow(ctx context.Context, w *waiting) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var grace *time.Timer
	stopGrace := func() {
		if grace != nil {
			grace.Stop()
			grace = nil
		}
	}
	defer stopGrace()
	err := a.store.AwaitHostStatus(ctx, a.set.node, a.id.container, a.id.ifName,
		func(st *schema.InterfaceStatus, _ *schema.AgentInfo, agentGone bool) bool {
			if !agentGone {
				stopGrace()
			} else if grace == nil {
				grace = time.AfterFunc(agentGrace, func() { cancel(errAgentGone) })
			}
			return w.take(st)
		})
	if err != nil && ctx.Err() != nil && !errors.Is(err, store.ErrUnavailable) {
		return context.Cause(ctx)
	}
	return err
}

// waitError says what was waited for, and what the agent said last.
func (a *adding) waitError(ctx context.Context, w *waiting, err error) error {
	msg := "the attachment did not become ready"
	if errors.Is(err, errTimeout) {
		msg = fmt.Sprintf("the attachment did not become ready within %s", a.set.timeout)
	}
	details := err
	switch {
	case w.status != nil:
		details = fmt.Errorf("%w; the agent's last word: %w", err, statusText(w.status))
	case errors.Is(err, errTimeout) && !errors.Is(err, store.ErrUnavailable):
		details = fmt.Errorf("%w; the agent of node %s said nothing", err, a.set.node)
	}
	code := codeOf(err)
	if ctx.Err() != nil || errors.Is(err, errAgentGone) || errors.Is(err, errWithdrawn) {
		code = types.ErrTryAgainLater
	}
	return fail(code, msg, details)
}

// statusText is a status for people.
func statusText(st *schema.InterfaceStatus) error {
	if st.Message == "" {
		return fmt.Errorf("%s (%s)", st.State, st.Reason)
	}
	return fmt.Errorf("%s (%s): %s", st.State, st.Reason, st.Message)
}

// awaitGone waits until the agent has removed the host end from VPP and its
// status from etcd, while there is an agent that can. It waits half of the
// call's time, and cleanupTime at most; afterwards it is no error, since the
// agent removes what no key wants in any case.
func (c *call) awaitGone(ctx context.Context, id identity) {
	ctx, cancel := context.WithTimeout(ctx, min(c.set.timeout/2, cleanupTime))
	defer cancel()
	err := c.store.AwaitHostStatus(ctx, c.set.node, id.container, id.ifName,
		func(st *schema.InterfaceStatus, agent *schema.AgentInfo, agentGone bool) bool {
			return st == nil || agentGone || agent != nil && !agent.Ready
		})
	if err != nil {
		c.log.WithField("err", err).Warn("agent has not confirmed the removal, it will catch up")
	}
}
