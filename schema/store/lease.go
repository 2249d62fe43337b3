package store

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The calls behind a Presence. Its mutex is held in all of them.

// acquire writes the key under the lease, or under a new one where there is none
// or etcd does not know it.
func (p *Presence) acquire(ctx context.Context) error {
	if p.value == nil {
		return fmt.Errorf("put %s: the presence is closed", p.c.Key)
	}
	for range 2 {
		if p.lease == 0 {
			if err := p.grant(ctx); err != nil {
				return err
			}
		}
		err := p.write(ctx)
		if !isLeaseGone(err) {
			return err
		}
		p.lease = 0
	}
	return fmt.Errorf("put %s: %w: the lease was lost twice", p.c.Key, ErrUnavailable)
}

func (p *Presence) grant(ctx context.Context) error {
	asked := time.Now()
	return p.s.call(ctx, "grant the lease of "+p.c.Key, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Grant(ctx, int64(p.c.TTL/time.Second))
		if err != nil {
			return err
		}
		p.lease, p.until = resp.ID, asked.Add(p.c.TTL)
		return nil
	})
}

// write puts the value where the key is as it was last known, absent, or yields.
// The old owner's lease does not take the key along any more.
func (p *Presence) write(ctx context.Context) error {
	for range writeTries {
		resp, err := p.s.txn(ctx, "put "+p.c.Key,
			[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(p.c.Key), "=", p.rev)},
			[]clientv3.Op{clientv3.OpPut(p.c.Key, string(p.value), clientv3.WithLease(p.lease))},
			[]clientv3.Op{clientv3.OpGet(p.c.Key)})
		if err != nil {
			return err
		}
		if resp.Succeeded {
			p.won(resp.Header.GetRevision())
			return nil
		}
		kv := first(resp.Responses[0].GetResponseRange().GetKvs())
		if kv != nil && !p.mine(kv) {
			return p.lost(kv)
		}
		p.rev = kv.GetModRevision()
	}
	return fmt.Errorf("put %s: %w", p.c.Key, ErrConflict)
}

// mine says whether the key may be written over. Nobody lives behind one
// without a lease: somebody has edited it.
func (p *Presence) mine(kv *mvccpb.KeyValue) bool {
	return kv.Lease == 0 || kv.Lease == int64(p.lease) || kv.Lease == int64(p.under) || p.c.Yields(kv.Value)
}

// look finds out whether the key is still this owner's, and puts it back where
// somebody has deleted or changed it.
func (p *Presence) look(ctx context.Context) error {
	kv, err := p.read(ctx)
	if err != nil {
		return err
	}
	switch {
	case kv != nil && kv.Lease == int64(p.lease) && kv.ModRevision == p.rev:
		p.looked = time.Now()
		return nil
	case kv != nil && !p.mine(kv):
		return p.lost(kv)
	}
	p.rev = kv.GetModRevision()
	return p.acquire(ctx)
}

// contest takes the key of another owner once that is gone.
func (p *Presence) contest(ctx context.Context) error {
	kv, err := p.read(ctx)
	if err != nil {
		return err
	}
	if kv != nil && !p.mine(kv) {
		return p.lost(kv)
	}
	p.rev = kv.GetModRevision()
	return p.acquire(ctx)
}

// read is the key as it is now; nil where it is absent.
func (p *Presence) read(ctx context.Context) (*mvccpb.KeyValue, error) {
	var kv *mvccpb.KeyValue
	err := p.s.call(ctx, "read "+p.c.Key, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Get(ctx, p.c.Key)
		if err == nil {
			kv = first(resp.Kvs)
		}
		return err
	})
	return kv, err
}

func first(kvs []*mvccpb.KeyValue) *mvccpb.KeyValue {
	if len(kvs) == 0 {
		return nil
	}
	return kvs[0]
}

// refresh begins the lease's time anew. Each refresh is a stream of its own, so
// that one to a member that hangs does not keep the next from another member,
// and so that it is known when etcd was asked: the client's KeepAlive takes an
// answer that lay in a buffer for a fresh one, its KeepAliveOnce asks without a
// pause while there is no connection.
func (p *Presence) refresh(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, p.c.TTL/refreshes)
	defer cancel()
	asked := time.Now()
	err := p.s.call(ctx, "refresh the lease of "+p.c.Key, func(ctx context.Context, c *clientv3.Client) error {
		stream, err := etcdserverpb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(ctx)
		if err != nil {
			return err
		}
		if err = stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(p.lease)}); err != nil {
			return err
		}
		resp, err := stream.Recv()
		switch {
		case err != nil:
			return err
		case resp.TTL <= 0:
			return rpctypes.ErrLeaseNotFound
		}
		p.until = asked.Add(min(p.c.TTL, time.Duration(resp.TTL)*time.Second))
		return stream.CloseSend()
	})
	switch {
	case isLeaseGone(err):
		p.lease = 0
	case err == nil && p.under == p.lease:
		p.owned.Store(&owning{lease: p.lease, until: p.until})
	}
	return err
}
