package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

const ttl = 2 * time.Second

// read is the value of the agent's key; empty when absent.
func (e *env) read() string {
	e.Helper()
	resp, err := e.raw.Get(e.ctx, e.store.Keys().Agent(node))
	if err != nil || len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

// owner is one owner of the agent's key, with what it was told.
type owner struct {
	*store.Presence
	mu   sync.Mutex
	told []string
}

func (o *owner) changed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var taken *store.TakenError
	switch {
	case err == nil:
		o.told = append(o.told, "mine")
	case errors.As(err, &taken) && taken.Owner != nil:
		o.told = append(o.told, "of "+taken.Owner.Instance)
	default:
		o.told = append(o.told, err.Error())
	}
}

func (o *owner) history() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.told, ", ")
}

// own claims the agent's key. The owners in dead are known not to live.
func (e *env) own(s *store.Store, value string, dead ...string) *owner {
	e.Helper()
	o := &owner{}
	var err error
	o.Presence, err = s.Presence(store.Claim{
		Key: s.Keys().Agent(node), TTL: ttl, Value: []byte(value), Changed: o.changed,
		Yields: func(value []byte) bool { return slices.Contains(dead, string(value)) },
	})
	if err != nil {
		e.Fatal(err)
	}
	o.Start(e.ctx)
	return o
}

// instance is the presence of an agent.
func instance(t *testing.T, name string) string {
	t.Helper()
	return encode(t, schema.AgentInfo{Node: node, Instance: name, RunDir: "/run/vpp-cni"})
}

func TestPresence(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	p := e.own(e.store, "zero")
	eventually(t, "presence", e.read, "zero")
	is(t, p.Set(e.ctx, []byte("one")), nil)
	same(t, "presence", e.read(), "one")
	is(t, p.Set(e.ctx, []byte("two")), nil)
	same(t, "presence", e.read(), "two")
	leases, err := e.raw.Leases(e.ctx)
	is(t, err, nil)
	if len(leases.Leases) != 1 {
		t.Errorf("%d leases, want one", len(leases.Leases))
	}
	if !p.Owned() {
		t.Error("it is not owned")
	}
	is(t, p.Close(e.ctx), nil)
	same(t, "presence after Close", e.read(), "")
	if p.Owned() {
		t.Error("it is owned after Close")
	}
	is(t, p.Close(e.ctx), nil)
	same(t, "what was told", p.history(), "mine")
}

// TestPresenceOfTwo: a key whose owner lives is left alone, and taken when that
// one ends.
func TestPresenceOfTwo(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	// The first is of a newer version, with a field that the second does not know.
	a, b := strings.Replace(instance(t, "a"), "{", `{"future":1,`, 1), instance(t, "b")
	first := e.own(e.store, a)
	eventually(t, "presence", e.read, a)
	second := e.own(openStore(t, store.Config{Endpoints: e.cluster.Endpoints()}), b)
	eventually(t, "what the second was told", second.history, "of a")
	var taken *store.TakenError
	if err := second.Set(e.ctx, []byte(b)); !errors.As(err, &taken) || second.Owned() {
		t.Errorf("the second's write: %v, owned %t: want that the key is taken", err, second.Owned())
	}
	if text := fmt.Sprint(taken); !strings.Contains(text, "the name of node node-1 is taken by another agent: instance a,") {
		t.Errorf("the error does not say by whom: %s", text)
	}
	time.Sleep(2 * ttl) // the first keeps its lease, the second keeps looking
	same(t, "presence", e.read(), a)
	is(t, first.Close(e.ctx), nil)
	eventually(t, "presence", e.read, b)
	eventually(t, "what the second was told", second.history, "of a, mine")
	same(t, "what the first was told", first.history(), "mine")
	is(t, second.Close(e.ctx), nil)
}

