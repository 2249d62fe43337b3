package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// passwordEnv is an etcd with the user cni, who may do all with our keys and
// whose password is in a file.
type passwordEnv struct {
	*env
	root *clientv3.Client
	file string
}

func newPasswordEnv(t *testing.T) *passwordEnv {
	t.Helper()
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	must := must(t)
	must(e.raw.UserAdd(e.ctx, "root", "rootpw"))
	must(e.raw.UserGrantRole(e.ctx, "root", "root"))
	must(e.raw.RoleAdd(e.ctx, "cni"))
	root := e.store.Keys().Root()
	must(e.raw.RoleGrantPermission(e.ctx, "cni", root, clientv3.GetPrefixRangeEnd(root), clientv3.PermissionType(clientv3.PermReadWrite)))
	must(e.raw.UserAdd(e.ctx, "cni", "first"))
	must(e.raw.UserGrantRole(e.ctx, "cni", "cni"))
	must(e.raw.AuthEnable(e.ctx))
	cl, err := clientv3.New(clientv3.Config{Endpoints: e.cluster.Endpoints(), Username: "root", Password: "rootpw", DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	is(t, err, nil)
	t.Cleanup(func() { _ = cl.Close() })
	e.raw = cl
	p := &passwordEnv{env: e, root: cl, file: filepath.Join(t.TempDir(), "password")}
	p.write("first\n")
	return p
}

func (e *passwordEnv) write(password string) {
	e.Helper()
	is(e.T, os.WriteFile(e.file, []byte(password), 0o600), nil)
}

func (e *passwordEnv) open() *store.Store {
	e.Helper()
	return openStore(e.T, store.Config{Endpoints: e.cluster.Endpoints(), User: "cni", PasswordFile: e.file})
}

func (e *passwordEnv) lookText(s *store.Store) string {
	_, err := s.Look(e.ctx, lookup("c1", "p1"))
	return errText(err)
}

// TestChangedPassword: the password's file is read at each log-in; a watch that
// stands is not broken by the change.
func TestChangedPassword(t *testing.T) {
	e := newPasswordEnv(t)
	s := e.open()
	m := follow(e.env, s)
	eventually(t, "calls", m.told, "snapshot ")
	e.write("second")
	must(t)(e.root.UserChangePassword(e.ctx, "cni", "second")) // etcd drops the user's tokens
	same(t, "look with the new password", e.lookText(s), "")
	e.put(hostKey(e.env, 1), "a")
	eventually(t, "calls", m.told, "snapshot \nput host/c1/net1=a")

	must(t)(e.root.UserChangePassword(e.ctx, "cni", "third"))
	_, err := s.Look(e.ctx, lookup("c1", "p1"))
	is(t, err, store.ErrDenied)
	if text := err.Error(); !strings.Contains(text, "log in as cni") || strings.Contains(text, "second") {
		t.Errorf("%v, want it to name the user and not the password", err)
	}
	is(t, os.Remove(e.file), nil)
	if text := e.lookText(s); !strings.Contains(text, "log in as cni: passwordFile: open "+e.file) {
		t.Errorf("%s, want it to name the file", text)
	}
	e.write("third")
	same(t, "look with the third password", e.lookText(s), "")
	e.put(hostKey(e.env, 1), "b")
	eventually(t, "calls", m.told, "snapshot \nput host/c1/net1=a\nput host/c1/net1=b")
}

// TestLostToken: a member that restarts knows no token of before. Calls, watches
// and leases go on.
func TestLostToken(t *testing.T) {
	e := newPasswordEnv(t)
	s := e.open()
	p, err := s.Presence(store.Claim{
		Key: s.Keys().Agent("node-2"), TTL: 2 * time.Second, Value: []byte(encode(t, schema.AgentInfo{Node: "node-2"})), Yields: func([]byte) bool { return false },
	})
	is(t, err, nil)
	p.Start(e.ctx)
	m := follow(e.env, s)
	eventually(t, "calls", m.told, "snapshot ")
	for i, value := range []string{"a", "b", "c"} {
		e.cluster.Stop(0)
		is(t, e.cluster.Restart(0), nil)
		eventually(t, "look", func() string { return e.lookText(s) }, "")
		eventually(t, "put", func() string { _, err := e.root.Put(e.ctx, hostKey(e.env, 1), value); return errText(err) }, "")
		eventually(t, "view", m.view, "host/c1/net1="+value)
		eventually(t, "owned", func() string { return map[bool]string{true: "yes", false: "no"}[p.Owned()] }, "yes")
		if i == 2 {
			is(t, p.Close(e.ctx), nil)
		}
	}
}

// TestFewLogins: bcrypt makes a log-in dear for etcd, so that an idle agent must
// not log in each time it refreshes its lease. Each log-in is an entry of etcd's
// log, a refresh is none.
func TestFewLogins(t *testing.T) {
	e := newPasswordEnv(t)
	s := e.open()
	p, err := s.Presence(store.Claim{Key: s.Keys().Agent("node-2"), TTL: 3 * time.Second, Value: []byte("{}"), Yields: func([]byte) bool { return false }})
	is(t, err, nil)
	p.Start(e.ctx)
	eventually(t, "owned", func() string { return map[bool]string{true: "yes", false: "no"}[p.Owned()] }, "yes")
	index := func() uint64 {
		st, err := e.root.Status(e.ctx, e.cluster.Endpoints()[0])
		is(t, err, nil)
		return st.RaftAppliedIndex
	}
	before := index()
	time.Sleep(2500 * time.Millisecond)
	if !p.Owned() {
		t.Error("the presence was lost")
	}
	if n := index() - before; n > 0 {
		t.Errorf("etcd wrote %d entries while a lease was refreshed, want none", n)
	}
}

// TestLeaseOutlivesItsToken: the refresh of a lease finds out by itself that a
// member knows its token no more.
func TestLeaseOutlivesItsToken(t *testing.T) {
	e := newPasswordEnv(t)
	s := e.open()
	key := s.Keys().Agent("node-2")
	p, err := s.Presence(store.Claim{Key: key, TTL: 5 * time.Second, Value: []byte("{}"), Yields: func([]byte) bool { return false }})
	is(t, err, nil)
	p.Start(e.ctx)
	eventually(t, "owned", func() string { return map[bool]string{true: "yes", false: "no"}[p.Owned()] }, "yes")
	revision := func() (rev int64) {
		eventually(t, "get", func() string {
			resp, err := e.root.Get(e.ctx, key)
			if err == nil && len(resp.Kvs) > 0 {
				rev = resp.Kvs[0].ModRevision
			}
			return errText(err)
		}, "")
		return rev
	}
	before := revision()
	e.cluster.Stop(0)
	is(t, e.cluster.Restart(0), nil)
	time.Sleep(7 * time.Second)
	if !p.Owned() || revision() != before {
		t.Errorf("owned %v, written anew: %v", p.Owned(), revision() != before)
	}
}
