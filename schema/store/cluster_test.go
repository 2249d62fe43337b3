package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// lastLost is why the view was last said to be stale.
func (m *mirror) lastLost() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost == nil {
		return ""
	}
	return m.lost.Error()
}

// awaitLost waits until the view is stale for a reason that has text in it.
func awaitLost(t *testing.T, m *mirror, text string) {
	t.Helper()
	eventually(t, "the reason "+text, func() string {
		if strings.Contains(m.lastLost(), text) {
			return text
		}
		return m.lastLost()
	}, text)
}

// TestFollowTwoClusters: a list of endpoints of two clusters. Nothing that either
// says is believed while both answer, and what was known of the one is never
// lost to the other.
func TestFollowTwoClusters(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.put(hostKey(e, 1), "a")
	other := etcdtest.Start(t, etcdtest.Options{})
	raw, err := other.Client()
	is(t, err, nil)
	t.Cleanup(func() { _ = raw.Close() })
	_, err = raw.Put(e.ctx, hostKey(e, 9), "of the other cluster")
	is(t, err, nil)
	endpoints := append(e.cluster.Endpoints(), other.Endpoints()...)

	s := openStore(t, store.Config{Endpoints: endpoints, RequestTimeout: 300 * time.Millisecond})
	m := follow(e, s)
	awaitLost(t, m, "the endpoints belong to different etcd clusters, none is believed")
	time.Sleep(time.Second)
	if told := m.told(); strings.Contains(told, "snapshot") {
		t.Errorf("a snapshot was believed:\n%s", told)
	}

	// One was there first: the other is not believed when the first goes away.
	other.Stop(0)
	eventually(t, "view with one of them away", m.view, "host/c1/net1=a")
	is(t, other.Restart(0), nil)
	e.cluster.Stop(0)
	awaitLost(t, m, "only 1 of 2 endpoints are of it")
	if entries, _, err := s.Subtree("").List(e.ctx, ""); err == nil {
		t.Errorf("the other cluster's list of %d was believed", len(entries))
	}
	is(t, e.cluster.Restart(0), nil)
	other.Stop(0)
	e.put(hostKey(e, 2), "b")
	eventually(t, "view with the first one back", m.view, "host/c1/net1=a host/c2/net1=b")
	if told := m.told(); strings.Contains(told, "c9") || strings.Contains(told, "delete") {
		t.Errorf("the other cluster was believed:\n%s", told)
	}
}

// TestFollowAnotherCluster: a cluster that was made anew behind the same
// endpoint is believed, but not at its first word.
func TestFollowAnotherCluster(t *testing.T) {
	dir := shortDir(t)
	e := newEnv(t, etcdtest.Options{})
	first, err := etcdtest.New(filepath.Join(dir, "a"), etcdtest.Options{})
	is(t, err, nil)
	t.Cleanup(first.Close)
	second := etcdtest.Start(t, etcdtest.Options{})
	link := filepath.Join(dir, "etcd.sock")
	is(t, os.Symlink(strings.TrimPrefix(first.Endpoints()[0], "unix://"), link), nil)
	put(e, first, hostKey(e, 1), "a")
	put(e, second, hostKey(e, 2), "b")
	m := follow(e, openStore(t, store.Config{Endpoints: []string{"unix://" + link}, ProgressInterval: time.Second}))
	eventually(t, "view", m.view, "host/c1/net1=a")
	first.Close()
	is(t, os.Remove(link), nil)
	is(t, os.Symlink(strings.TrimPrefix(second.Endpoints()[0], "unix://"), link), nil)
	awaitLost(t, m, "the endpoints now belong to another etcd cluster")
	doubted := time.Now()
	eventually(t, "view", m.view, "host/c2/net1=b")
	if took := time.Since(doubted); took < 500*time.Millisecond {
		t.Errorf("believed after %v, want a while", took)
	}
}

// TestFollowDoubtsTheOlder: of two states of one cluster, as after a restore
// beside members that still run, the older is not believed while the newer one
// is there.
func TestFollowDoubtsTheOlder(t *testing.T) {
	dir := shortDir(t)
	e := newEnv(t, etcdtest.Options{})
	newer, err := etcdtest.New(filepath.Join(dir, "a"), etcdtest.Options{})
	is(t, err, nil)
	t.Cleanup(newer.Close)
	put(e, newer, hostKey(e, 1), "a")
	newer.Close()
	is(t, os.CopyFS(filepath.Join(dir, "b", "m0"), os.DirFS(filepath.Join(dir, "a", "m0"))), nil)
	is(t, newer.Restart(0), nil)
	for i := range 20 {
		put(e, newer, hostKey(e, 2), fmt.Sprint(i))
	}
	older, err := etcdtest.New(filepath.Join(dir, "b"), etcdtest.Options{})
	is(t, err, nil)
	t.Cleanup(older.Close)

	cfg := store.Config{Endpoints: append(older.Endpoints(), newer.Endpoints()...), RequestTimeout: 300 * time.Millisecond}
	const want = "host/c1/net1=a host/c2/net1=19"
	for i := range 8 { // agents that start, and know nothing: either may answer first
		m := follow(e, openStore(t, cfg))
		eventually(t, "view", m.view, want)
		if told := m.told(); strings.Contains(told, "snapshot host/c1/net1\n") {
			t.Errorf("start %d: the older state was believed:\n%s", i, told)
		}
	}
	m := follow(e, openStore(t, cfg))
	eventually(t, "view", m.view, want)
	for range 4 { // each break is a new list, of either
		newer.Close()
		is(t, newer.Restart(0), nil)
		eventually(t, "view", m.view, want)
	}
	if told := m.told(); strings.Contains(told, "snapshot host/c1/net1\n") || strings.HasSuffix(told, "snapshot host/c1/net1") {
		t.Errorf("the older state was believed:\n%s", told)
	}
	newer.Close() // now there is only the older: it was restored
	awaitLost(t, m, "wiped or restored?")
	eventually(t, "view of what was restored", m.view, "host/c1/net1=a")
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "two") //nolint:usetesting // a socket's path must fit
	is(t, err, nil)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// put writes a key to one cluster of several.
