package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// guard is a condition of a transaction with the words for the case that it
// does not hold.
type guard struct {
	cmp clientv3.Cmp
	why string
	// key is read when a guard fails, and broken says whether it was this one.
	key    string
	broken func(rev int64) bool
}

// atRev holds while key is at rev; 0 means absent.
func atRev(key string, rev int64, why string) guard {
	return guard{
		cmp: clientv3.Compare(clientv3.ModRevision(key), "=", rev),
		why: why, key: key,
		broken: func(now int64) bool { return now != rev },
	}
}

// present holds while key exists.
func present(key, why string) guard {
	return guard{
		cmp: clientv3.Compare(clientv3.CreateRevision(key), ">", 0),
		why: why, key: key,
		broken: func(now int64) bool { return now == 0 },
	}
}

// guarded runs ops in one transaction if all guards hold; else ErrConflict
// names those that did not.
func (s *Store) guarded(ctx context.Context, what string, guards []guard, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	cmps := make([]clientv3.Cmp, len(guards))
	reads := make([]clientv3.Op, len(guards))
	for i, g := range guards {
		cmps[i] = g.cmp
		reads[i] = clientv3.OpGet(g.key, clientv3.WithKeysOnly())
	}
	resp, err := s.txn(ctx, what, cmps, ops, reads)
	if err != nil {
		return nil, err
	}
	if resp.Succeeded {
		return resp, nil
	}
	for i, g := range guards {
		var now int64
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			now = kvs[0].ModRevision
		}
		if g.broken(now) {
			return nil, fmt.Errorf("%s: %s: %w", what, g.why, ErrConflict)
		}
	}
	return nil, fmt.Errorf("%s: %w", what, ErrConflict)
}

// Attach puts both ends in one transaction and returns its revision. It
// succeeds only while the host key is absent, the node's agent is there, and
// the pod key and the networks are as seen; else the error is ErrConflict, and
// nothing has changed.
//
// Where seen.Pod belongs to another container, that sandbox of the same pod is
// gone without a DEL: its host key goes in the same transaction, with a witness
// (see Detach). A pod status goes in any case: it speaks of an older desired
// value.
func (s *Store) Attach(ctx context.Context, a Attachment, seen View) (int64, error) {
	return s.AttachWithin(ctx, a, seen, 0)
}

// AttachWithin is Attach on a node that is to have no more than limit
// attachments; 0 is no limit. The transaction counts the node's host ends after
// its own put, and etcd takes one transaction after the other: however many come
// at once, no more than limit are within it. Where this one is over it, the error
// is a FullError and the attachment is there, at the revision returned; it counts
// until the caller withdraws it. One that takes the place of an old sandbox's host
// end makes the node no fuller, and is never over the limit.
func (s *Store) AttachWithin(ctx context.Context, a Attachment, seen View, limit int) (int64, error) {
	l := Lookup{Node: a.Node, Container: a.Container, IfName: a.IfName, Pod: a.Pod.Pod.ID}
	what := "attach " + l.String()
	ops, err := s.attaching(a, l, seen)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	if limit > 0 {
		ops = append(ops, s.count(a.Node))
	}
	resp, err := s.guarded(ctx, what, s.attachGuards(a, l, seen), ops)
	if err != nil {
		return 0, err
	}
	rev := resp.Header.GetRevision()
	if limit > 0 && !replacedOne(resp) {
		if n := counted(resp, len(ops)-1); n > int64(limit) {
			return rev, fmt.Errorf("%s: %w", what, &FullError{Node: a.Node, Attachments: n - 1, Limit: limit})
		}
	}
	return rev, nil
}

// attachGuards are the conditions of Attach.
func (s *Store) attachGuards(a Attachment, l Lookup, seen View) []guard {
	k := s.keys
	guards := []guard{
		atRev(k.Host(a.Node, a.Container, a.IfName), 0, "it is there already"),
		present(k.Agent(a.Node), "the agent of node "+string(a.Node)+" went away"),
		atRev(k.PodInterface(a.Node, l.Pod, a.IfName), revOf(seen.Pod), "the pod's interface changed"),
	}
	for name, n := range seen.Networks {
		guards = append(guards, atRev(k.Network(name), revOf(n), "network "+string(name)+" changed"))
	}
	return guards
}

