package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
)

// pageSize bounds the values of one answer of a list. At the 4 KiB of a large
// value it stays under 4 MiB.
const pageSize = 1000

// Subtree is the part of the keys under one root. All its keys and prefixes are
// relative to that root, so that an agent behind a gateway that shows only a
// pod's subtree and one that speaks with etcd itself run the same code.
type Subtree struct {
	s     *Store
	root  string
	owner *Presence // nil: nobody else can be there
}

// Subtree returns the keys under root, which ends in a slash; an empty root is
// all that the endpoint shows.
func (s *Store) Subtree(root string) *Subtree { return &Subtree{s: s, root: root} }

// OwnedBy is the subtree for the owner of p alone: while p is another's, or not
// known to be this owner's, Follow gives no snapshot and no event, and writes are
// refused, by etcd itself where it must be.
func (t *Subtree) OwnedBy(p *Presence) *Subtree { return &Subtree{s: t.s, root: t.root, owner: p} }

func (t *Subtree) kv(c *clientv3.Client) clientv3.KV {
	if t.root == "" {
		return c.KV
	}
	return namespace.NewKV(c.KV, t.root)
}

func (t *Subtree) watcher(c *clientv3.Client) clientv3.Watcher {
	if t.root == "" {
		return c.Watcher
	}
	return namespace.NewWatcher(c.Watcher, t.root)
}

// List reads all keys under prefix at one revision, in pages, and returns that
// revision. What another cluster says than the one that is followed, or the same
// at an older revision, is an error: Follow finds out what that means.
func (t *Subtree) List(ctx context.Context, prefix string) (map[string]Entry, int64, error) {
	l, err := t.list(ctx, prefix, false)
	if err == nil {
		err = t.s.known.check(l.cluster, l.rev)
	}
	if err != nil {
		return nil, 0, err
	}
	return l.entries(), l.rev, nil
}

// check is an error where etcd says that it is another cluster than the one that
// is known, or at an older revision than rev. It asks for a key that whoever may
// follow prefix may read.
func (t *Subtree) check(ctx context.Context, prefix string, rev int64) error {
	return t.s.call(ctx, "look at etcd", func(ctx context.Context, c *clientv3.Client) error {
		resp, err := t.kv(c).Get(ctx, prefix+"x", clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		t.s.known.note(resp.Header.GetClusterId(), rev)
		return t.s.known.check(resp.Header.GetClusterId(), resp.Header.GetRevision())
	})
}

// listing is a list at one revision, sorted by key.
type listing struct {
	kvs     []*mvccpb.KeyValue
	rev     int64
	cluster uint64
	// partial: it leaves out what the user may not read.
	partial bool
}

func (l listing) entries() map[string]Entry {
	m := make(map[string]Entry, len(l.kvs))
	for _, kv := range l.kvs {
		m[string(kv.Key)] = entryOf(kv)
	}
	return m
}

func (t *Subtree) list(ctx context.Context, prefix string, keysOnly bool) (listing, error) {
	return t.listAt(ctx, prefix, keysOnly, 0)
}

// listAt is list at revision rev; 0: the present.
func (t *Subtree) listAt(ctx context.Context, prefix string, keysOnly bool, rev int64) (listing, error) {
	l := listing{rev: rev}
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	if prefix == "" {
		from, end = "\x00", "\x00"
	}
	for {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(l.rev)}
		if keysOnly {
			opts = append(opts, clientv3.WithKeysOnly())
		}
		var resp *clientv3.GetResponse
		err := t.s.call(ctx, "list "+t.root+prefix, func(ctx context.Context, c *clientv3.Client) (err error) {
			resp, err = t.kv(c).Get(ctx, from, opts...)
			return err
		})
		if err != nil {
			return listing{}, err
		}
		if l.rev == 0 {
			l.rev = resp.Header.GetRevision()
		}
		if l.cluster == 0 {
			l.cluster = resp.Header.GetClusterId()
		}
		if id := resp.Header.GetClusterId(); id != l.cluster {
			return listing{}, fmt.Errorf("list %s%s: %w", t.root, prefix, twoClusters(l.cluster, id))
		}
		l.kvs = append(l.kvs, resp.Kvs...)
		if !resp.More || len(resp.Kvs) == 0 {
			return l, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// PutGuarded puts key only while guardKey is at revision guardRev, and says
// whether it was. A status goes this way, with the desired value as the guard:
// none is written for a value that is gone or has changed.
func (t *Subtree) PutGuarded(ctx context.Context, guardKey string, guardRev int64, key string, value []byte) (held bool, err error) {
	return t.guarded(ctx, "put "+t.root+key,
		clientv3.Compare(clientv3.ModRevision(guardKey), "=", guardRev), clientv3.OpPut(key, string(value)))
}

// DeleteIfAbsent deletes key only while guardKey does not exist, and says
// whether it did not. key being absent is no error.
func (t *Subtree) DeleteIfAbsent(ctx context.Context, guardKey, key string) (held bool, err error) {
	return t.guarded(ctx, "delete "+t.root+key,
		clientv3.Compare(clientv3.CreateRevision(guardKey), "=", 0), clientv3.OpDelete(key))
}

func (t *Subtree) guarded(ctx context.Context, what string, guard clientv3.Cmp, op clientv3.Op) (bool, error) {
	guards := []clientv3.Cmp{guard}
	var otherwise []clientv3.Op
	if t.owner != nil {
		key := strings.TrimPrefix(t.owner.c.Key, t.root)
		own, ok := t.owner.guard(key)
		if !ok {
			return false, fmt.Errorf("%s: %w", what, errNotOwner)
		}
		guards = append(guards, own)
		// What tells the two guards apart.
		otherwise = []clientv3.Op{clientv3.OpTxn([]clientv3.Cmp{own}, nil, nil)}
	}
	held := false
	err := t.s.call(ctx, what, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := t.kv(c).Txn(ctx).If(guards...).Then(op).Else(otherwise...).Commit()
		if err != nil {
			return err
		}
		held = resp.Succeeded
		if !held && t.owner != nil && !resp.Responses[0].GetResponseTxn().GetSucceeded() {
			return errNotOwner
		}
		return nil
	})
	return held, err
}

// errNotOwner is a write by an agent whose presence is not there any more. It
// may come back, so the write is worth another try.
var errNotOwner = fmt.Errorf("%w: the agent's presence is not there, or is another agent's", ErrConflict)

// stale is why a view must be read anew.
type stale struct{ why string }

func (e *stale) Error() string { return e.why }

func silence(d time.Duration) error {
	return &stale{fmt.Sprintf("the watch has shown no sign of life for %s", d)}
}
