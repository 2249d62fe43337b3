package daemon

import (
	"runtime"
	"sync"

	"github.com/vpp-cni/vpp-cni/schema/store"
)

// inbox takes what Follow finds and holds it until the loop has time. However
// much comes meanwhile, it holds one value a key.
type inbox struct {
	wake chan struct{}

	mu   sync.Mutex
	next news
}

// news is what has come since the loop last looked.
type news struct {
	// snapshot is the whole of the desired values; nil: none came. Changes are
	// newer than it.
	snapshot map[string]store.Entry
	// changes are by key; nil means deleted.
	changes map[string]*store.Entry
	// lost is why the view is stale; nil: it is not.
	lost error
	// rev is the newest revision, 0 for none.
	rev int64
	// events counts the calls.
	events int
}

func (n news) empty() bool { return n.snapshot == nil && len(n.changes) == 0 && n.lost == nil }

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// Snapshot implements store.Follower.
func (b *inbox) Snapshot(entries map[string]store.Entry, rev int64) {
	if entries == nil {
		entries = map[string]store.Entry{}
	}
	b.add(func(n *news) { *n = news{snapshot: entries, rev: rev, events: n.events + 1} })
}

// Changed implements store.Follower.
func (b *inbox) Changed(key string, e *store.Entry, rev int64) {
	b.add(func(n *news) {
		if n.changes == nil {
			n.changes = map[string]*store.Entry{}
		}
		n.changes[key] = e
		n.rev = rev
		n.events++
	})
}

// Lost implements store.Follower.
func (b *inbox) Lost(err error) {
	b.add(func(n *news) { n.lost = err })
}

func (b *inbox) add(edit func(*news)) {
	b.mu.Lock()
	edit(&b.next)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take empties the inbox. The changes of one transaction come as calls in a
// row: it lets a row that has begun come to its end, so that a new sandbox and
// the end of the old one are mostly handled together. Nothing depends on that.
func (b *inbox) take() news {
	for seen := -1; ; {
		b.mu.Lock()
		if b.next.events == seen || b.next.empty() {
			n := b.next
			b.next = news{}
			b.mu.Unlock()
			return n
		}
		seen = b.next.events
		b.mu.Unlock()
		for range 4 {
			runtime.Gosched()
		}
	}
}