// TestPresenceCutOff: an owner that is cut off from etcd knows by itself when it
// may have lost the key, and leaves it to the one that took it meanwhile.
func TestPresenceCutOff(t *testing.T) {
	e := newEnv(t, etcdtest.Options{TCP: true})
	r := etcdtest.NewRelay(t, e.cluster.Endpoints()[0])
	s := openStore(t, store.Config{Endpoints: []string{r.Endpoint()}, RequestTimeout: time.Second})
	a, b := instance(t, "a"), instance(t, "b")
	first := e.own(s, a)
	eventually(t, "presence", e.read, a)
	m := follow(e, s, first.Presence)
	eventually(t, "the first's view", m.view, "")
	eventually(t, "the first's calls", m.told, "snapshot ")

	r.Silence()
	cut := time.Now()
	second := e.own(e.store, b)
	for first.Owned() {
		if time.Since(cut) > 2*ttl {
			t.Fatal("the first does not know that it has lost the key")
		}
		time.Sleep(time.Millisecond)
	}
	if read := e.read(); read != a {
		t.Errorf("the key is %q when the first knew that it may have lost it, want its own still", read)
	}
	eventually(t, "presence", e.read, b)
	rev := e.put(hostKey(e, 1), "desired")
	r.Resume()

	eventually(t, "what the first was told", first.history, "mine, of b")
	sub := s.Subtree(s.Keys().NodePrefix(node)).OwnedBy(first.Presence)
	if _, err := sub.PutGuarded(e.ctx, schema.HostKey("c1", ifname), rev, schema.HostStatusKey("c1", ifname), []byte("x")); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the first's status: %v, want a conflict", err)
	}
	time.Sleep(ttl)
	same(t, "presence", e.read(), b)
	same(t, "the first's view", m.view(), "(stale)")
	same(t, "keys", e.keys(), "nodes/node-1/agent\nnodes/node-1/host/c1/net1")
	is(t, second.Close(e.ctx), nil)
	eventually(t, "presence", e.read, a)
	eventually(t, "the first's view", m.view, "host/c1/net1=desired")
	eventually(t, "what the first was told", first.history, "mine, of b, mine")
}

// TestNoEventAfterTheLease: what a watch brings after the lease may have run out
// can be meant for another owner. It is not told, though the watch works.
func TestNoEventAfterTheLease(t *testing.T) {
	e := newEnv(t, etcdtest.Options{TCP: true})
	r := etcdtest.NewRelay(t, e.cluster.Endpoints()[0])
	p := e.own(openStore(t, store.Config{Endpoints: []string{r.Endpoint()}, RequestTimeout: time.Second}), "one")
	eventually(t, "presence", e.read, "one")
	time.Sleep(ttl / 6) // the watch's own looks at the lease come between its ends
	m := follow(e, e.store, p.Presence)
	e.put(hostKey(e, 1), "a")
	eventually(t, "view", m.view, "host/c1/net1=a")
	r.Silence()
	for p.Owned() {
		time.Sleep(time.Millisecond)
	}
	e.put(hostKey(e, 2), "b")
	eventually(t, "view after the lease", m.view, "host/c1/net1=a (stale)")
	if told := m.told(); strings.Contains(told, "put host/c2") {
		t.Errorf("an event was told after the lease:\n%s", told)
	}
	r.Resume()
	eventually(t, "view", m.view, "host/c1/net1=a host/c2/net1=b")
}

// TestPresenceWithAFullEtcd: an etcd that takes no writes still keeps the lease.
func TestPresenceWithAFullEtcd(t *testing.T) {
	e := newEnv(t, etcdtest.Options{Quota: 4 << 20})
	p := e.own(e.store, "one")
	eventually(t, "presence", e.read, "one")
	is(t, e.cluster.Fill(e.ctx, "elsewhere"), nil)
	is(t, p.Set(e.ctx, []byte("two")), store.ErrUnavailable)
	for end := time.Now().Add(2 * ttl); time.Now().Before(end); time.Sleep(ttl / 10) {
		if read := e.read(); read != "one" || !p.Owned() {
			t.Fatalf("presence is %q, owned %t", read, p.Owned())
		}
	}
	e.remove("elsewhere")
	is(t, e.cluster.Compact(e.ctx), nil)
	_, err := e.raw.Defragment(e.ctx, e.cluster.Endpoints()[0])
	is(t, err, nil)
	_, err = e.raw.AlarmDisarm(e.ctx, &clientv3.AlarmMember{})
	is(t, err, nil)
	eventually(t, "presence", e.read, "two")
}

