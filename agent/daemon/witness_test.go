package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// never counts the states in which something was held.
type never struct {
	mu   sync.Mutex
	held int
}

func (n *never) watch(c *daemon.Config) {
	c.OnState = func(s daemon.State) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.held = max(n.held, s.Held)
	}
}

func (n *never) check(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held > 0 {
		t.Errorf("%d were held meanwhile, want none", n.held)
	}
}

// TestRemovalWhileAwayIsNoHold: what was removed by DEL while no agent saw it is
// removed at once.
func TestRemovalWhileAwayIsNoHold(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(b *bench) error{
		"the status stands": func(b *bench) error { return b.detach("c1") },
		"compacted since": func(b *bench) error {
			b.del("c1")
			return b.etcd.Compact(b.t.Context())
		},
		"no status was ever written, the removal left one": func(b *bench) error {
			must(b.t, b.withoutStatus("c1"))
			return b.detach("c1")
		},
		"the status cannot be read": func(b *bench) error {
			_, err := b.client.Put(b.t.Context(), b.keys.HostStatus(node, "c1", "net1"), "{")
			b.del("c1")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.startVPP()
			b.start()
			b.put("c1", vlan("p1"))
			b.put("c2", host("p2"))
			b.await("c1", 0, "Ready/Applied")
			b.await("c2", 0, "Ready/Applied")
			b.stop()
			must(t, remove(b))
			var n never
			b.start(n.watch)
			b.awaitGone("c1")
			b.ready()
			if diff := cmp.Diff([]string{"p2"}, b.podDirs()); diff != "" {
				t.Errorf("directories (-want +got):\n%s", diff)
			}
			n.check(t)
		})
	}
}

// TestRemovalUnseenIsNoHold: the same where the agent runs and etcd is away, so
// that it finds the removal in a snapshot, not as an event.
func TestRemovalUnseenIsNoHold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	var n never
	var tree *laggard
	b.start(n.watch, func(c *daemon.Config) { tree = &laggard{Tree: c.Tree}; c.Tree = tree })
	b.put("c1", vlan("p1"))
	b.await("c1", 0, "Ready/Applied")
	tree.deaf(true)
	must(t, b.detach("c1"))
	must(t, b.etcd.Compact(t.Context()))
	tree.deaf(false)
	b.snapshot(tree)
	b.awaitGone("c1")
	if dirs := b.podDirs(); len(dirs) > 0 {
		t.Errorf("directories %v are left", dirs)
	}
	n.check(t)
}

// withoutStatus takes away a status, as if its write had never come through.
func (b *bench) withoutStatus(container string) error {
	_, err := b.client.Delete(b.t.Context(), b.keys.HostStatus(node, schema.ContainerID(container), "net1"))
	return err
}

// detach removes a host end as the plugin does: with a tombstone where there is
// no status.
func (b *bench) detach(container string) error {
	value, err := schema.Encode(schema.InterfaceStatus{State: schema.Removed, Reason: schema.ReasonDetached, Since: time.Now().UTC()})
	if err != nil {
		return err
	}
	status := b.keys.HostStatus(node, schema.ContainerID(container), "net1")
	_, err = b.client.Txn(b.t.Context()).If(clientv3.Compare(clientv3.CreateRevision(status), "=", 0)).Then(
		clientv3.OpDelete(b.keys.Host(node, schema.ContainerID(container), "net1")), clientv3.OpPut(status, string(value)),
	).Else(
		clientv3.OpDelete(b.keys.Host(node, schema.ContainerID(container), "net1")),
	).Commit()
	return err
}

// TestTombstoneGoes: an attachment that comes and goes before a status is written
// leaves a tombstone, for which a DEL waits.
func TestTombstoneGoes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.ready()
	for i := range 20 {
		c := fmt.Sprint("c", i)
		b.put(c, host("p"))
		must(t, b.detach(c))
	}
	for i := range 20 {
		b.awaitGone(fmt.Sprint("c", i))
	}
	b.tombstone("unknown") // of an attachment that is nowhere
	b.stop()
	b.start()
	b.awaitGone("unknown")
}

