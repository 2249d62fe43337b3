package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// mirror is a Follower that keeps what it is told, and a history of calls.
type mirror struct {
	mu      sync.Mutex
	entries map[string]store.Entry
	rev     int64
	stale   bool
	lost    error // why it was last stale
	history []string
}

func (m *mirror) Snapshot(entries map[string]store.Entry, rev int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries, m.rev, m.stale = maps.Clone(entries), rev, false
	m.history = append(m.history, "snapshot "+strings.Join(slices.Sorted(maps.Keys(entries)), " "))
}

func (m *mirror) Changed(key string, e *store.Entry, rev int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rev = rev
	if e == nil {
		delete(m.entries, key)
		m.history = append(m.history, "delete "+key)
		return
	}
	m.entries[key] = *e
	m.history = append(m.history, "put "+key+"="+string(e.Value))
}

func (m *mirror) Lost(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stale, m.lost = true, err
	m.history = append(m.history, "lost")
}

func (m *mirror) told() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.history, "\n")
}

// view is what the mirror believes: the entries, and whether they are current.
func (m *mirror) view() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m.entries)) {
		out = append(out, k+"="+string(m.entries[k].Value))
	}
	if m.stale {
		out = append(out, "(stale)")
	}
	return strings.Join(out, " ")
}

// eventually waits for get to be want.
func eventually(t *testing.T, what string, get func() string, want string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for get() != want {
		if time.Now().After(deadline) {
			t.Fatalf("%s is\n%s\nwant\n%s", what, get(), want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// follow runs Follow on the node's desired host ends until the test ends, as the
// owner of a presence if one is given.
func follow(e *env, s *store.Store, owner ...*store.Presence) *mirror {
	e.Helper()
	m := &mirror{}
	tree := s.Subtree(s.Keys().NodePrefix(node))
	for _, p := range owner {
		tree = tree.OwnedBy(p)
	}
	ctx, cancel := context.WithCancel(e.ctx)
	done := make(chan error, 1)
	go func() { done <- tree.Follow(ctx, schema.HostInterfacesPrefix, m) }()
	e.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			e.Errorf("Follow ended with %v, want the context's error", err)
		}
	})
	return m
}

func hostKey(e *env, i int) string {
	return e.store.Keys().Host(node, schema.ContainerID(fmt.Sprintf("c%d", i)), ifname)
}

func TestFollow(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.put(hostKey(e, 1), "a")
	e.put(e.store.Keys().Host("node-10", "c1", ifname), "other node")
	m := follow(e, e.store)
	eventually(t, "view", m.view, "host/c1/net1=a")
	e.put(hostKey(e, 2), "b")
	e.put(e.store.Keys().HostStatus(node, "c1", ifname), "own status: not followed")
	e.put(hostKey(e, 1), "c")
	e.remove(hostKey(e, 2))
	eventually(t, "calls", m.told, `snapshot host/c1/net1
put host/c2/net1=b
put host/c1/net1=c
delete host/c2/net1`)
}

func TestFollowInPages(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	const n = 2345 // two full pages and a part
	for i := range n {
		e.put(hostKey(e, i), "v")
	}
	entries, rev, err := e.store.Subtree(e.store.Keys().NodePrefix(node)).List(e.ctx, schema.HostInterfacesPrefix)
	is(t, err, nil)
	if len(entries) != n || rev != n+1 {
		t.Errorf("%d entries at revision %d, want %d at %d", len(entries), rev, n, n+1)
	}
	all, _, err := e.store.Subtree("").List(e.ctx, "")
	is(t, err, nil)
	if len(all) != n {
		t.Errorf("the whole key space has %d entries, want %d", len(all), n)
	}
}

// TestFollowAfterBreaks: whatever broke the watch, the view ends up right, with
// what was deleted meanwhile gone.
func TestFollowAfterBreaks(t *testing.T) {
	tests := []struct {
		name  string
		opts  etcdtest.Options
		spoil func(e *env)
		want  string
	}{
		{"etcd restarted with changes compacted away", etcdtest.Options{}, func(e *env) {
			e.cluster.Stop(0)
			is(e.T, e.cluster.Restart(0), nil)
		}, "host/c3/net1=new"},
		{"wiped, and filled anew at lower revisions", etcdtest.Options{}, func(e *env) {
			time.Sleep(500 * time.Millisecond) // the watch has shown signs of life
			is(e.T, e.cluster.Wipe(), nil)
		}, "host/c3/net1=new"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t, tt.opts)
			for i := range 50 { // so that a wiped etcd is behind
				e.put("elsewhere", fmt.Sprint(i))
			}
			e.put(hostKey(e, 1), "a")
			e.put(hostKey(e, 2), "b")
			m := follow(e, e.store)
			eventually(t, "view", m.view, "host/c1/net1=a host/c2/net1=b")
			tt.spoil(e)
			e.remove(hostKey(e, 1))
			e.remove(hostKey(e, 2))
			e.put(hostKey(e, 3), "new")
			is(t, e.cluster.Compact(e.ctx), nil)
			eventually(t, "view", m.view, tt.want)
			e.put(hostKey(e, 4), "later")
			eventually(t, "view", m.view, tt.want+" host/c4/net1=later")
		})
	}
}

