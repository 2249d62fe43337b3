package gateway

import (
	"bytes"
	"slices"
	"sort"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/vpp-cni/vpp-cni/schema/store"
)

// change is one change of one key, as the history keeps it.
type change struct {
	// kv is the value that was put; of a delete, key and revision only.
	kv *mvccpb.KeyValue
	// prev is the value before, nil where there was none or none is known.
	prev   *mvccpb.KeyValue
	delete bool
}

func (c change) rev() int64 { return c.kv.ModRevision }

func (c change) size() int { return proto.Size(c.kv) }

// keyspace is what is known of one pod's keys. Values are never changed once
// they are in it, and slices only grow at their ends or are replaced, so that a
// view of it stays as it was.
type keyspace struct {
	kvs     []*mvccpb.KeyValue // sorted by key
	history []change           // in the order of revisions
	size    int                // of the history, in bytes
	// compact is the oldest revision that can be read, and watched from.
	compact int64
}

func newKeyValue(key string, e store.Entry) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{
		Key: []byte(key), Value: e.Value, CreateRevision: e.Create, ModRevision: e.Rev, Version: e.Version, Lease: e.Lease,
	}
}

// find is where key is in kvs, or would be.
func find(kvs []*mvccpb.KeyValue, key []byte) (int, bool) {
	return slices.BinarySearchFunc(kvs, key, func(kv *mvccpb.KeyValue, k []byte) int { return bytes.Compare(kv.Key, k) })
}

// apply takes one change; a nil entry is a delete.
func (k *keyspace) apply(key string, e *store.Entry, rev int64) {
	i, there := find(k.kvs, []byte(key))
	c := change{delete: e == nil}
	if there {
		c.prev = k.kvs[i]
	}
	switch {
	case e != nil && there:
		c.kv = newKeyValue(key, *e)
		k.kvs = slices.Clone(k.kvs)
		k.kvs[i] = c.kv
	case e != nil:
		c.kv = newKeyValue(key, *e)
		k.kvs = slices.Insert(slices.Clone(k.kvs), i, c.kv)
	default:
		c.kv = &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}
		if there {
			k.kvs = slices.Delete(slices.Clone(k.kvs), i, i+1)
		}
	}
	k.note(c)
}

// again notes a change of the revision at which the keys were listed. What was
// there before it is not known.
func (k *keyspace) again(key string, e *store.Entry, rev int64) {
	c := change{kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}, delete: e == nil}
	if e != nil {
		c.kv = newKeyValue(key, *e)
	}
	k.note(c)
}

func (k *keyspace) note(c change) {
	k.history = append(k.history, c)
	k.size += c.size()
}

// last is the revision of the newest change that is known, 0 for none.
func (k *keyspace) last() int64 {
	if len(k.history) == 0 {
		return 0
	}
	return k.history[len(k.history)-1].rev()
}

// trim forgets whole revisions of the history until it is within its bounds. The
// newest one stays.
func (k *keyspace) trim(changes, size int) {
	for len(k.history) > changes || k.size > size {
		oldest := k.history[0].rev()
		n := sort.Search(len(k.history), func(i int) bool { return k.history[i].rev() > oldest })
		if n == len(k.history) {
			return
		}
		for _, c := range k.history[:n] {
			k.size -= c.size()
		}
		k.history = k.history[n:]
		k.compact = max(k.compact, oldest+1)
	}
}

// at is the keys as they were at rev, which is not before compact.
func at(kvs []*mvccpb.KeyValue, history []change, rev int64) []*mvccpb.KeyValue {
	before := map[string]*mvccpb.KeyValue{}
	for i := len(history) - 1; i >= 0 && history[i].rev() > rev; i-- {
		before[string(history[i].kv.Key)] = history[i].prev
	}
	if len(before) == 0 {
		return kvs
	}
	out := make([]*mvccpb.KeyValue, 0, len(kvs)+len(before))
	for _, kv := range kvs {
		if _, changed := before[string(kv.Key)]; !changed {
			out = append(out, kv)
		}
	}
	for _, kv := range before {
		if kv != nil {
			out = append(out, kv)
		}
	}
	slices.SortFunc(out, func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Key, b.Key) })
	return out
}

// span is a range of keys as etcd's requests give it.
type span struct {
	key []byte
	// end is nil for one key, empty for all keys from key on.
	end []byte
}

// newSpan reads the two fields: an end of one zero byte means all keys from key
// on (server/etcdserver/txn, mkGteRange).
func newSpan(key, end []byte) span {
	switch {
	case len(end) == 0:
		return span{key: key}
	case len(end) == 1 && end[0] == 0:
		return span{key: key, end: []byte{}}
	default:
		return span{key: key, end: end}
	}
}

func (s span) contains(key []byte) bool {
	switch {
	case s.end == nil:
		return bytes.Equal(key, s.key)
	case bytes.Compare(key, s.key) < 0:
		return false
	default:
		return len(s.end) == 0 || bytes.Compare(key, s.end) < 0
	}
}

// of are the keys of kvs that are in the range.
func (s span) of(kvs []*mvccpb.KeyValue) []*mvccpb.KeyValue {
	from, there := find(kvs, s.key)
	if s.end == nil {
		if !there {
			return nil
		}
		return kvs[from : from+1]
	}
	to := len(kvs)
	if len(s.end) > 0 {
		to, _ = find(kvs, s.end)
	}
	if to <= from {
		return nil
	}
	return kvs[from:to]
}