// laggard is a view of etcd that can be made deaf, and told an older state.
type laggard struct {
	daemon.Tree

	mu     sync.Mutex
	silent bool
	f      store.Follower
}

func (l *laggard) Follow(ctx context.Context, prefix string, f store.Follower) error {
	l.mu.Lock()
	l.f = f
	l.mu.Unlock()
	return l.Tree.Follow(ctx, prefix, l)
}

func (l *laggard) deaf(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = on
}

func (l *laggard) tell(f func(store.Follower)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.silent {
		f(l.f)
	}
}

func (l *laggard) Snapshot(entries map[string]store.Entry, rev int64) {
	l.tell(func(f store.Follower) { f.Snapshot(entries, rev) })
}

func (l *laggard) Changed(key string, e *store.Entry, rev int64) {
	l.tell(func(f store.Follower) { f.Changed(key, e, rev) })
}

func (l *laggard) Lost(err error) { l.tell(func(f store.Follower) { f.Lost(err) }) }

// snapshot tells the agent what etcd holds now.
func (b *bench) snapshot(l *laggard) {
	b.t.Helper()
	entries, rev, err := l.List(b.t.Context(), schema.HostInterfacesPrefix)
	must(b.t, err)
	l.Snapshot(entries, rev)
}

// TestEmptyAnswerOfALaggingMember: the desired values come from a member that is
// far behind, the statuses from one that is not. Nobody is cut.
func TestEmptyAnswerOfALaggingMember(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	var tree *laggard
	b.start(func(c *daemon.Config) { tree = &laggard{Tree: c.Tree}; c.Tree = tree })
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	before := b.there()
	b.written()
	tree.Snapshot(nil, 1)
	b.held(1)
	time.Sleep(300 * time.Millisecond)
	if diff := cmp.Diff(before, b.there()); diff != "" || len(b.written()) > 0 {
		t.Errorf("VPP and the run-dir (-before +after):\n%s", diff)
	}
	if s, err := b.status("c1"); err != nil || describe(s) != "Ready/Applied" {
		t.Errorf("status %s, %v", describe(s), err)
	}
	b.snapshot(tree)
	b.held(0)
	b.await("c1", 0, "Ready/Applied")
	if n := b.written(); len(n) > 0 {
		t.Errorf("writes to VPP: %v", n)
	}
}

// sticky is a driver that cannot remove one object.
type sticky struct {
	reconcile.Driver

	mu    sync.Mutex
	stays string
}

func (s *sticky) Delete(ctx context.Context, have model.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have.ID().Name == s.stays {
		return errors.New("it stays")
	}
	return s.Driver.Delete(ctx, have)
}

func (s *sticky) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stays = ""
}

// TestStuckDirectoryHoldsNobodyUp: a pod's directory that cannot be removed keeps
// that pod's status, and no other pod's.
func TestStuckDirectoryHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	pods := map[string]string{"c1": "p1", "c2": "p2", "c3": "p3"}
	for c, p := range pods {
		b.put(c, host(p))
	}
	for c := range pods {
		b.await(c, 0, "Ready/Applied")
	}
	b.stop()
	must(t, errors.Join(b.detach("c1"), b.detach("c2")))
	b.tombstone("unknown") // it does not say whose it is
	stuck := &sticky{stays: filepath.Join(b.runDir, "pods", "p1")}
	b.start(func(c *daemon.Config) {
		stuck.Driver = c.Drivers[0]
		c.Drivers = append([]reconcile.Driver{stuck}, c.Drivers[1:]...)
		c.Audit = 300 * time.Millisecond
	})
	b.awaitGone("c2")
	time.Sleep(time.Second) // some passes more
	for _, c := range []string{"c1", "unknown"} {
		if s, err := b.status(c); err != nil || s == nil {
			t.Errorf("status of %s: %v, %v: want it to stay", c, describe(s), err)
		}
	}
	b.await("c3", 0, "Ready/Applied")
	stuck.free()
	b.awaitGone("c1")
	b.awaitGone("unknown")
	if diff := cmp.Diff([]string{"p3"}, b.podDirs()); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}
