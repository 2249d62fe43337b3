package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

const (
	// minTTL is the shortest presence, in whole seconds as etcd counts leases.
	minTTL = 2 * time.Second
	// refreshes is how often within its TTL a lease is refreshed.
	refreshes = 3
	// contestPause is the longest time between two looks at a key that somebody
	// else has.
	contestPause = 2 * time.Second
	// writeTries bounds the looks that one write takes at a key that changes.
	writeTries = 4
)

// Claim is a claim to a presence key.
type Claim struct {
	Key string
	// TTL is how long the key outlives its owner; it is rounded up to whole
	// seconds.
	TTL time.Duration
	// Value is what is written first.
	Value []byte
	// Yields says whether value, found under the key, was written by this very
	// owner, or by one that is known to be dead. Any other keeps the key.
	Yields func(value []byte) bool
	// Changed is called, one call at a time, with nil when the key has become this
	// owner's, and with a *TakenError when it is another's. It may be nil, must not
	// block, and must not call the Presence.
	Changed func(error)
}

// TakenError is a presence key that another owner has.
type TakenError struct {
	Key string
	// Owner is what the other one says of itself; nil where that cannot be read.
	Owner *schema.AgentInfo
}

func (e *TakenError) Error() string {
	if e.Owner == nil {
		return fmt.Sprintf("%s is held by another agent, whose value cannot be read", e.Key)
	}
	o := e.Owner
	return fmt.Sprintf("the name of node %s is taken by another agent: instance %s, pid %d, run-dir %s, boot %s, since %s",
		o.Node, o.Instance, o.PID, o.RunDir, o.BootID, o.Since.Format(time.RFC3339))
}

// Presence is a key under a lease: it is there as long as its owner lives. It
// belongs to one owner: a key that another living owner has is left alone.
type Presence struct {
	s      *Store
	c      Claim
	cancel context.CancelFunc
	done   chan struct{}
	owned  atomic.Pointer[owning]

	mu    sync.Mutex // guards what follows; held during calls
	value []byte
	dirty bool             // value is not in etcd yet
	lease clientv3.LeaseID // 0: none
	// under is the lease that the key was last written with. It can outlive
	// lease: what is taken for lost, etcd may still have, since it begins each
	// lease's time anew when it has a new leader.
	under  clientv3.LeaseID
	until  time.Time // when the lease ends, at the earliest
	rev    int64     // the key's revision as last known; 0: absent
	looked time.Time // when the key was last looked at or written
	taken  *TakenError
	owner  string        // whom Changed was last told of
	turn   chan struct{} // closed at the next change of the owner
}

// owning is the key as this owner's own.
type owning struct {
	lease clientv3.LeaseID
	until time.Time
}

// Presence makes a presence that begins with Start. It makes no round trip.
func (s *Store) Presence(c Claim) (*Presence, error) {
	if c.Key == "" || c.TTL < minTTL || c.Yields == nil {
		return nil, fmt.Errorf("presence %q: a key, a ttl of at least %s (not %s) and Yields are needed", c.Key, minTTL, c.TTL)
	}
	c.TTL = (c.TTL + time.Second - 1).Truncate(time.Second)
	return &Presence{s: s, c: c, value: slices.Clone(c.Value), dirty: true, turn: make(chan struct{})}, nil
}

// Start keeps one lease alive until ctx ends or Close, and under it the key. A
// lost lease or key, after an outage longer than the TTL or with an etcd that
// was wiped or restored, is made again, unless somebody else has the key by
// then. It makes no round trip, so that an agent starts while etcd is away.
func (p *Presence) Start(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(ctx)
	p.done = make(chan struct{})
	go p.run(ctx)
}

// Set writes value now. When that fails, it is written as soon as etcd answers
// and the key is this owner's.
func (p *Presence) Set(ctx context.Context, value []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value, p.dirty = slices.Clone(value), true
	if p.taken != nil {
		return p.taken
	}
	return p.acquire(ctx)
}

// Owned says whether the key is known to be this owner's: the lease that it was
// written under cannot have run out. Times are those of the monotonic clock,
// and count from before etcd was asked.
func (p *Presence) Owned() bool {
	o := p.owned.Load()
	return o != nil && time.Now().Before(o.until)
}