func put(e *env, c *etcdtest.Cluster, key, value string) {
	e.Helper()
	raw, err := c.Client()
	is(e.T, err, nil)
	_, err = raw.Put(e.ctx, key, value)
	is(e.T, err, nil)
	_ = raw.Close()
}

// TestListOfTwoClusters: the pages of one list are of one cluster, or there is no
// list.
func TestListOfTwoClusters(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	other := etcdtest.Start(t, etcdtest.Options{})
	raw, err := other.Client()
	is(t, err, nil)
	t.Cleanup(func() { _ = raw.Close() })
	const n = 2345
	for i := range n {
		e.put(hostKey(e, i), "v")
		_, err = raw.Put(e.ctx, hostKey(e, i), "w")
		is(t, err, nil)
	}
	s := openStore(t, store.Config{Endpoints: append(e.cluster.Endpoints(), other.Endpoints()...)})
	refused := 0
	for range 20 {
		entries, _, err := s.Subtree(s.Keys().NodePrefix(node)).List(e.ctx, "host/")
		if err != nil {
			if !strings.Contains(err.Error(), "another etcd cluster") {
				t.Fatal(err)
			}
			refused++
			continue
		}
		values := map[string]bool{}
		for _, entry := range entries {
			values[string(entry.Value)] = true
		}
		if len(entries) != n || len(values) != 1 {
			t.Fatalf("a list of %d entries of %d clusters", len(entries), len(values))
		}
	}
	if refused == 0 {
		t.Error("no list was of both clusters: nothing was tested")
	}
}

// TestListWhileHistoryGoes: a list whose revision is compacted away between two
// pages is an error, not a part of the keys.
func TestListWhileHistoryGoes(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	const n = 2345
	for i := range n {
		e.put(hostKey(e, i), "v")
	}
	ctx, stop := context.WithCancel(e.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			resp, err := e.raw.Put(ctx, "elsewhere", "x")
			if err == nil {
				_, _ = e.raw.Compact(ctx, resp.Header.GetRevision())
			}
		}
	}()
	sub := e.store.Subtree(e.store.Keys().NodePrefix(node))
	compacted := 0
	for end := time.Now().Add(20 * time.Second); compacted < 3 && time.Now().Before(end); {
		entries, _, err := sub.List(e.ctx, "host/")
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			compacted++
		case err != nil:
			t.Fatal(err)
		case len(entries) != n:
			t.Fatalf("a list of %d entries, want %d or an error", len(entries), n)
		}
	}
	if compacted == 0 {
		t.Error("no list was broken by a compaction")
	}
	m := follow(e, e.store)
	time.Sleep(200 * time.Millisecond)
	stop()
	<-done
	eventually(t, "entries", func() string {
		m.mu.Lock()
		defer m.mu.Unlock()
		return fmt.Sprint(len(m.entries), m.stale)
	}, fmt.Sprint(n, false))
}

// TestFollowWithAFrozenMember: one of three members that takes connections and
// never answers again keeps neither the view nor writes from going on.
func TestFollowWithAFrozenMember(t *testing.T) {
	e := newEnv(t, etcdtest.Options{Members: 3, TCP: true})
	eps := e.cluster.Endpoints()
	frozen := etcdtest.NewRelay(t, eps[0])
	s := openStore(t, store.Config{Endpoints: []string{"http://" + frozen.Endpoint(), eps[1], eps[2]}, RequestTimeout: time.Second})
	e.put(hostKey(e, 1), "a")
	m := follow(e, s)
	eventually(t, "view", m.view, "host/c1/net1=a")
	frozen.Silence()
	defer frozen.Resume()
	begin := time.Now()
	e.put(hostKey(e, 2), "b")
	eventually(t, "view with a frozen member", m.view, "host/c1/net1=a host/c2/net1=b")
	t.Logf("seen after %v", time.Since(begin).Round(time.Millisecond))
	if told := m.told(); strings.Contains(told, "delete") {
		t.Errorf("something was deleted:\n%s", told)
	}
}
