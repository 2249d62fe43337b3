package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// minTTL is the shortest presence, in whole seconds as etcd counts leases. The
// lease is refreshed every third of it.
const minTTL = 2 * time.Second

// Presence is a key under a lease: it is there as long as its owner lives.
type Presence struct {
	s      *Store
	key    string
	ttl    time.Duration
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	value []byte
	lease clientv3.LeaseID // 0: none
	// under is the lease that the key was last written with. It can outlive
	// lease: what the client takes for lost, etcd may still have, since it begins
	// each lease's time anew when it starts.
	under clientv3.LeaseID
}

// Announce keeps one lease alive until ctx ends or Close, and under it the key
// that Set writes. A lost lease or key, after an outage longer than ttl or with
// an etcd that was wiped or restored, is made again. Announce makes no round
// trip, so that an agent starts while etcd is away. ttl is rounded up to whole
// seconds.
func (s *Store) Announce(ctx context.Context, key string, ttl time.Duration) (*Presence, error) {
	if key == "" || ttl < minTTL {
		return nil, fmt.Errorf("announce %q: a key and a ttl of at least %s are needed, not %s", key, minTTL, ttl)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &Presence{s: s, key: key, ttl: ttl, cancel: cancel, done: make(chan struct{})}
	go p.run(ctx)
	return p, nil
}

// Set writes value now. When that fails, it is written as soon as etcd answers.
func (p *Presence) Set(ctx context.Context, value []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value = append([]byte(nil), value...)
	err := p.write(ctx)
	if isLeaseGone(err) {
		err = p.write(ctx)
	}
	return err
}

// write puts the value under the lease, or under a new one where there is none.
func (p *Presence) write(ctx context.Context) error {
	if p.lease == 0 {
		if err := p.grant(ctx); err != nil {
			return err
		}
	}
	return p.put(ctx)
}

// Close removes the key at once by revoking the lease.
func (p *Presence) Close(ctx context.Context) error {
	p.cancel()
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	leases := []clientv3.LeaseID{p.lease, p.under}
	p.lease, p.under, p.value = 0, 0, nil
	var errs []error
	for _, lease := range slices.Compact(leases) {
		if lease != 0 {
			errs = append(errs, p.revoke(ctx, lease))
		}
	}
	return errors.Join(errs...)
}

func (p *Presence) revoke(ctx context.Context, lease clientv3.LeaseID) error {
	return p.s.call(ctx, "revoke the lease of "+p.key, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Revoke(ctx, lease)
		if isLeaseGone(err) {
			return nil
		}
		return err
	})
}

// run holds the lease: each round ends with its loss.
func (p *Presence) run(ctx context.Context) {
	defer close(p.done)
	for try := 0; ctx.Err() == nil; try++ {
		lease, err := p.ensure(ctx)
		if err == nil {
			try = 0
			err = p.hold(ctx, lease)
		}
		if err != nil && ctx.Err() == nil {
			p.s.cfg.Logger.Sugar().Debugw("presence lost", "key", p.key, "err", err)
		}
		if sleep(ctx, jitter(growing(try, firstRetry, maxRetry))) != nil {
			return
		}
	}
}

// ensure has a lease, and writes the key under it where the lease is new.
func (p *Presence) ensure(ctx context.Context) (clientv3.LeaseID, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lease != 0 {
		return p.lease, nil
	}
	if err := p.grant(ctx); err != nil {
		return 0, err
	}
	if p.value == nil {
		return p.lease, nil
	}
	return p.lease, p.put(ctx)
}

func (p *Presence) grant(ctx context.Context) error {
	return p.s.call(ctx, "grant the lease of "+p.key, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Grant(ctx, int64((p.ttl+time.Second-1)/time.Second))
		if err != nil {
			return err
		}
		p.lease = resp.ID
		return nil
	})
}

func (p *Presence) put(ctx context.Context) error {
	err := p.s.call(ctx, "put "+p.key, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Put(ctx, p.key, string(p.value), clientv3.WithLease(p.lease))
		return err
	})
	return p.written(err)
}

// written notes what came of a write of the key.
func (p *Presence) written(err error) error {
	switch {
	case err == nil:
		p.under = p.lease
	case isLeaseGone(err):
		p.lease = 0
	}
	return err
}

// restore puts the key back where somebody deleted it.
func (p *Presence) restore(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lease == 0 || p.value == nil {
		return nil
	}
	_, err := p.s.txn(ctx, "put "+p.key,
		[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(p.key), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(p.key, string(p.value), clientv3.WithLease(p.lease))}, nil)
	if isLeaseGone(err) {
		p.lease = 0
	}
	return err // under stays: the key may not have been missing
}

// hold refreshes the lease until it is lost, and looks once a ttl whether
// somebody deleted the key.
func (p *Presence) hold(parent context.Context, lease clientv3.LeaseID) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	c, err := p.s.connect(ctx)
	if err != nil {
		return err
	}
	// A lessor of its own: one that etcd has refused once is of no use after.
	lessor := clientv3.NewLease(c)
	defer func() { _ = lessor.Close() }()
	alive, err := lessor.KeepAlive(ctx, lease)
	if err != nil {
		return err
	}
	check := time.NewTicker(p.ttl)
	defer check.Stop()
	for {
		select {
		case _, ok := <-alive:
			switch {
			case ctx.Err() != nil:
				return ctx.Err() // ended on purpose: Close revokes the lease
			case !ok:
				return p.lost(lease, errors.New("the lease is gone"))
			}
		case <-check.C:
			// A failed look is made good by the next; the lease tells its own loss.
			_ = p.restore(ctx)
			if p.current() != lease {
				return errors.New("the lease was replaced")
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *Presence) current() clientv3.LeaseID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lease
}

// lost forgets lease, so that the next round grants another.
func (p *Presence) lost(lease clientv3.LeaseID, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lease == lease {
		p.lease = 0
	}
	return err
}
