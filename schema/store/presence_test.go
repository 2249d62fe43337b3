package store_test

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

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

func (e *env) present(s *store.Store) *store.Presence {
	e.Helper()
	p, err := s.Announce(e.ctx, s.Keys().Agent(node), ttl)
	if err != nil {
		e.Fatal(err)
	}
	return p
}

func TestPresence(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	p := e.present(e.store)
	if got := e.read(); got != "" {
		t.Errorf("before Set: %q, want nothing", got)
	}
	is(t, p.Set(e.ctx, []byte("one")), nil)
	same(t, "presence", e.read(), "one")
	is(t, p.Set(e.ctx, []byte("two")), nil)
	same(t, "presence", e.read(), "two")
	leases, err := e.raw.Leases(e.ctx)
	is(t, err, nil)
	if len(leases.Leases) != 1 {
		t.Errorf("%d leases, want one", len(leases.Leases))
	}
	is(t, p.Close(e.ctx), nil)
	same(t, "presence after Close", e.read(), "")
	is(t, p.Close(e.ctx), nil)
}

func TestPresenceEndsWithItsOwner(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	s := openStore(t, store.Config{Endpoints: e.cluster.Endpoints()})
	is(t, e.present(s).Set(e.ctx, []byte("one")), nil)
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
			p := e.present(e.store)
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
	p := e.present(s)
	is(t, p.Set(e.ctx, []byte("early")), store.ErrUnavailable)
	is(t, e.cluster.Restart(0), nil)
	eventually(t, "presence", e.read, "early")
	is(t, p.Close(e.ctx), nil)
}

func TestPresenceOfARestartedAgent(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	old := openStore(t, store.Config{Endpoints: e.cluster.Endpoints()})
	is(t, e.present(old).Set(e.ctx, []byte("old")), nil)
	is(t, old.Close(), nil)
	p := e.present(e.store)
	is(t, p.Set(e.ctx, []byte("new")), nil)
	time.Sleep(ttl + time.Second) // the old lease runs out: it must not take the key along
	same(t, "presence", e.read(), "new")
	is(t, p.Close(e.ctx), nil)
}

func TestAnnounceRefusesShortTTL(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	if _, err := e.store.Announce(e.ctx, "k", time.Second); err == nil {
		t.Error("a ttl of 1s was taken, want an error")
	}
	resp, err := e.raw.Get(e.ctx, "", clientv3.WithPrefix(), clientv3.WithCountOnly())
	is(t, err, nil)
	if resp.Count != 0 {
		t.Errorf("%d keys, want none", resp.Count)
	}
}
