package daemon

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// lateTree is an etcd that carries writes out and whose answers can be held
// back or lost.
type lateTree struct {
	mu     sync.Mutex
	states []schema.State // what was written, in order
	answer func(n int) error
}

func (*lateTree) Follow(context.Context, string, store.Follower) error { return nil }

func (*lateTree) List(context.Context, string) (map[string]store.Entry, int64, error) {
	return nil, 1, nil
}

func (l *lateTree) PutGuarded(_ context.Context, _ string, _ int64, _ string, value []byte) (bool, error) {
	s, err := schema.Decode[schema.InterfaceStatus](value)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	l.states = append(l.states, s.State)
	n := len(l.states)
	l.mu.Unlock()
	return true, l.answer(n)
}

func (*lateTree) DeleteIfAbsent(context.Context, string, string) (bool, error) { return true, nil }

func (l *lateTree) last() schema.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.states) == 0 {
		return ""
	}
	return l.states[len(l.states)-1]
}

// TestOvertakenStatus: Ready stands in etcd, Pending is on its way there, and
// Ready holds again before the answer comes, or the answer is lost though etcd
// has carried the write out. In the end etcd must say Ready.
func TestOvertakenStatus(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]error{"answer late": nil, "answer lost": errors.New("no answer")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent, release := make(chan struct{}), make(chan struct{})
			tree := &lateTree{answer: func(n int) error {
				if n != 2 {
					return nil
				}
				close(sent)
				<-release
				return lost
			}}
			log := logrus.New()
			log.SetOutput(io.Discard)
			contract := Contract{Desired: schema.PodInterfacesPrefix, Statuses: schema.PodStatusPrefix}
			p := newPublisher(tree, contract, NewMetrics(), logrus.NewEntry(log))
			if _, err := p.load(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- p.run(ctx) }()
			t.Cleanup(func() {
				stop()
				<-done
			})
			key := schema.PodStatusKey("net1")
			put := func(s schema.State, r schema.Reason) {
				p.put(key, 7, schema.InterfaceStatus{SpecRevision: 7, State: s, Reason: r})
			}
			put(schema.Ready, schema.ReasonApplied)
			until(t, "Ready", func() bool { return tree.last() == schema.Ready })
			until(t, "the first write to be known", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.intents) == 0 })
			put(schema.Pending, schema.ReasonVPPDown)
			<-sent
			put(schema.Ready, schema.ReasonApplied)
			close(release)
			until(t, "Ready in the end", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.intents) == 0 && len(p.unsure) == 0
			})
			if got := tree.last(); got != schema.Ready {
				t.Errorf("etcd says %s, want Ready", got)
			}
		})
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
