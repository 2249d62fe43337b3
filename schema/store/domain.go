package store

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// domainTries bounds the rounds of AllocateDomain. In each round at least one of
// those who ask at once gets its id.
const domainTries = 100

// AllocateDomain returns the bridge-domain id of a named network, and gives it
// one where it has none: the lowest free id from schema.FirstNamedDomain on.
// Every caller in the cluster gets the same id for the same name. The other
// fields of the network's record stay as they are.
func (s *Store) AllocateDomain(ctx context.Context, name schema.NetworkName) (uint32, schema.Network, error) {
	if err := name.Validate(); err != nil {
		return 0, schema.Network{}, err
	}
	what := "give network " + string(name) + " a bridge domain"
	for try := range domainTries {
		n, done, err := s.allocateOnce(ctx, what, name)
		if err != nil || done {
			return n.DomainID, n, err
		}
		if err := pause(ctx, try); err != nil {
			return 0, schema.Network{}, fmt.Errorf("%s: %w", what, err)
		}
	}
	return 0, schema.Network{}, fmt.Errorf("%s: %w", what, ErrConflict)
}

func (s *Store) allocateOnce(ctx context.Context, what string, name schema.NetworkName) (schema.Network, bool, error) {
	resp, err := s.txn(ctx, what, nil, []clientv3.Op{
		clientv3.OpGet(s.keys.Network(name)),
		clientv3.OpGet(s.keys.BridgeDomainsPrefix(), clientv3.WithPrefix(), clientv3.WithKeysOnly()),
	}, nil)
	if err != nil {
		return schema.Network{}, false, err
	}
	seen := got[schema.Network](resp, 0)
	var n schema.Network
	if seen != nil {
		if seen.Err != nil {
			return schema.Network{}, false, fmt.Errorf("%s: %w", what, seen.Err)
		}
		n = seen.Value
	}
	if n.DomainID != 0 {
		return n, true, nil
	}
	if n.DomainID, err = s.lowestFree(resp); err != nil {
		return schema.Network{}, false, fmt.Errorf("%s: %w", what, err)
	}
	network, err := schema.Encode(n)
	if err != nil {
		return schema.Network{}, false, err
	}
	record, err := schema.Encode(schema.BridgeDomain{Network: name})
	if err != nil {
		return schema.Network{}, false, err
	}
	domain := s.keys.BridgeDomain(n.DomainID)
	_, err = s.guarded(ctx, what, []guard{
		atRev(s.keys.Network(name), revOf(seen), "its record changed"),
		atRev(domain, 0, "the id was taken"),
	}, []clientv3.Op{
		clientv3.OpPut(s.keys.Network(name), string(network)),
		clientv3.OpPut(domain, string(record)),
	})
	if errors.Is(err, ErrConflict) {
		return schema.Network{}, false, nil
	}
	if err != nil {
		return schema.Network{}, false, err
	}
	return n, true, nil
}

// lowestFree is the lowest id that no key of the second answer names.
func (s *Store) lowestFree(resp *clientv3.TxnResponse) (uint32, error) {
	taken := map[uint32]bool{}
	for _, kv := range resp.Responses[1].GetResponseRange().GetKvs() {
		ref, err := s.keys.Parse(string(kv.Key))
		if err != nil {
			continue // not a record of ours: it takes no id
		}
		taken[ref.DomainID] = true
	}
	for id := schema.FirstNamedDomain; id <= schema.MaxDomain; id++ {
		if !taken[id] {
			return id, nil
		}
	}
	return 0, fmt.Errorf("all ids from %d to %d are taken", schema.FirstNamedDomain, schema.MaxDomain)
}
