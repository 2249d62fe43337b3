package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// InUseError is a network that cannot be deleted for the attachments it has.
type InUseError struct {
	Network schema.NetworkName
	// Attachments is how many there are, and Example one of them.
	Attachments int
	Example     string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("network %s is in use by %d attachments, such as %s", e.Network, e.Attachments, e.Example)
}

// Network reads one network's record; nil when absent.
func (s *Store) Network(ctx context.Context, name schema.NetworkName) (*Versioned[schema.Network], error) {
	if err := name.Validate(); err != nil {
		return nil, err
	}
	resp, err := s.txn(ctx, "read network "+string(name), nil, []clientv3.Op{clientv3.OpGet(s.keys.Network(name))}, nil)
	if err != nil {
		return nil, err
	}
	return got[schema.Network](resp, 0), nil
}

// Networks lists all networks by name, and the revision of the list.
func (s *Store) Networks(ctx context.Context) ([]NetworkView, int64, error) {
	l, err := s.Subtree("").list(ctx, s.keys.NetworksPrefix(), false)
	if err != nil {
		return nil, 0, err
	}
	out := make([]NetworkView, 0, len(l.kvs))
	for _, kv := range l.kvs {
		ref, err := s.keys.Parse(string(kv.Key))
		if err != nil {
			continue // not a record of ours
		}
		out = append(out, NetworkView{Name: ref.Network, Versioned: *versioned[schema.Network](kv)})
	}
	return out, l.rev, nil
}

// PutNetwork writes a network's record while it is at ifRev, 0 for absent, and
// returns the new revision; else the error is ErrConflict. A DomainID is
// AllocateDomain's to give: n must have the one that was there.
func (s *Store) PutNetwork(ctx context.Context, name schema.NetworkName, n schema.Network, ifRev int64) (int64, error) {
	what := "write network " + string(name)
	if err := firstError(name.Validate(), n.Validate()); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	data, err := schema.Encode(n)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	key := s.keys.Network(name)
	resp, err := s.guarded(ctx, what, []guard{atRev(key, ifRev, "its record changed")}, []clientv3.Op{clientv3.OpPut(key, string(data))})
	if err != nil {
		return 0, err
	}
	return resp.Header.GetRevision(), nil
}

// deleteTries bounds the rounds of DeleteNetwork: one is lost when any key of
// any node changed between its list and its transaction.
const deleteTries = 20

// DeleteNetwork removes a network's record and gives its bridge-domain id back,
// and says whether there was one. A network with attachments is refused
// (InUseError).
func (s *Store) DeleteNetwork(ctx context.Context, name schema.NetworkName) (bool, error) {
	if err := name.Validate(); err != nil {
		return false, err
	}
	what := "delete network " + string(name)
	for try := range deleteTries {
		existed, err := s.deleteNetworkOnce(ctx, what, name)
		if !errors.Is(err, ErrConflict) {
			return existed, err
		}
		if err := pause(ctx, try); err != nil {
			return false, fmt.Errorf("%s: %w", what, err)
		}
	}
	return false, fmt.Errorf("%s: %w", what, ErrConflict)
}

func (s *Store) deleteNetworkOnce(ctx context.Context, what string, name schema.NetworkName) (bool, error) {
	n, err := s.Network(ctx, name)
	if err != nil || n == nil {
		return false, err
	}
	used, rev, err := s.Attachments(ctx, Filter{Network: name})
	if err != nil {
		return false, err
	}
	used = slices.DeleteFunc(used, func(a AttachmentView) bool { return a.Host == nil && a.Pod == nil })
	if len(used) > 0 {
		return false, &InUseError{Network: name, Attachments: len(used), Example: fmt.Sprintf("%s/%s on node %s", used[0].Container, used[0].IfName, used[0].Node)}
	}
	nodes := s.keys.NodesPrefix()
	guards := []guard{
		atRev(s.keys.Network(name), n.Rev, "its record changed"),
		{cmp: clientv3.Compare(clientv3.ModRevision(nodes), "<", rev+1).WithPrefix(), key: nodes, broken: func(int64) bool { return true }, why: "attachments changed"},
	}
	ops := []clientv3.Op{clientv3.OpDelete(s.keys.Network(name))}
	if n.Err == nil && n.Value.DomainID >= schema.FirstNamedDomain {
		ops = append(ops, clientv3.OpDelete(s.keys.BridgeDomain(n.Value.DomainID)))
	}
	_, err = s.guarded(ctx, what, guards, ops)
	return err == nil, err
}