func TestFollowStartsWhileEtcdIsAway(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.put(hostKey(e, 1), "a")
	e.cluster.Stop(0)
	s := openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), RequestTimeout: 300 * time.Millisecond})
	m := follow(e, s)
	eventually(t, "first call", func() string { first, _, _ := strings.Cut(m.told(), "\n"); return first }, "lost")
	is(t, e.cluster.Restart(0), nil)
	eventually(t, "view", m.view, "host/c1/net1=a")
}

// TestFollowWithoutQuorum: a member that has lost its leader must not keep a
// watch that can show nothing.
func TestFollowWithoutQuorum(t *testing.T) {
	e := newEnv(t, etcdtest.Options{Members: 3})
	e.put(hostKey(e, 1), "a")
	m := follow(e, e.store)
	eventually(t, "view", m.view, "host/c1/net1=a")
	e.cluster.Stop(1)
	e.put(hostKey(e, 2), "b")
	eventually(t, "with one member away", m.view, "host/c1/net1=a host/c2/net1=b")
	e.cluster.Stop(2)
	eventually(t, "without a quorum", m.view, "host/c1/net1=a host/c2/net1=b (stale)")
	is(t, e.cluster.Restart(2), nil)
	e.remove(hostKey(e, 1))
	eventually(t, "with a quorum again", m.view, "host/c2/net1=b")
}

func TestFollowLeavesNothingBehind(t *testing.T) {
	e := newEnvAlone(t, etcdtest.Options{})
	e.put("warm", "the server's own goroutines")
	before := goleak.IgnoreCurrent()
	s, err := store.Open(store.Config{Endpoints: e.cluster.Endpoints(), ProgressInterval: 50 * time.Millisecond})
	is(t, err, nil)
	ctx, cancel := context.WithTimeout(e.ctx, 300*time.Millisecond)
	defer cancel()
	is(t, s.Subtree(s.Keys().NodePrefix(node)).Follow(ctx, "host/", &mirror{}), context.DeadlineExceeded)
	p := e.own(s, "zero")
	is(t, p.Set(e.ctx, []byte("{}")), nil)
	is(t, p.Close(e.ctx), nil)
	is(t, s.Close(), nil)
	goleak.VerifyNone(t, before)
}

func TestGuardedWrites(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	sub := e.store.Subtree(e.store.Keys().NodePrefix(node))
	desired, status := schema.HostKey("c1", ifname), schema.HostStatusKey("c1", ifname)
	rev := e.put(hostKey(e, 1), "a")
	check := func(what string, held bool, err error, want bool) {
		t.Helper()
		is(t, err, nil)
		if held != want {
			t.Errorf("%s: held = %v, want %v", what, held, want)
		}
	}
	held, err := sub.PutGuarded(e.ctx, desired, rev, status, []byte("ready"))
	check("status of the current value", held, err, true)
	held, err = sub.PutGuarded(e.ctx, desired, rev-1, status, []byte("old"))
	check("status of an older value", held, err, false)
	held, err = sub.DeleteIfAbsent(e.ctx, desired, status)
	check("delete of a status that is wanted", held, err, false)
	same(t, "keys", e.keys(), "nodes/node-1/host-status/c1/net1\nnodes/node-1/host/c1/net1")
	e.remove(hostKey(e, 1))
	held, err = sub.PutGuarded(e.ctx, desired, rev, status, []byte("late"))
	check("status of a value that is gone", held, err, false)
	held, err = sub.DeleteIfAbsent(e.ctx, desired, status)
	check("delete of the status", held, err, true)
	held, err = sub.DeleteIfAbsent(e.ctx, desired, status)
	check("delete of what is absent", held, err, true)
	same(t, "keys", e.keys(), "")
}

func TestWatchAll(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.put(hostKey(e, 1), "a")
	var mu sync.Mutex
	var lines []string
	ctx, cancel := context.WithCancel(e.ctx)
	done := make(chan error, 1)
	go func() {
		done <- e.store.WatchAll(ctx, e.store.Keys().Root(), func(ev store.Event) {
			mu.Lock()
			defer mu.Unlock()
			key := strings.TrimPrefix(ev.Key, e.store.Keys().NodePrefix(node))
			lines = append(lines, fmt.Sprintf("%s %q -> %q initial=%v lost=%v", key, ev.Prev, ev.Value, ev.Initial, ev.Lost != nil))
		})
	}()
	told := func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(lines, "\n")
	}
	eventually(t, "events", told, `host/c1/net1 "" -> "a" initial=true lost=false`)
	e.put(hostKey(e, 1), "b")
	e.remove(hostKey(e, 1))
	eventually(t, "events", told, `host/c1/net1 "" -> "a" initial=true lost=false
host/c1/net1 "a" -> "b" initial=false lost=false
host/c1/net1 "b" -> "" initial=false lost=false`)
	cancel()
	is(t, <-done, context.Canceled)
}
