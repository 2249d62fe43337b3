package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// checkAgent says at once when nobody is there to do the work, and takes the
// agent's run-dir.
func (a *adding) checkAgent() error {
	agent := a.view.Agent
	if err := a.agentError(agent, types.ErrTryAgainLater, types.ErrTryAgainLater); err != nil {
		return err
	}
	if agent.Value.RunDir != "" {
		a.runDir = agent.Value.RunDir
	}
	if err := a.req.checkSocketPath(a.runDir); err != nil {
		return invalid(err)
	}
	return nil
}

// agentError is why a node's agent cannot serve an ADD now: with the code away
// while there is none or it is not ready, with vppDown while its VPP is down.
func (c *call) agentError(agent *store.Versioned[schema.AgentInfo], away, vppDown uint) error {
	msg := "the agent of node " + string(c.set.node) + " is not "
	switch {
	case agent == nil:
		return fail(away, msg+"there", errors.New("vpp-agent does not run on this node, or cannot reach etcd"))
	case agent.Err != nil:
		return fail(away, msg+"understood: it is of another version", agent.Err)
	case agent.Value.Ready:
		return nil
	}
	details := errors.New(strings.TrimSuffix(fmt.Sprintf("%s: %s", agent.Value.Reason, agent.Value.Message), ": "))
	if agent.Value.Reason == schema.ReasonVPPDown {
		return fail(vppDown, "VPP is not there on node "+string(c.set.node), details)
	}
	return fail(away, msg+"ready", details)
}

// room refuses an attachment for which the node has no room, before anything is
// made; others that come meanwhile are the transaction's to see. Where the pod has
// an older sandbox, this one takes its place.
func (a *adding) room() error {
	limit := int64(a.set.limit)
	if old := a.view.Pod; old != nil && old.Value.Container != a.id.container {
		return nil
	}
	if limit == 0 || a.view.Attachments < limit {
		return nil
	}
	return fullError(&store.FullError{Node: a.set.node, Attachments: a.view.Attachments, Limit: a.set.limit})
}

// fullError is what goes away when another attachment goes.
func fullError(err error) *types.Error {
	return fail(types.ErrTryAgainLater, "the node has no room for another attachment", err)
}
