package store

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// validate checks every name before it becomes part of a key.
func (l Lookup) validate(needPod bool) error {
	if err := firstError(l.Node.Validate(), l.Container.Validate(), l.IfName.Validate()); err != nil {
		return err
	}
	if l.Pod != "" || needPod {
		if err := l.Pod.Validate(); err != nil {
			return err
		}
	}
	for _, n := range l.Networks {
		if err := n.Validate(); err != nil {
			return err
		}
	}
	return nil
}

func (l Lookup) String() string { return fmt.Sprintf("attachment %s/%s", l.Container, l.IfName) }

// Look reads everything about one attachment in one transaction, so that all
// of the View is of one revision. It makes one round trip.
func (s *Store) Look(ctx context.Context, l Lookup) (View, error) {
	if err := l.validate(true); err != nil {
		return View{}, err
	}
	k := s.keys
	ops := []clientv3.Op{
		clientv3.OpGet(k.Agent(l.Node)),
		clientv3.OpGet(k.Host(l.Node, l.Container, l.IfName)),
		clientv3.OpGet(k.HostStatus(l.Node, l.Container, l.IfName)),
		clientv3.OpGet(k.PodInterface(l.Node, l.Pod, l.IfName)),
		clientv3.OpGet(k.PodStatus(l.Node, l.Pod, l.IfName)),
	}
	for _, n := range l.Networks {
		ops = append(ops, clientv3.OpGet(k.Network(n)))
	}
	if l.Count {
		ops = append(ops, s.count(l.Node))
	}
	resp, err := s.txn(ctx, "look up "+l.String(), nil, ops, nil)
	if err != nil {
		return View{}, err
	}
	v := View{
		Rev:        resp.Header.GetRevision(),
		Agent:      got[schema.AgentInfo](resp, 0),
		Host:       got[schema.HostInterface](resp, 1),
		HostStatus: got[schema.InterfaceStatus](resp, 2),
		Pod:        got[schema.PodInterface](resp, 3),
		PodStatus:  got[schema.InterfaceStatus](resp, 4),
		Networks:   make(map[schema.NetworkName]*Versioned[schema.Network], len(l.Networks)),
	}
	for i, n := range l.Networks {
		v.Networks[n] = got[schema.Network](resp, 5+i)
	}
	if l.Count {
		v.Attachments = counted(resp, len(ops)-1)
	}
	return v, nil
}

// got is the answer of the i-th operation, a get of one key; nil when absent.
func got[V schema.Value](resp *clientv3.TxnResponse, i int) *Versioned[V] {
	if i >= len(resp.Responses) {
		return nil
	}
	kvs := resp.Responses[i].GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		return nil
	}
	return versioned[V](kvs[0])
}

func versioned[V schema.Value](kv *mvccpb.KeyValue) *Versioned[V] {
	v := &Versioned[V]{Key: string(kv.Key), Rev: kv.ModRevision, Raw: kv.Value}
	if v.Value, v.Err = schema.Decode[V](kv.Value); v.Err != nil {
		v.Err = fmt.Errorf("key %s: %w", v.Key, v.Err)
	}
	return v
}

// firstError is the first error, for names that are of no use without each
// other.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
