package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"k8s.io/client-go/util/workqueue"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

const (
	// statusWriters is how many statuses are written side by side.
	statusWriters = 16
	// statusTimeout bounds one write.
	statusTimeout = 5 * time.Second
	minStatusWait = 50 * time.Millisecond
	maxStatusWait = 2 * time.Second
)

// intent is what is to be written under a status key.
type intent struct {
	// rev is the revision of the desired value that the status speaks of.
	rev int64
	// status is nil for a delete.
	status *schema.InterfaceStatus
}

// publisher writes statuses to etcd: only those that differ from what is there,
// each guarded by the desired value that it speaks of, again and again while
// etcd is away.
type publisher struct {
	tree     Tree
	contract Contract
	metrics  *Metrics
	log      *logrus.Entry
	queue    workqueue.TypedRateLimitingInterface[string]
	// puts and deletes are told apart: an etcd without space refuses only the one.
	puts, deletes pace

	// io keeps writes out while what is there is read.
	io sync.RWMutex

	mu sync.Mutex // guards what follows
	// open is the context of all writes: shut ends it.
	open    context.Context
	end     context.CancelFunc
	loaded  bool
	written map[string]schema.InterfaceStatus
	intents map[string]intent
	// unsure are the keys of writes that are under way, or that ended in an
	// error: etcd may carry such a write out all the same, later. What written
	// says of them does not count.
	unsure map[string]bool
}

func newPublisher(tree Tree, contract Contract, metrics *Metrics, log *logrus.Entry) *publisher {
	p := &publisher{
		tree: tree, contract: contract, metrics: metrics, log: log,
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](minStatusWait, maxStatusWait)),
		written: map[string]schema.InterfaceStatus{}, intents: map[string]intent{}, unsure: map[string]bool{},
	}
	p.reopen()
	return p
}

// shut ends what is being read and written, and forgets what was to be written.
// Nothing more is taken until reopen.
func (p *publisher) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.loaded = false
	clear(p.intents)
	clear(p.written)
}

// reopen is the end of shut. What is there has to be loaded again.
func (p *publisher) reopen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open, p.end = context.WithCancel(context.Background())
}