// guard holds while the key is under this owner's lease; ok is false where it
// never was.
func (p *Presence) guard(key string) (cmp clientv3.Cmp, ok bool) {
	o := p.owned.Load()
	if o == nil {
		return cmp, false
	}
	return clientv3.Compare(clientv3.LeaseValue(key), "=", o.lease), true
}

// Close removes the key at once by revoking the lease.
func (p *Presence) Close(ctx context.Context) error {
	if p.cancel != nil {
		p.cancel()
		<-p.done
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	leases := []clientv3.LeaseID{p.lease, p.under}
	p.lease, p.under, p.value = 0, 0, nil
	p.owned.Store(nil)
	var errs []error
	for _, lease := range slices.Compact(leases) {
		if lease != 0 {
			errs = append(errs, p.revoke(ctx, lease))
		}
	}
	return errors.Join(errs...)
}

func (p *Presence) revoke(ctx context.Context, lease clientv3.LeaseID) error {
	return p.s.call(ctx, "revoke the lease of "+p.c.Key, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Revoke(ctx, lease)
		if isLeaseGone(err) {
			return nil
		}
		return err
	})
}

// run does one step after the other.
func (p *Presence) run(ctx context.Context) {
	defer close(p.done)
	for try := 0; ctx.Err() == nil; try++ {
		err := p.step(ctx)
		wait := p.c.TTL / refreshes
		var taken *TakenError
		switch {
		case err == nil:
			try = 0
		case errors.As(err, &taken):
			wait = min(contestPause, p.c.TTL/2)
		default:
			p.s.cfg.Logger.Sugar().Debugw("presence not certain", "key", p.c.Key, "err", err)
			wait = jitter(growing(try, firstRetry, wait))
		}
		if sleep(ctx, wait) != nil {
			return
		}
	}
}

// step takes, refreshes or contests the key.
func (p *Presence) step(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken != nil {
		return p.contest(ctx)
	}
	return p.hold(ctx)
}

// hold makes sure of the key.
func (p *Presence) hold(ctx context.Context) error {
	if p.lease == 0 || p.under != p.lease {
		return p.acquire(ctx)
	}
	// First the lease: an etcd without space refuses writes, but not this.
	err := p.refresh(ctx)
	switch {
	case isLeaseGone(err), err == nil && p.dirty:
		return p.acquire(ctx)
	case err != nil || time.Since(p.looked) < p.c.TTL:
		return err
	default:
		return p.look(ctx)
	}
}

// confirm makes sure of the key where it is not known to be this owner's. It
// makes a round trip only then.
func (p *Presence) confirm(ctx context.Context) error {
	if p.Owned() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.taken != nil:
		return p.taken
	case p.Owned():
		return nil
	default:
		return p.hold(ctx)
	}
}

// takenBy is the other owner, if one is known, and a channel that is closed when
// that changes.
func (p *Presence) takenBy() (*TakenError, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken, p.turn
}

// tell reports a change of the owner.
func (p *Presence) tell(owner string, err error) {
	if p.owner == owner {
		return
	}
	p.owner = owner
	close(p.turn)
	p.turn = make(chan struct{})
	if p.c.Changed != nil {
		p.c.Changed(err)
	}
}

// lost notes that the key is another's.
func (p *Presence) lost(kv *mvccpb.KeyValue) error {
	p.owned.Store(nil)
	p.lease, p.under, p.dirty = 0, 0, true
	p.taken = &TakenError{Key: p.c.Key}
	if info, err := schema.Decode[schema.AgentInfo](kv.Value); err == nil {
		p.taken.Owner = &info
	}
	p.tell(fmt.Sprintf("lease %x", kv.Lease), p.taken)
	return p.taken
}

// won notes that the key is this owner's.
func (p *Presence) won(rev int64) {
	p.rev, p.under, p.looked = rev, p.lease, time.Now()
	p.dirty, p.taken = false, nil
	p.owned.Store(&owning{lease: p.lease, until: p.until})
	p.tell("self", nil)
}