// TestOwnedBy: without the key, or with one that has gone under the owner's
// nose, etcd itself refuses the write.
func TestOwnedBy(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	p := e.own(e.store, "me")
	eventually(t, "presence", e.read, "me")
	sub := e.store.Subtree(e.store.Keys().NodePrefix(node)).OwnedBy(p.Presence)
	rev := e.put(hostKey(e, 1), "a")
	desired, status := schema.HostKey("c1", ifname), schema.HostStatusKey("c1", ifname)
	held, err := sub.PutGuarded(e.ctx, desired, rev, status, []byte("x"))
	if !held || err != nil {
		t.Errorf("an owner's write: %t, %v", held, err)
	}
	if held, err = sub.PutGuarded(e.ctx, desired, rev-1, status, []byte("y")); held || err != nil {
		t.Errorf("a write for another value: %t, %v: want only that it was not held", held, err)
	}
	// Another's key stands where the owner still believes in its own.
	e.put(e.store.Keys().Agent(node), "another")
	if _, err = sub.PutGuarded(e.ctx, desired, rev, status, []byte("z")); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a write under another's key: %v, want a conflict", err)
	}
	e.remove(hostKey(e, 1))
	if _, err = sub.DeleteIfAbsent(e.ctx, desired, status); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a delete under another's key: %v, want a conflict", err)
	}
	eventually(t, "the key, which nobody keeps alive", e.read, "me")
	if held, err = sub.DeleteIfAbsent(e.ctx, desired, status); !held || err != nil {
		t.Errorf("an owner's delete: %t, %v", held, err)
	}
}

func TestPresenceEndsWithItsOwner(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	s := openStore(t, store.Config{Endpoints: e.cluster.Endpoints()})
	is(t, e.own(s, "zero").Set(e.ctx, []byte("one")), nil)
	is(t, s.Close(), nil) // as a crash: nobody revokes
	same(t, "presence at once", e.read(), "one")
	eventually(t, "presence after the ttl", e.read, "")
}

func TestPresenceComesBack(t *testing.T) {
	for name, spoil := range map[string]func(*env){
		"lease revoked": func(e *env) {
			resp, err := e.raw.Leases(e.ctx)
			is(e.T, err, nil)
			for _, l := range resp.Leases {
				_, err = e.raw.Revoke(e.ctx, l.ID)
				is(e.T, err, nil)
			}
		},
		"key deleted": func(e *env) { e.remove(e.store.Keys().Agent(node)) },
		"etcd wiped":  func(e *env) { is(e.T, e.cluster.Wipe(), nil) },
		"etcd away for longer than the ttl": func(e *env) {
			e.cluster.Stop(0)
			time.Sleep(ttl + time.Second)
			is(e.T, e.cluster.Restart(0), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, etcdtest.Options{})
			p := e.own(e.store, "zero")
			is(t, p.Set(e.ctx, []byte("one")), nil)
			spoil(e)
			eventually(t, "presence", e.read, "one")
			is(t, p.Set(e.ctx, []byte("two")), nil)
			same(t, "presence", e.read(), "two")
			is(t, p.Close(e.ctx), nil)
			same(t, "presence after Close", e.read(), "")
		})
	}
}

func TestPresenceSetWhileEtcdIsAway(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.cluster.Stop(0)
	s := openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), RequestTimeout: 300 * time.Millisecond})
	p := e.own(s, "zero")
	is(t, p.Set(e.ctx, []byte("early")), store.ErrUnavailable)
	is(t, e.cluster.Restart(0), nil)
	eventually(t, "presence", e.read, "early")
	is(t, p.Close(e.ctx), nil)
}

// TestPresenceOfARestartedAgent: what a dead owner left is taken over at once.
func TestPresenceOfARestartedAgent(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	old := openStore(t, store.Config{Endpoints: e.cluster.Endpoints()})
	is(t, e.own(old, "zero").Set(e.ctx, []byte("old")), nil)
	is(t, old.Close(), nil)
	p := e.own(e.store, "zero", "old")
	is(t, p.Set(e.ctx, []byte("new")), nil)
	time.Sleep(ttl + time.Second) // the old lease runs out: it must not take the key along
	same(t, "presence", e.read(), "new")
	same(t, "what was told", p.history(), "mine")
	is(t, p.Close(e.ctx), nil)
}

func TestPresenceRefusesShortTTL(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	yields := func([]byte) bool { return false }
	for _, c := range []store.Claim{{Key: "k", TTL: time.Second, Yields: yields}, {TTL: ttl, Yields: yields}, {Key: "k", TTL: ttl}} {
		if _, err := e.store.Presence(c); err == nil {
			t.Errorf("%+v was taken, want an error", c)
		}
	}
	resp, err := e.raw.Get(e.ctx, "", clientv3.WithPrefix(), clientv3.WithCountOnly())
	is(t, err, nil)
	if resp.Count != 0 {
		t.Errorf("%d keys, want none", resp.Count)
	}
}
