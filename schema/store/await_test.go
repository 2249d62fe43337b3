package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// awaited collects what AwaitHostStatus tells, as text, until it says stop.
type awaited struct {
	mu    sync.Mutex
	lines []string
	stop  string
}

func (a *awaited) done(st *schema.InterfaceStatus, agent *schema.AgentInfo, gone bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	line := "no status"
	if st != nil {
		line = fmt.Sprintf("%s of %d", st.State, st.SpecRevision)
	}
	switch {
	case gone:
		line += ", agent gone"
	case agent != nil:
		line += fmt.Sprintf(", agent ready=%v", agent.Ready)
	}
	a.lines = append(a.lines, line)
	return line == a.stop
}

func (a *awaited) told() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.lines, "\n")
}

func (e *env) await(ctx context.Context, a *awaited) <-chan error {
	done := make(chan error, 1)
	go func() { done <- e.store.AwaitHostStatus(ctx, node, "c1", ifname, a.done) }()
	return done
}

func (e *env) status(st schema.State, spec int64) {
	e.Helper()
	e.put(e.store.Keys().HostStatus(node, "c1", ifname), encode(e.T, schema.InterfaceStatus{SpecRevision: spec, State: st, Reason: schema.ReasonApplied}))
}

func TestAwaitHostStatus(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	rev := e.attach("c1")
	e.put(e.store.Keys().HostStatus(node, "c1", "net10"), "another interface's")
	e.status(schema.Pending, rev) // before the watch begins: it must not be missed
	a := &awaited{stop: fmt.Sprintf("Ready of %d, agent ready=true", rev)}
	done := e.await(e.ctx, a)
	eventually(t, "told", a.told, fmt.Sprintf("Pending of %d, agent ready=true", rev))
	e.status(schema.Ready, rev)
	is(t, <-done, nil)
	same(t, "told", a.told(), fmt.Sprintf("Pending of %d, agent ready=true\nReady of %d, agent ready=true", rev, rev))
}

func TestAwaitSeesTheAgent(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	e.status(schema.Ready, 1)
	e.attach("c1")
	a := &awaited{stop: "no status, agent gone"}
	done := e.await(e.ctx, a)
	e.announce(node)
	eventually(t, "told", a.told, "Ready of 1, agent ready=true")
	e.remove(e.store.Keys().Agent(node))
	eventually(t, "told", a.told, "Ready of 1, agent ready=true\nReady of 1, agent gone")
	e.remove(e.store.Keys().HostStatus(node, "c1", ifname))
	is(t, <-done, nil)
}

func TestAwaitAfterCompaction(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	rev := e.attach("c1")
	e.status(schema.Ready, rev)
	e.put("elsewhere", "so that the status is older than what compaction keeps")
	is(t, e.cluster.Compact(e.ctx), nil)
	a := &awaited{stop: fmt.Sprintf("Ready of %d, agent ready=true", rev)}
	is(t, <-e.await(e.ctx, a), nil)
}

func TestAwaitOverARestart(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	rev := e.attach("c1")
	a := &awaited{stop: fmt.Sprintf("Ready of %d, agent ready=true", rev)}
	e.status(schema.Pending, rev)
	done := e.await(e.ctx, a)
	eventually(t, "told", a.told, fmt.Sprintf("Pending of %d, agent ready=true", rev))
	e.cluster.Stop(0)
	is(t, e.cluster.Restart(0), nil)
	e.status(schema.Ready, rev)
	is(t, <-done, nil)
}

func TestAwaitTimesOut(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	e.attach("c1")
	a := &awaited{}
	ctx, cancel := context.WithTimeout(e.ctx, 300*time.Millisecond)
	defer cancel()
	err := <-e.await(ctx, a)
	is(t, err, context.DeadlineExceeded)
	if errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v is ErrUnavailable, but it is the agent that says nothing", err)
	}
	e.cluster.Stop(0)
	ctx, cancel = context.WithTimeout(e.ctx, 300*time.Millisecond)
	defer cancel()
	is(t, <-e.await(ctx, a), store.ErrUnavailable)
	same(t, "told", a.told(), "no status, agent ready=true")
}

// TestAwaitOfANewerAgent: what is known of its words is enough; what is no JSON
// is an error.
func TestAwaitOfANewerAgent(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.put(e.store.Keys().Agent(node), `{"node":"node-1","ready":true,"future":1}`)
	rev := e.attach("c1")
	e.put(e.store.Keys().HostStatus(node, "c1", ifname), fmt.Sprintf(`{"specRevision":%d,"state":"Ready","future":1}`, rev))
	is(t, <-e.await(e.ctx, &awaited{stop: fmt.Sprintf("Ready of %d, agent ready=true", rev)}), nil)
	e.put(e.store.Keys().HostStatus(node, "c1", ifname), "{")
	if err := <-e.await(e.ctx, &awaited{}); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("error %v, want one that says why the status cannot be read", err)
	}
}
