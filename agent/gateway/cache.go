package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// podsPrefix is where the pods' keys are in the node's subtree.
const podsPrefix = "pods/"

// errNotRead is the state before the first snapshot.
var errNotRead = errors.New("etcd has not been read yet")

// signal wakes whoever waits for the next change.
type signal struct{ ch chan struct{} }

func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// known is what the cache has of one pod.
type known struct {
	keyspace
	changed signal
}

// news is a change that has not been shown yet.
type news struct {
	pod   schema.PodID
	key   string
	entry *store.Entry
	rev   int64
	again bool
}

// cache mirrors the keys of all pods of the node. It is told by Subtree.Follow
// and shows whole revisions only.
type cache struct {
	limits  Limits
	nudges  chan struct{}
	pending []news // belongs to the Follow

	mu sync.RWMutex // guards what follows
	// pods are those that have keys, or a socket.
	pods map[schema.PodID]*known
	// sockets are the pods that have a socket: what is known of them stays.
	sockets map[schema.PodID]bool
	// leaving are those that have neither and were changed at rev itself.
	leaving map[schema.PodID]bool
	rev     int64
	cluster uint64
	// life counts the snapshots; a watch belongs to one of them.
	life uint64
	// settled: the changes of the snapshot's own revision have been told.
	settled bool
	stale   error
	// advanced is fired whenever rev or stale change.
	advanced signal
	onState  func(error)
}

func newCache(l Limits, onState func(error)) *cache {
	return &cache{
		limits: l, nudges: make(chan struct{}, 1), pods: map[schema.PodID]*known{}, sockets: map[schema.PodID]bool{},
		leaving: map[schema.PodID]bool{}, stale: errNotRead, onState: onState,
	}
}

var _ store.Mirror = (*cache)(nil)

// split takes a key of the node's subtree apart.
func split(key string) (schema.PodID, string, bool) {
	rest, ok := strings.CutPrefix(key, podsPrefix)
	pod, own, found := strings.Cut(rest, "/")
	return schema.PodID(pod), own, ok && found && own != ""
}

// Nudge yields when somebody waits for etcd's progress.
func (c *cache) Nudge() <-chan struct{} { return c.nudges }

// Cluster notes whose Snapshot comes.
func (c *cache) Cluster(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cluster = id
}

// Snapshot begins anew: there is no history before it.
func (c *cache) Snapshot(entries map[string]store.Entry, rev int64) {
	c.pending = nil
	spaces := map[schema.PodID]*keyspace{}
	for key, e := range entries {
		pod, own, ok := split(key)
		if !ok {
			continue
		}
		k := spaces[pod]
		if k == nil {
			k = &keyspace{}
			spaces[pod] = k
		}
		i, _ := find(k.kvs, []byte(own))
		k.kvs = append(k.kvs, nil)
		copy(k.kvs[i+1:], k.kvs[i:])
		k.kvs[i] = newKeyValue(own, e)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rev, c.settled, c.stale = rev, false, nil
	c.life++
	clear(c.leaving)
	for id, p := range c.pods {
		if spaces[id] == nil && !c.sockets[id] {
			delete(c.pods, id)
			continue
		}
		p.keyspace = keyspace{compact: rev}
	}
	for id, k := range spaces {
		k.compact = rev
		c.entry(id).keyspace = *k
	}
	c.wakeAll()
	c.tell(nil)
}

// entry is what is known of a pod, made where it is missing.
func (c *cache) entry(id schema.PodID) *known {
	p := c.pods[id]
	if p == nil {
		p = c.nothing()
		c.pods[id] = p
	}
	return p
}

// nothing is what is known of a pod that has no entry: it has no keys, and was
// not changed at rev or later, as drop sees to. So its history is whole from rev
// on, where store.Follow watches from; rev says nothing of other pods that each
// answer does not.
func (c *cache) nothing() *known { return &known{keyspace: keyspace{compact: c.rev}} }

// Changed notes a change; Progress shows it.
func (c *cache) Changed(key string, e *store.Entry, rev int64) { c.note(key, e, rev, false) }

// Again notes a change that the snapshot shows already.
func (c *cache) Again(key string, e *store.Entry, rev int64) { c.note(key, e, rev, true) }

func (c *cache) note(key string, e *store.Entry, rev int64, again bool) {
	if pod, own, ok := split(key); ok {
		c.pending = append(c.pending, news{pod: pod, key: own, entry: e, rev: rev, again: again})
	}
}

// Progress shows what was noted.
func (c *cache) Progress(rev int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	touched := map[schema.PodID]*known{}
	for _, n := range c.pending {
		p := c.entry(n.pod)
		touched[n.pod] = p
		if n.again {
			p.again(n.key, n.entry, n.rev)
		} else {
			p.apply(n.key, n.entry, n.rev)
		}
	}
	c.pending = nil
	c.rev = max(c.rev, rev)
	for id, p := range touched {
		p.trim(c.limits.History, c.limits.HistoryBytes)
		p.changed.fire()
		c.drop(id, p)
	}
	for id := range c.leaving {
		c.drop(id, c.pods[id])
	}
	if !c.settled {
		c.settled = true
		c.wakeAll()
	}
	c.advanced.fire()
}

// drop forgets a pod that has neither keys nor a socket. One that was changed at
// rev itself leaves at a later revision: a client that takes up its watch here, on
// a socket made anew, is told of that change.
func (c *cache) drop(id schema.PodID, p *known) {
	switch {
	case len(p.kvs) > 0 || c.sockets[id]:
		delete(c.leaving, id)
	case p.last() >= c.rev:
		c.leaving[id] = true
	default:
		delete(c.leaving, id)
		delete(c.pods, id)
	}
}

func (c *cache) wakeAll() {
	for _, p := range c.pods {
		p.changed.fire()
	}
	c.advanced.fire()
}

// Lost says that what is known may be old.
func (c *cache) Lost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = nil
	if c.life == 0 {
		err = errors.Join(errNotRead, err)
	}
	c.stale = err
	c.advanced.fire()
	c.tell(err)
}

