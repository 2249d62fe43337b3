package store

import (
	"context"
	"errors"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
)

var (
	// ErrUnavailable is an etcd that cannot be reached, has no leader, or does
	// not answer in time.
	ErrUnavailable = errors.New("etcd is not available")
	// ErrConflict is a guard of a transaction that did not hold.
	ErrConflict = errors.New("changed by somebody else meanwhile")
)

type Store struct{}

var errStub = errors.New("stub")

func Open(cfg Config) (*Store, error) { return nil, errStub }
func (s *Store) Close() error         { return errStub }
func (s *Store) Keys() schema.Keys    { return schema.Keys{} }
func (s *Store) Look(ctx context.Context, l Lookup) (View, error) {
	return View{}, errStub
}
func (s *Store) Attach(ctx context.Context, a Attachment, seen View) (int64, error) {
	return 0, errStub
}
func (s *Store) Detach(ctx context.Context, l Lookup, ifRev int64) (Detached, error) {
	return Detached{}, errStub
}
func (s *Store) AwaitHostStatus(ctx context.Context, node schema.Node, container schema.ContainerID, ifname schema.IfName, fromRev int64, done func(st *schema.InterfaceStatus, agent *schema.AgentInfo, agentGone bool) bool) error {
	return errStub
}
func (s *Store) AllocateDomain(ctx context.Context, name schema.NetworkName) (uint32, schema.Network, error) {
	return 0, schema.Network{}, errStub
}
func (s *Store) Attachments(ctx context.Context, f Filter) ([]AttachmentView, int64, error) {
	return nil, 0, errStub
}
func (s *Store) Nodes(ctx context.Context) ([]NodeView, int64, error)       { return nil, 0, errStub }
func (s *Store) Networks(ctx context.Context) ([]NetworkView, int64, error) { return nil, 0, errStub }
func (s *Store) PutNetwork(ctx context.Context, name schema.NetworkName, n schema.Network, ifRev int64) (int64, error) {
	return 0, errStub
}
func (s *Store) DeleteNetwork(ctx context.Context, name schema.NetworkName) (bool, error) {
	return false, errStub
}
func (s *Store) WatchAll(ctx context.Context, prefix string, fn func(Event)) error { return errStub }

type Subtree struct{}

func (s *Store) Subtree(root string) *Subtree { return nil }
func (t *Subtree) Follow(ctx context.Context, prefix string, f Follower) error {
	return errStub
}
func (t *Subtree) List(ctx context.Context, prefix string) (map[string]Entry, int64, error) {
	return nil, 0, errStub
}
func (t *Subtree) PutGuarded(ctx context.Context, guardKey string, guardRev int64, key string, value []byte) (bool, error) {
	return false, errStub
}
func (t *Subtree) DeleteIfAbsent(ctx context.Context, guardKey, key string) (bool, error) {
	return false, errStub
}

type Presence struct{}

func (s *Store) Announce(ctx context.Context, key string, ttl time.Duration) (*Presence, error) {
	return nil, errStub
}
func (p *Presence) Set(ctx context.Context, value []byte) error { return errStub }
func (p *Presence) Close(ctx context.Context) error             { return errStub }
