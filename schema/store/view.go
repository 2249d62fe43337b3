package store

import (
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/vpp-cni/vpp-cni/schema"
)

// Versioned is a value as it stands in etcd.
type Versioned[V schema.Value] struct {
	Key   string
	Value V
	// Rev is the mod revision.
	Rev int64
	// Err says why Raw could not be decoded; Value is then zero.
	Err error
	// Raw is the JSON text. It holds secrets where the value does.
	Raw []byte
}

// Lookup names one attachment and what ADD needs to know about it.
type Lookup struct {
	Node      schema.Node
	Container schema.ContainerID
	IfName    schema.IfName
	// Pod may be empty for Detach.
	Pod      schema.PodID
	Networks []schema.NetworkName
	// Count has Look count the node's attachments.
	Count bool
}

// View is what etcd holds of one attachment at one revision. A nil pointer is
// an absent key.
type View struct {
	Rev        int64
	Agent      *Versioned[schema.AgentInfo]
	Host       *Versioned[schema.HostInterface]
	HostStatus *Versioned[schema.InterfaceStatus]
	Pod        *Versioned[schema.PodInterface]
	PodStatus  *Versioned[schema.InterfaceStatus]
	// Networks has an entry for each name of the Lookup.
	Networks map[schema.NetworkName]*Versioned[schema.Network]
	// Attachments counts the desired host ends of the node, where Lookup.Count
	// asks for it.
	Attachments int64
}

// Attachment is the desired state of both ends.
type Attachment struct {
	Node      schema.Node
	Container schema.ContainerID
	IfName    schema.IfName
	Host      schema.HostInterface
	Pod       schema.PodInterface
}

// Detached says what Detach removed.
type Detached struct {
	// Rev is the revision of the transaction, or of the look that found nothing.
	Rev int64
	// Existed says whether there was a host or pod end of this container.
	Existed bool
	// Host and Pod are the removed values; nil when absent, not this
	// container's, or not decodable.
	Host *schema.HostInterface
	Pod  *schema.PodInterface
	// Awaited says that the host end has a status, if only the witness of its
	// removal. Its key goes when the agent has removed the interface.
	Awaited bool
}

// Filter narrows a list of attachments; an empty field takes all.
type Filter struct {
	Node    schema.Node
	Network schema.NetworkName
}

// AttachmentView is one attachment as it stands in etcd. A nil pointer is an
// absent key: a status without its desired end, which may be Removed, is one that
// an agent has not yet removed from VPP.
type AttachmentView struct {
	Node      schema.Node
	Container schema.ContainerID
	IfName    schema.IfName
	// PodID is the pod's subtree; empty when no value names it.
	PodID      schema.PodID
	Host       *Versioned[schema.HostInterface]
	HostStatus *Versioned[schema.InterfaceStatus]
	Pod        *Versioned[schema.PodInterface]
	PodStatus  *Versioned[schema.InterfaceStatus]
	// Partial says that Host is missing because the user may not read it.
	Partial bool
}

// NodeView is one node as it stands in etcd.
type NodeView struct {
	Node schema.Node
	// Agent is nil while the node has no agent.
	Agent *Versioned[schema.AgentInfo]
	// Attachments counts the desired host ends.
	Attachments int
}

// NetworkView is one network as it stands in etcd.
type NetworkView struct {
	Name schema.NetworkName
	Versioned[schema.Network]
}

// Event is one change of a key, for WatchAll.
type Event struct {
	Key string
	// Rev is the mod revision of the change; the list's revision for what
	// was found deleted after a break.
	Rev int64
	// Value is the new value; nil when the key was deleted.
	Value []byte
	// Prev is the value before; nil when the key is new.
	Prev []byte
	// Initial marks what was there when the watch began.
	Initial bool
	// Lost says that the watch broke; Key is empty, and what changed meanwhile
	// follows.
	Lost error
}

// Entry is one value with what etcd keeps beside it.
type Entry struct {
	Value []byte
	// Rev is the mod revision, Create the revision at which the key came.
	Rev, Create int64
	// Version counts the writes since then.
	Version int64
	// Lease is the lease that the key goes with, 0 for none.
	Lease int64
}

func entryOf(kv *mvccpb.KeyValue) Entry {
	return Entry{Value: kv.Value, Rev: kv.ModRevision, Create: kv.CreateRevision, Version: kv.Version, Lease: kv.Lease}
}

// Follower takes what Subtree.Follow finds. Its methods are called from one
// goroutine, and keep what they are given.
type Follower interface {
	// Snapshot is all of the prefix at rev; it replaces everything known.
	Snapshot(entries map[string]Entry, rev int64)
	// Changed is one change; a nil entry means deleted.
	Changed(key string, e *Entry, rev int64)
	// Lost says that the view is stale from now on; a Snapshot follows.
	Lost(err error)
}

// Mirror is a Follower that answers in etcd's place with what it is told, and so
// must know more than what changed. All its methods are called from the
// Follower's goroutine but Nudge, which is called before the others.
type Mirror interface {
	Follower
	// Cluster is the cluster of the Snapshot that comes next.
	Cluster(id uint64)
	// Again is a change of the snapshot's own revision, which the snapshot shows
	// already: it tells of the deletes too.
	Again(key string, e *Entry, rev int64)
	// Progress says that everything up to rev has been told. No change of a
	// revision is told apart from the others of the same without it.
	Progress(rev int64)
	// Nudge has etcd asked at once for its progress whenever it yields.
	Nudge() <-chan struct{}
}
