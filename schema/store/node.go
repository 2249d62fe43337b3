package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// ErrNoAgent is a node without the agent that the call is for.
var ErrNoAgent = errors.New("the node has no agent")

// DeletedNode says what DeleteNode removed.
type DeletedNode struct {
	Rev int64
	// Keys is how many keys there were, Attachments how many desired host ends
	// among them.
	Keys        int64
	Attachments int64
}

// DeleteNode removes everything of a node that is gone for good, in one
// transaction, and only while it has no agent; else the error is ErrConflict and
// names the agent. Addresses of its attachments are not given back: they are the
// IPAM plugin's.
func (s *Store) DeleteNode(ctx context.Context, n schema.Node) (DeletedNode, error) {
	what := "delete node " + string(n)
	if err := n.Validate(); err != nil {
		return DeletedNode{}, fmt.Errorf("%s: %w", what, err)
	}
	agent := s.keys.Agent(n)
	resp, err := s.txn(ctx, what,
		[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(agent), "=", 0)},
		[]clientv3.Op{
			clientv3.OpGet(s.keys.HostPrefix(n), clientv3.WithPrefix(), clientv3.WithCountOnly()),
			clientv3.OpDelete(s.keys.NodePrefix(n), clientv3.WithPrefix()),
		},
		[]clientv3.Op{clientv3.OpGet(agent)})
	if err != nil {
		return DeletedNode{}, err
	}
	if !resp.Succeeded {
		return DeletedNode{}, fmt.Errorf("%s: %s: %w", what, presentAgent(got[schema.AgentInfo](resp, 0)), ErrConflict)
	}
	return DeletedNode{
		Rev:         resp.Header.GetRevision(),
		Keys:        resp.Responses[1].GetResponseDeleteRange().GetDeleted(),
		Attachments: resp.Responses[0].GetResponseRange().GetCount(),
	}, nil
}

// presentAgent names the agent that is there.
func presentAgent(a *Versioned[schema.AgentInfo]) string {
	if a == nil || a.Err != nil {
		return "its agent is there"
	}
	return fmt.Sprintf("its agent is there: instance %s, process %d, since %s", a.Value.Instance, a.Value.PID, a.Value.Since.Format(time.RFC3339))
}

// PutRelease gives the node's agent the word that what it holds may go, and
// returns what the agent said of itself: with Held 0 there was nothing to say,
// and nothing was written. ErrNoAgent: there is nobody to say it to. The word is
// for this instance of the agent alone, and goes with its lease.
func (s *Store) PutRelease(ctx context.Context, n schema.Node) (schema.AgentInfo, error) {
	what := "release what node " + string(n) + " holds"
	if err := n.Validate(); err != nil {
		return schema.AgentInfo{}, fmt.Errorf("%s: %w", what, err)
	}
	for try := range detachTries {
		info, err := s.releaseOnce(ctx, what, n)
		if !errors.Is(err, ErrConflict) {
			return info, err
		}
		if err := pause(ctx, try); err != nil {
			return schema.AgentInfo{}, fmt.Errorf("%s: %w", what, err)
		}
	}
	return schema.AgentInfo{}, fmt.Errorf("%s: %w", what, ErrConflict)
}

func (s *Store) releaseOnce(ctx context.Context, what string, n schema.Node) (schema.AgentInfo, error) {
	key := s.keys.Agent(n)
	resp, err := s.txn(ctx, what, nil, []clientv3.Op{clientv3.OpGet(key)}, nil)
	if err != nil {
		return schema.AgentInfo{}, err
	}
	agent := got[schema.AgentInfo](resp, 0)
	if agent == nil {
		return schema.AgentInfo{}, fmt.Errorf("%s: %w", what, ErrNoAgent)
	}
	if agent.Err != nil {
		return schema.AgentInfo{}, fmt.Errorf("%s: %w", what, agent.Err)
	}
	if agent.Value.Held == 0 {
		return agent.Value, nil
	}
	word := schema.Release{Instance: agent.Value.Instance, At: time.Now().UTC().Truncate(time.Millisecond)}
	if err = word.Validate(); err != nil {
		return schema.AgentInfo{}, fmt.Errorf("%s: %w", what, err)
	}
	value, err := schema.Encode(word)
	if err != nil {
		return schema.AgentInfo{}, fmt.Errorf("%s: %w", what, err)
	}
	lease := clientv3.LeaseID(resp.Responses[0].GetResponseRange().GetKvs()[0].Lease)
	_, err = s.guarded(ctx, what, []guard{atRev(key, agent.Rev, "its agent said something new")},
		[]clientv3.Op{clientv3.OpPut(s.keys.Release(n), string(value), clientv3.WithLease(lease))})
	if isLeaseGone(err) {
		err = fmt.Errorf("%s: %w: %w", what, ErrNoAgent, err)
	}
	return agent.Value, err
}
