package store

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// Attachments lists the attachments of a node or a network, or all, sorted by
// node, container and interface, and the revision of the list. A value that
// cannot be decoded stands in its place with its Err; with a network filter it
// is left out, since nobody knows whether it belongs.
func (s *Store) Attachments(ctx context.Context, f Filter) ([]AttachmentView, int64, error) {
	prefix := s.keys.NodesPrefix()
	if f.Node != "" {
		if err := f.Node.Validate(); err != nil {
			return nil, 0, err
		}
		prefix = s.keys.NodePrefix(f.Node)
	}
	l, err := s.listShown(ctx, prefix, false)
	if err != nil {
		return nil, 0, err
	}
	j := newJoin()
	j.partial = l.partial
	for _, kv := range l.kvs {
		if ref, err := s.keys.Parse(string(kv.Key)); err == nil {
			j.add(ref, kv)
		}
	}
	return j.result(f.Network), l.rev, nil
}

// attachmentID names one attachment in the whole cluster.
type attachmentID struct {
	node      schema.Node
	container schema.ContainerID
	ifname    schema.IfName
}

// podEndID names one pod end in the whole cluster.
type podEndID struct {
	node   schema.Node
	pod    schema.PodID
	ifname schema.IfName
}

// listShown is a list of what the user may read.
func (s *Store) listShown(ctx context.Context, prefix string, keysOnly bool) (listing, error) {
	l, err := s.Subtree("").list(ctx, prefix, keysOnly)
	if errors.Is(err, ErrDenied) {
		return s.listReadable(ctx, prefix, keysOnly, err)
	}
	return l, err
}

// join puts the keys of the same attachment together.
type join struct {
	partial  bool
	views    map[attachmentID]*AttachmentView
	pods     map[podEndID]*Versioned[schema.PodInterface]
	statuses map[podEndID]*Versioned[schema.InterfaceStatus]
}

func newJoin() *join {
	return &join{
		views:    map[attachmentID]*AttachmentView{},
		pods:     map[podEndID]*Versioned[schema.PodInterface]{},
		statuses: map[podEndID]*Versioned[schema.InterfaceStatus]{},
	}
}

func (j *join) view(n schema.Node, c schema.ContainerID, i schema.IfName) *AttachmentView {
	id := attachmentID{n, c, i}
	if j.views[id] == nil {
		j.views[id] = &AttachmentView{Node: n, Container: c, IfName: i}
	}
	return j.views[id]
}

func (j *join) add(ref schema.Ref, kv *mvccpb.KeyValue) {
	switch ref.Kind {
	case schema.KeyHost:
		v := j.view(ref.Node, ref.Container, ref.IfName)
		v.Host = versioned[schema.HostInterface](kv)
		v.PodID = owner(kv.Value).Pod.ID
	case schema.KeyHostStatus:
		j.view(ref.Node, ref.Container, ref.IfName).HostStatus = versioned[schema.InterfaceStatus](kv)
	case schema.KeyPodInterface:
		j.pods[podEndID{ref.Node, ref.Pod, ref.IfName}] = versioned[schema.PodInterface](kv)
	case schema.KeyPodStatus:
		j.statuses[podEndID{ref.Node, ref.Pod, ref.IfName}] = versioned[schema.InterfaceStatus](kv)
	default:
	}
}

// result joins the pod ends by the container that they name.
func (j *join) result(network schema.NetworkName) []AttachmentView {
	for id, p := range j.pods {
		v := j.view(id.node, owner(p.Raw).Container, id.ifname)
		v.Pod, v.PodID, v.PodStatus = p, id.pod, j.statuses[id]
		delete(j.statuses, id)
	}
	for id, st := range j.statuses {
		j.view(id.node, schema.ContainerID(id.pod), id.ifname).PodStatus = st
	}
	out := make([]AttachmentView, 0, len(j.views))
	for _, v := range j.views {
		v.Partial = j.partial && v.Host == nil
		if network == "" || v.network() == network {
			out = append(out, *v)
		}
	}
	slices.SortFunc(out, func(a, b AttachmentView) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Container, b.Container), cmp.Compare(a.IfName, b.IfName))
	})
	return out
}

// network is what either desired end names; empty where none can be read.
func (v *AttachmentView) network() schema.NetworkName {
	if v.Host != nil && v.Host.Err == nil {
		return v.Host.Value.Network
	}
	if v.Pod != nil && v.Pod.Err == nil {
		return v.Pod.Value.Network
	}
	return ""
}

// maxTxnGets is how many gets go into one transaction; etcd's default limit is
// 128 operations (embed.DefaultMaxTxnOps).
const maxTxnGets = 64

// Nodes lists the nodes that have an agent or an attachment, by name, and the
// revision of the list.
func (s *Store) Nodes(ctx context.Context) ([]NodeView, int64, error) {
	l, err := s.listShown(ctx, s.keys.NodesPrefix(), true)
	if err != nil {
		return nil, 0, err
	}
	var out []NodeView
	var agents []int
	for _, kv := range l.kvs { // sorted: the keys of a node stand together
		ref, err := s.keys.Parse(string(kv.Key))
		if err != nil {
			continue
		}
		if len(out) == 0 || out[len(out)-1].Node != ref.Node {
			out = append(out, NodeView{Node: ref.Node})
		}
		switch ref.Kind {
		case schema.KeyAgent:
			agents = append(agents, len(out)-1)
		case schema.KeyHost:
			out[len(out)-1].Attachments++
		case schema.KeyHostStatus:
			if l.partial {
				out[len(out)-1].Attachments++
			}
		default:
		}
	}
	for part := range slices.Chunk(agents, maxTxnGets) {
		ops := make([]clientv3.Op, len(part))
		for i, n := range part {
			ops[i] = clientv3.OpGet(s.keys.Agent(out[n].Node), clientv3.WithRev(l.rev))
		}
		resp, err := s.txn(ctx, "read the nodes' agents", nil, ops, nil)
		if err != nil {
			return nil, 0, err
		}
		for i, n := range part {
			out[n].Agent = got[schema.AgentInfo](resp, i)
		}
	}
	return out, l.rev, nil
}

func valueOf(kvs []*mvccpb.KeyValue) []byte {
	if len(kvs) == 0 {
		return nil
	}
	return kvs[0].Value
}
