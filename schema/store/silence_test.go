package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// TestFollowNoticesSilence: a connection that neither breaks nor brings anything
// must not pass for an idle cluster; an idle cluster must not pass for a dead one.
func TestFollowNoticesSilence(t *testing.T) {
	e := newEnv(t, etcdtest.Options{TCP: true})
	e.put(hostKey(e, 1), "a")
	r := etcdtest.NewRelay(t, e.cluster.Endpoints()[0])
	s := openStore(t, store.Config{Endpoints: []string{r.Endpoint()}, RequestTimeout: time.Second, ProgressInterval: 300 * time.Millisecond})
	m := follow(e, s)
	eventually(t, "view", m.view, "host/c1/net1=a")
	time.Sleep(3 * time.Second) // far over the limit for silence
	same(t, "calls of an idle cluster", m.told(), "snapshot host/c1/net1")

	r.Silence()
	e.put(hostKey(e, 1), "b")
	eventually(t, "view in silence", m.view, "host/c1/net1=a (stale)")
	r.Resume()
	eventually(t, "view after it", m.view, "host/c1/net1=b")
}

// muting lets a relay fall silent when the list is there, before the watch is.
type muting struct {
	mirror
	relay *etcdtest.Relay
	once  sync.Once
}

func (m *muting) Snapshot(entries map[string]store.Entry, rev int64) {
	m.once.Do(m.relay.Silence)
	m.mirror.Snapshot(entries, rev)
}

// TestFollowNoticesAWatchThatNeverBegins: between list and watch nothing else
// has a limit of its own.
func TestFollowNoticesAWatchThatNeverBegins(t *testing.T) {
	e := newEnv(t, etcdtest.Options{TCP: true})
	e.put(hostKey(e, 1), "a")
	r := etcdtest.NewRelay(t, e.cluster.Endpoints()[0])
	s := openStore(t, store.Config{Endpoints: []string{r.Endpoint()}, RequestTimeout: time.Second, ProgressInterval: 300 * time.Millisecond})
	m := &muting{relay: r}
	ctx, cancel := context.WithCancel(e.ctx)
	done := make(chan error, 1)
	go func() {
		done <- s.Subtree(s.Keys().NodePrefix(node)).Follow(ctx, schema.HostInterfacesPrefix, m)
	}()
	begin := time.Now()
	eventually(t, "view in silence", m.view, "host/c1/net1=a (stale)")
	if took := time.Since(begin); took > 5*time.Second { // gRPC's own limit is 15 s
		t.Errorf("noticed after %v", took)
	}
	e.put(hostKey(e, 1), "b")
	r.Resume()
	eventually(t, "view after it", m.view, "host/c1/net1=b")
	cancel()
	is(t, <-done, context.Canceled)
}

// TestFollowNoticesAnEarlyWipe: etcd is wiped before the watch has shown a sign
// of life, so that its silence alone says nothing.
func TestFollowNoticesAnEarlyWipe(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	for range 50 { // so that a wiped etcd is behind
		e.put("elsewhere", "x")
	}
	e.put(hostKey(e, 1), "a")
	// The silence of a server that never answers counts after 30 intervals.
	m := follow(e, openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), ProgressInterval: 500 * time.Millisecond}))
	eventually(t, "view", m.view, "host/c1/net1=a")
	is(t, e.cluster.Wipe(), nil)
	begin := time.Now()
	eventually(t, "view of the wiped etcd", m.view, "")
	if took := time.Since(begin); took > 9*time.Second {
		t.Errorf("noticed after %v", took)
	}
}