func (c *cache) tell(err error) {
	if c.onState != nil {
		c.onState(err)
	}
}

// open keeps what is known of a pod while it has a socket; close ends that.
func (c *cache) open(id schema.PodID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets[id] = true
	delete(c.leaving, id)
	c.entry(id)
}

func (c *cache) close(id schema.PodID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sockets, id)
	if p := c.pods[id]; p != nil {
		c.drop(id, p)
	}
}

// view is what is known of a pod at one moment.
type view struct {
	kvs     []*mvccpb.KeyValue
	history []change
	compact int64
	rev     int64
	cluster uint64
	life    uint64
	settled bool
	stale   error
	// changed yields at the pod's next change.
	changed <-chan struct{}
}

// header is what every answer carries of etcd's header.
func (v view) header() *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{ClusterId: v.cluster, Revision: v.rev}
}

// vouched says whether the view is known to be all that there is up to its
// revision.
func (v view) vouched() bool { return v.settled && v.stale == nil }

// look is what is known of a pod now. It is false before the first snapshot.
func (c *cache) look(id schema.PodID) (view, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pods[id]
	if p == nil { // its socket is being closed
		p = c.nothing()
	}
	return view{
		kvs: p.kvs, history: p.history, compact: p.compact, rev: c.rev, cluster: c.cluster, life: c.life,
		settled: c.settled, stale: c.stale, changed: p.changed.wait(),
	}, c.life > 0
}

// await waits until something is known of a pod, at most for so long.
func (c *cache) await(ctx context.Context, id schema.PodID, limit time.Duration) (view, bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		c.mu.Lock()
		next := c.advanced.wait()
		c.mu.Unlock()
		if v, ok := c.look(id); ok {
			return v, true
		}
		select {
		case <-next:
		case <-ctx.Done():
			return view{}, false
		case <-timer.C:
			return view{}, false
		}
	}
}

// reach waits until rev is shown, at most for so long, and says whether it is.
// etcd tells of no revision that changed nothing here unless it is asked.
func (c *cache) reach(ctx context.Context, rev int64, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	nudge := time.NewTimer(nudgeAfter)
	defer nudge.Stop()
	for {
		c.mu.Lock()
		done, next := c.rev >= rev, c.advanced.wait()
		c.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-next:
		case <-nudge.C:
			select {
			case c.nudges <- struct{}{}:
			default:
			}
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		}
	}
}

// nudgeAfter is how long the event of a write may take before etcd is asked: it
// comes by itself within a round trip where there is one.
const nudgeAfter = 20 * time.Millisecond