// bounded is ctx until statusTimeout, and no longer than open.
func bounded(ctx, open context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	stop := context.AfterFunc(open, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// load reads the statuses that are in etcd, and returns the revision of which
// each of them speaks, 0 for one that says that the attachment was removed. Nothing is written before the first
// load, and what is there already is not written again.
func (p *publisher) load(ctx context.Context) (map[string]int64, error) {
	p.io.Lock()
	defer p.io.Unlock()
	p.mu.Lock()
	open := p.open
	p.mu.Unlock()
	ctx, cancel := bounded(ctx, open)
	defer cancel()
	entries, _, err := p.tree.List(ctx, p.contract.Statuses)
	if err != nil {
		return nil, fmt.Errorf("read statuses: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if open.Err() != nil {
		return nil, fmt.Errorf("read statuses: %w", errFenced)
	}
	p.written = make(map[string]schema.InterfaceStatus, len(entries))
	revs := make(map[string]int64, len(entries))
	for key, e := range entries {
		// One that cannot be read counts as different from every other.
		s, _ := schema.Decode[schema.InterfaceStatus](e.Value)
		p.written[key] = s
		if s.State != schema.Removed {
			revs[key] = s.SpecRevision
		} else {
			revs[key] = 0
		}
	}
	p.loaded = true
	for key := range p.intents {
		p.queue.Add(key)
	}
	return revs, nil
}

// last is the status that stands in etcd or is on its way there.
func (p *publisher) last(key string) (schema.InterfaceStatus, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in, ok := p.intents[key]; ok && in.status != nil {
		return *in.status, true
	}
	s, ok := p.written[key]
	return s, ok
}

// put has a status written. Since is filled in: it stays as it was while State,
// Reason and Link do.
func (p *publisher) put(key string, rev int64, s schema.InterfaceStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open.Err() != nil {
		return
	}
	s.Since = time.Now().UTC().Truncate(time.Millisecond)
	old, ok := p.written[key]
	if ok && old.State == s.State && old.Reason == s.Reason && old.Link == s.Link {
		s.Since = old.Since
	}
	if ok && !p.unsure[key] && equal(old, s) {
		delete(p.intents, key)
		return
	}
	if in, waits := p.intents[key]; waits && in.status != nil && in.rev == rev {
		s.Since = stay(*in.status, s)
		if equal(*in.status, s) {
			return
		}
	}
	p.intents[key] = intent{rev: rev, status: &s}
	p.enqueue(key)
}

// stay is since when s holds, where before is not written yet.
func stay(before, s schema.InterfaceStatus) time.Time {
	if before.State == s.State && before.Reason == s.Reason && before.Link == s.Link {
		return before.Since
	}
	return s.Since
}

// remove has a status deleted.
func (p *publisher) remove(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open.Err() != nil {
		return
	}
	p.intents[key] = intent{}
	p.enqueue(key)
}

func (p *publisher) enqueue(key string) {
	if p.loaded {
		p.queue.Add(key)
	}
}

// run writes until ctx ends.
func (p *publisher) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range statusWriters {
		wg.Go(func() {
			for p.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	p.queue.ShutDown()
	return nil
}

func (p *publisher) next(ctx context.Context) bool {
	key, quit := p.queue.Get()
	if quit {
		return false
	}
	defer p.queue.Done(key)
	pace := p.paceOf(key)
	if later := pace.enter(); later > 0 {
		p.queue.AddAfter(key, later)
		return true
	}
	asked, err := p.write(ctx, key)
	pace.leave(asked, err)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			p.metrics.statusFailed()
			p.log.WithField("key", key).WithField("err", err).Warn("status not written, will be tried again")
		}
		p.queue.AddRateLimited(key)
		return true
	}
	p.queue.Forget(key)
	return true
}

func (p *publisher) paceOf(key string) *pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in, ok := p.intents[key]; ok && in.status == nil {
		return &p.deletes
	}
	return &p.puts
}

// write carries out the intent of one key. The queue sees to it that no other
// write of that key runs. It says whether etcd was asked.
func (p *publisher) write(ctx context.Context, key string) (asked bool, err error) {
	p.io.RLock()
	defer p.io.RUnlock()
	p.mu.Lock()
	open := p.open
	in, ok := p.intents[key]
	old, there := p.written[key]
	sure := !p.unsure[key]
	if ok {
		p.unsure[key] = true
	}
	p.mu.Unlock()
	switch {
	case !ok:
		return false, nil
	case sure && in.status != nil && there && equal(old, *in.status):
		p.done(key, in, false)
		return false, nil
	}
	ctx, cancel := bounded(ctx, open)
	defer cancel()
	desired := p.contract.desiredKey(key)
	var held bool
	if in.status == nil {
		held, err = p.tree.DeleteIfAbsent(ctx, desired, key)
	} else {
		var value []byte
		if value, err = schema.Encode(*in.status); err != nil {
			return false, err
		}
		held, err = p.tree.PutGuarded(ctx, desired, in.rev, key, value)
	}
	if err != nil {
		return true, err
	}
	if held {
		p.metrics.statusWritten()
	}
	p.done(key, in, held)
	return true, nil
}

// done notes that an intent was carried out, or that its guard did not hold: the
// desired value has changed, and what follows from that is on its way.
func (p *publisher) done(key string, in intent, held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.unsure, key)
	if p.intents[key] == in {
		delete(p.intents, key)
	}
	switch {
	case held && in.status == nil:
		delete(p.written, key)
	case held:
		p.written[key] = *in.status
	}
}

// equal compares all that a status says, Since too.
func equal(a, b schema.InterfaceStatus) bool {
	if (a.SwIfIndex == nil) != (b.SwIfIndex == nil) || a.SwIfIndex != nil && *a.SwIfIndex != *b.SwIfIndex {
		return false
	}
	sameTime := a.Since.Equal(b.Since)
	a.SwIfIndex, b.SwIfIndex = nil, nil
	a.Since, b.Since = time.Time{}, time.Time{}
	return sameTime && a == b
}

var _ store.Follower = (*inbox)(nil)