// attaching are the operations of Attach. The host end of an old sandbox is
// deleted at replacedOp.
func (s *Store) attaching(a Attachment, l Lookup, seen View) ([]clientv3.Op, error) {
	host, pod, err := a.encode(l)
	if err != nil {
		return nil, err
	}
	k := s.keys
	ops := []clientv3.Op{
		clientv3.OpPut(k.Host(a.Node, a.Container, a.IfName), string(host)),
		clientv3.OpPut(k.PodInterface(a.Node, l.Pod, a.IfName), string(pod)),
		clientv3.OpDelete(k.PodStatus(a.Node, l.Pod, a.IfName)),
	}
	p := seen.Pod
	switch {
	case p == nil:
		return ops, nil
	case p.Err != nil:
		return nil, fmt.Errorf("the pod's interface is taken by a value that cannot be read: %w", p.Err)
	case p.Value.Container == a.Container:
		return ops, nil
	}
	remove, err := s.replaced(a.Node, p.Value.Container, a.IfName, p.Rev)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", p.Key, err)
	}
	return append(ops, remove...), nil
}

// count counts the host ends of a node, without reading them.
func (s *Store) count(n schema.Node) clientv3.Op {
	return clientv3.OpGet(s.keys.HostPrefix(n), clientv3.WithPrefix(), clientv3.WithCountOnly())
}

// counted is the answer of the i-th operation, a count.
func counted(resp *clientv3.TxnResponse, i int) int64 {
	return resp.Responses[i].GetResponseRange().GetCount()
}

// replacedOp is the place of an old sandbox's host end among attaching's
// operations; without one, nothing is deleted there.
const replacedOp = 3

// replacedOne says whether Attach deleted the host end of an old sandbox.
func replacedOne(resp *clientv3.TxnResponse) bool {
	return resp.Responses[replacedOp].GetResponseDeleteRange().GetDeleted() > 0
}

// replaced removes the host end of a pod's old sandbox. Its pod end is at rev,
// and so is its host end: one transaction wrote both.
func (s *Store) replaced(n schema.Node, old schema.ContainerID, i schema.IfName, rev int64) ([]clientv3.Op, error) {
	if err := old.Validate(); err != nil {
		return nil, err
	}
	w, err := removed(rev)
	if err != nil {
		return nil, err
	}
	status := s.keys.HostStatus(n, old, i)
	return []clientv3.Op{
		clientv3.OpDelete(s.keys.Host(n, old, i)),
		clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(status), "=", 0)}, []clientv3.Op{clientv3.OpPut(status, string(w))}, nil),
	}, nil
}

// encode checks a's names and values, and that both ends speak of one
// attachment.
func (a Attachment) encode(l Lookup) (host, pod []byte, err error) {
	if err = firstError(l.validate(true), a.Host.Validate(), a.Pod.Validate()); err != nil {
		return nil, nil, err
	}
	if a.Pod.Container != a.Container {
		return nil, nil, fmt.Errorf("the pod's end names container %s", a.Pod.Container)
	}
	if a.Host.Pod.ID != a.Pod.Pod.ID {
		return nil, nil, fmt.Errorf("the host's end names pod %s, the pod's end %s", a.Host.Pod.ID, a.Pod.Pod.ID)
	}
	if host, err = schema.Encode(a.Host); err != nil {
		return nil, nil, err
	}
	pod, err = schema.Encode(a.Pod)
	return host, pod, err
}

// revOf is the revision to guard on; 0 where v is absent.
func revOf[V schema.Value](v *Versioned[V]) int64 {
	if v == nil {
		return 0
	}
	return v.Rev
}
