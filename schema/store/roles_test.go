package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// authEnv is an etcd with TLS, client certificates and users.
type authEnv struct {
	*env
	access *etcdtest.Access
}

func newAuthEnv(t *testing.T) *authEnv {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), timeLimit)
	t.Cleanup(cancel)
	c := etcdtest.Start(t, etcdtest.Options{Auth: true})
	raw, err := c.Client()
	is(t, err, nil)
	t.Cleanup(func() { _ = raw.Close() })
	a := c.Access()
	return &authEnv{&env{T: t, ctx: ctx, cluster: c, raw: raw, store: openStore(t, a.Store(a.Operator))}, a}
}

// node makes a node's role, user and certificate, and connects with it.
func (e *authEnv) node(name string) *store.Store {
	e.Helper()
	pair, err := e.access.Node(e.ctx, name)
	is(e.T, err, nil)
	return openStore(e.T, e.access.Store(pair))
}

// plan plans and applies, and returns the steps and notes.
func plan(ctx context.Context, t *testing.T, s *store.Store, c store.RolesConfig) string {
	t.Helper()
	p, err := s.PlanRoles(ctx, c)
	is(t, err, nil)
	var done []string
	is(t, p.Apply(ctx, func(step string) { done = append(done, step) }), nil)
	same(t, "steps done", strings.Join(done, "\n"), strings.Join(p.Steps, "\n"))
	for _, n := range p.Notes {
		done = append(done, "note: "+n)
	}
	return strings.Join(done, "\n")
}

func nodes(names ...string) []store.NodeUser {
	var out []store.NodeUser
	for _, n := range names {
		name, user, _ := strings.Cut(n, "=")
		out = append(out, store.NodeUser{Node: schema.Node(name), User: user})
	}
	return out
}

func TestInitRoles(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	run := func(c store.RolesConfig) string { return plan(e.ctx, t, e.store, c) }
	same(t, "first", run(store.RolesConfig{Nodes: nodes("n1", "n2=etcd-client-n2")}), `role vpp-cni-node-n1: add
role vpp-cni-node-n1: may read and write /vpp-cni/v1/nodes/n1/…
role vpp-cni-node-n1: may read /vpp-cni/v1/networks/…
role vpp-cni-node-n1: may read /vpp-cni/v1/bridge-domains/…
role vpp-cni-node-n2: add
role vpp-cni-node-n2: may read and write /vpp-cni/v1/nodes/n2/…
role vpp-cni-node-n2: may read /vpp-cni/v1/networks/…
role vpp-cni-node-n2: may read /vpp-cni/v1/bridge-domains/…
role vpp-cni-plugin: add
role vpp-cni-plugin: may read and write /vpp-cni/v1/networks/…
role vpp-cni-plugin: may read and write /vpp-cni/v1/bridge-domains/…
role vpp-cni-operator: add
role vpp-cni-operator: may read and write /vpp-cni/v1/…
role vpp-cni-read-only: add
role vpp-cni-read-only: may read /vpp-cni/v1/networks/…
role vpp-cni-read-only: may read /vpp-cni/v1/bridge-domains/…
role vpp-cni-read-only: may read /vpp-cni/v1/nodes/n1/agent…
role vpp-cni-read-only: may read /vpp-cni/v1/nodes/n1/host-status/…
role vpp-cni-read-only: may read /vpp-cni/v1/nodes/n2/agent…
role vpp-cni-read-only: may read /vpp-cni/v1/nodes/n2/host-status/…
user vpp-cni-node-n1: add, without a password: it is who has a certificate with this common name
user vpp-cni-node-n1: grant role vpp-cni-node-n1
user vpp-cni-node-n1: grant role vpp-cni-plugin
user etcd-client-n2: add, without a password: it is who has a certificate with this common name
user etcd-client-n2: grant role vpp-cni-node-n2
user etcd-client-n2: grant role vpp-cni-plugin
user vpp-cni-operator: add, without a password: it is who has a certificate with this common name
user vpp-cni-operator: grant role vpp-cni-operator
user vpp-cni-read-only: add, without a password: it is who has a certificate with this common name
user vpp-cni-read-only: grant role vpp-cni-read-only`)
	same(t, "again", run(store.RolesConfig{Nodes: nodes("n1", "n2=etcd-client-n2")}), "")
	same(t, "without nodes", run(store.RolesConfig{}), "")
	same(t, "a node in addition, and again", run(store.RolesConfig{Nodes: nodes("n1")}), "")

	must(t)(e.raw.RoleGrantPermission(e.ctx, "vpp-cni-node-n1", "/other/", "/other0", clientv3.PermissionType(clientv3.PermRead)))
	must(t)(e.raw.UserGrantRole(e.ctx, "vpp-cni-node-n1", "root"))
	must(t)(e.raw.RoleRevokePermission(e.ctx, "vpp-cni-plugin", "/vpp-cni/v1/networks/", "/vpp-cni/v1/networks0"))
	must(t)(e.raw.RoleGrantPermission(e.ctx, "vpp-cni-plugin", "/vpp-cni/v1/networks/", "/vpp-cni/v1/networks0", clientv3.PermissionType(clientv3.PermRead)))
	same(t, "after edits by hand", run(store.RolesConfig{Nodes: nodes("n1")}), `role vpp-cni-plugin: may read and write /vpp-cni/v1/networks/…
note: role vpp-cni-node-n1 also may read /other/…: left as it is
note: user vpp-cni-node-n1 also has role root: left as it is`)
	same(t, "removed", run(store.RolesConfig{RemoveNodes: nodes("n1", "n2=etcd-client-n2")}), `user vpp-cni-node-n1: revoke role vpp-cni-node-n1
user vpp-cni-node-n1: revoke role vpp-cni-plugin
role vpp-cni-node-n1: delete
role vpp-cni-read-only: no longer may read /vpp-cni/v1/nodes/n1/agent…
role vpp-cni-read-only: no longer may read /vpp-cni/v1/nodes/n1/host-status/…
user etcd-client-n2: delete
role vpp-cni-node-n2: delete
role vpp-cni-read-only: no longer may read /vpp-cni/v1/nodes/n2/agent…
role vpp-cni-read-only: no longer may read /vpp-cni/v1/nodes/n2/host-status/…
note: user vpp-cni-node-n1 has other roles: it stays, with those`)
	same(t, "removed again", run(store.RolesConfig{RemoveNodes: nodes("n2=etcd-client-n2")}), "")

	other := openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), Prefix: "/lab/a"})
	if got := plan(e.ctx, t, other, store.RolesConfig{Nodes: nodes("n1")}); !strings.Contains(got, "role lab-a-node-n1: may read and write /lab/a/v1/nodes/n1/…") || strings.Contains(got, "/vpp-cni") {
		t.Errorf("with another prefix:\n%s", got)
	}
}

// must fails the test on an error of a call whose answer nobody needs.
func must(t *testing.T) func(any, error) {
	t.Helper()
	return func(_ any, err error) {
		t.Helper()
		is(t, err, nil)
	}
}

func TestInitRolesRefuses(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	for name, tt := range map[string]struct {
		nodes, remove []store.NodeUser
		want          string
	}{
		"a node that is none":   {nodes("a/b"), nil, "node"},
		"a node twice":          {nodes("a"), nodes("a"), "named twice"},
		"one user for two":      {nodes("a=x", "b=x"), nil, "same user x"},
		"the administrator":     {nodes("a=root"), nil, `user "root"`},
		"the operator":          {nodes("a=vpp-cni-operator"), nil, `user "vpp-cni-operator"`},
		"a user with a newline": {nodes("a=x\ny"), nil, "printable"},
	} {
		if _, err := e.store.PlanRoles(e.ctx, store.RolesConfig{Nodes: tt.nodes, RemoveNodes: tt.remove}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
}

// TestEnable: authentication is never left on where nobody could turn it off.
func TestEnable(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	is(t, os.WriteFile(password, []byte("pw"), 0o600), nil)
	enabled := func(e *env) bool {
		st, err := e.raw.AuthStatus(e.ctx)
		is(t, err, nil)
		return st.Enabled
	}
	root := func(e *env) *store.Store {
		return openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), User: "root", PasswordFile: password})
	}
	t.Run("no user", func(t *testing.T) {
		e := newEnv(t, etcdtest.Options{})
		_, err := e.store.PlanRoles(e.ctx, store.RolesConfig{Enable: true})
		if err == nil || !strings.Contains(err.Error(), "no user") || enabled(e) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a node would lose etcd", func(t *testing.T) {
		e := newEnv(t, etcdtest.Options{})
		e.announce("n1")
		_, err := root(e).PlanRoles(e.ctx, store.RolesConfig{Enable: true})
		if err == nil || !strings.Contains(err.Error(), "would lose etcd: n1") || enabled(e) {
			t.Errorf("%v", err)
		}
		plan(e.ctx, t, root(e), store.RolesConfig{Nodes: nodes("n1")})
		_, err = root(e).PlanRoles(e.ctx, store.RolesConfig{RemoveNodes: nodes("n1"), Enable: true})
		if err == nil || !strings.Contains(err.Error(), "would lose etcd: n1") || enabled(e) {
			t.Errorf("with its user removed: %v", err)
		}
		got := plan(e.ctx, t, root(e), store.RolesConfig{Nodes: nodes("n1"), Enable: true})
		if !strings.HasSuffix(got, "user root: add\nuser root: grant role root\nauthentication: enable") || !enabled(e) {
			t.Errorf("enabled: %v:\n%s", enabled(e), got)
		}
		same(t, "again", plan(e.ctx, t, root(e), store.RolesConfig{Nodes: nodes("n1"), Enable: true}), "")
		users(t, root(e), e, password)
	})
	t.Run("another password", func(t *testing.T) {
		e := newEnv(t, etcdtest.Options{})
		must(t)(e.raw.UserAdd(e.ctx, "root", "another"))
		p, err := root(e).PlanRoles(e.ctx, store.RolesConfig{Enable: true})
		is(t, err, nil)
		err = p.Apply(e.ctx, func(string) {})
		is(t, err, store.ErrDenied)
		if !strings.Contains(err.Error(), "off again") || enabled(e) {
			t.Errorf("%v", err)
		}
		all, err := e.raw.UserList(e.ctx)
		is(t, err, nil)
		same(t, "users", strings.Join(all.Users, " "), "root vpp-cni-operator vpp-cni-read-only")
	})
	t.Run("etcd does not read certificates' names", func(t *testing.T) {
		t.Parallel()
		ca, err := etcdtest.NewCA(t.TempDir())
		is(t, err, nil)
		server, err := ca.Issue("server", nil)
		is(t, err, nil)
		pair, err := ca.Issue("root", nil)
		is(t, err, nil)
		// It asks for certificates, and takes nobody for their names.
		c := etcdtest.Start(t, etcdtest.Options{CACert: ca.File, Cert: server.Cert, Key: server.Key})
		s := openStore(t, store.Config{Endpoints: c.Endpoints(), CACert: ca.File, Cert: pair.Cert, Key: pair.Key})
		p, err := s.PlanRoles(t.Context(), store.RolesConfig{Enable: true})
		is(t, err, nil)
		err = p.Apply(t.Context(), func(string) {})
		is(t, err, store.ErrDenied)
		_, _, err = s.Networks(t.Context())
		is(t, err, nil) // authentication is off again
	})
}

// users are those that etcd has once authentication is on, as root sees them.
func users(t *testing.T, s *store.Store, e *env, password string) {
	t.Helper()
	pw, err := os.ReadFile(password)
	is(t, err, nil)
	cl, err := clientv3.New(clientv3.Config{Endpoints: e.cluster.Endpoints(), Username: s.User(), Password: string(pw), DialTimeout: 5 * time.Second})
	is(t, err, nil)
	defer func() { _ = cl.Close() }()
	all, err := cl.UserList(e.ctx)
	is(t, err, nil)
	same(t, "users", strings.Join(all.Users, " "), "root vpp-cni-node-n1 vpp-cni-operator vpp-cni-read-only")
}

// TestANodeTouchesItsNodeOnly tries every row of the key table, every way, with
// the certificate of another node, of the node itself, of the operator, of
// read-only, and of a user that has no role.
func TestANodeTouchesItsNodeOnly(t *testing.T) {
	e := newAuthEnv(t)
	e.node("n1")
	k := schema.Keys{}
	keys := map[string]string{ // whose it is, by key
		k.Agent("n1"):                               "node",
		k.Release("n1"):                             "node",
		k.Host("n1", "c1", "net1"):                  "node",
		k.HostStatus("n1", "c1", "net1"):            "node",
		k.PodInterface("n1", "p1", "net1"):          "node",
		k.PodStatus("n1", "p1", "net1"):             "node",
		k.Network("blue"):                           "networks",
		k.BridgeDomain(7):                           "networks",
		k.Root() + "ipam/blue/10.0.0.1":             "nobody",
		"/another/program":                          "nobody",
		k.NodesPrefix() + "n10/agent":               "nobody",
		strings.TrimSuffix(k.NodePrefix("n1"), "/"): "nobody",
	}
	for key := range keys {
		e.put(key, "x")
	}
	e.node("n2")
	foreign, err := e.raw.Grant(e.ctx, 600)
	is(t, err, nil)
	_, err = e.raw.Put(e.ctx, "/another/leased", "x", clientv3.WithLease(foreign.ID))
	is(t, err, nil)
	must(t)(e.raw.UserAddWithOptions(e.ctx, "stranger", "", &clientv3.UserAddOptions{NoPassword: true}))
	for user, may := range map[string]func(key, op string) bool{
		"vpp-cni-node-n1":  func(key, _ string) bool { return keys[key] != "nobody" },
		"vpp-cni-node-n2":  func(key, _ string) bool { return keys[key] == "networks" },
		"vpp-cni-operator": func(key, _ string) bool { return strings.HasPrefix(key, k.Root()) },
		"vpp-cni-read-only": func(key, op string) bool {
			return op == "read" && (keys[key] == "networks" || key == k.Agent("n1") || key == k.HostStatus("n1", "c1", "net1"))
		},
		"stranger": func(string, string) bool { return false },
		"unknown":  func(string, string) bool { return false },
	} {
		pair, err := e.access.CA.Issue(user, nil)
		is(t, err, nil)
		c, err := e.access.Client(pair)
		is(t, err, nil)
		for key := range keys {
			for name, try := range tries {
				op, _, _ := strings.Cut(name, ":")
				err := try(e.ctx, c, key)
				if denied := errors.Is(err, rpctypes.ErrPermissionDenied); err != nil && !denied {
					t.Errorf("%s: %s %s: %v", user, name, key, err)
				} else if denied == may(key, op) {
					t.Errorf("%s: %s %s: denied is %v", user, name, key, denied)
				}
			}
		}
		for name, try := range everything {
			err := try(e.ctx, c)
			if !errors.Is(err, rpctypes.ErrPermissionDenied) && !errors.Is(err, rpctypes.ErrUserNotFound) {
				t.Errorf("%s: %s: %v, want it refused", user, name, err)
			}
		}
		for name, try := range leases {
			l, err := e.raw.Grant(e.ctx, 60)
			is(t, err, nil)
			_, err = e.raw.Put(e.ctx, k.Agent("n1"), "x", clientv3.WithLease(l.ID))
			is(t, err, nil)
			op, _, _ := strings.Cut(name, ":")
			err = try(e.ctx, c, l.ID)
			if denied := errors.Is(err, rpctypes.ErrPermissionDenied); err != nil && !denied || denied == may(k.Agent("n1"), op) {
				t.Errorf("%s: %s of n1's agent: %v", user, name, err)
			}
		}
		_ = c.Close()
	}
}

// leases are the ways to the lease of a key. The word before the colon says what
// of the key it needs.
var leases = map[string]func(context.Context, *clientv3.Client, clientv3.LeaseID) error{
	"write: keep alive the lease": func(ctx context.Context, c *clientv3.Client, id clientv3.LeaseID) error {
		_, err := c.KeepAliveOnce(ctx, id)
		return err
	},
	"read: look at the lease": func(ctx context.Context, c *clientv3.Client, id clientv3.LeaseID) error {
		_, err := c.TimeToLive(ctx, id, clientv3.WithAttachedKeys())
		return err
	},
	"write: revoke the lease": func(ctx context.Context, c *clientv3.Client, id clientv3.LeaseID) error {
		_, err := c.Revoke(ctx, id)
		return err
	},
}

// tries are the ways to a key. The word before the colon says what it needs.
var tries = map[string]func(context.Context, *clientv3.Client, string) error{
	"read: get": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Get(ctx, key)
		return err
	},
	"read: count": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Get(ctx, key, clientv3.WithCountOnly(), clientv3.WithSerializable())
		return err
	},
	"read: range": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Get(ctx, key, clientv3.WithRange(key+"\x00"), clientv3.WithKeysOnly())
		return err
	},
	"read: old revision": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Get(ctx, key, clientv3.WithRev(2))
		return err
	},
	"read: txn": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Txn(ctx).Then(clientv3.OpGet(key)).Commit()
		return err
	},
	"read: compare": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Version(key), ">", 0)).Commit()
		return err
	},
	"read: branch not taken": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Txn(ctx).Else(clientv3.OpGet(key)).Commit()
		return err
	},
	"read: txn in a txn": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Txn(ctx).Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpGet(key)}, nil)).Commit()
		return err
	},
	"read: watch": func(ctx context.Context, c *clientv3.Client, key string) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		resp := <-c.Watch(ctx, key, clientv3.WithCreatedNotify(), clientv3.WithPrevKV(), clientv3.WithRev(1))
		if err := resp.Err(); err != nil {
			if strings.Contains(err.Error(), "permission denied") {
				return rpctypes.ErrPermissionDenied
			}
			return err
		}
		return nil
	},
	"write: put": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Put(ctx, key, "y")
		return err
	},
	"write: put under a lease": func(ctx context.Context, c *clientv3.Client, key string) error {
		l, err := c.Grant(ctx, 60)
		if err != nil {
			return err
		}
		_, err = c.Put(ctx, key, "y", clientv3.WithLease(l.ID))
		return err
	},
	"write: delete": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Delete(ctx, key)
		return err
	},
	"write: branch not taken": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Txn(ctx).Else(clientv3.OpDelete(key)).Commit()
		return err
	},
}

// everything are requests that reach beyond any one node's keys.
var everything = map[string]func(context.Context, *clientv3.Client) error{
	"get all": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Get(ctx, "", clientv3.WithPrefix())
		return err
	},
	"get from the root on": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Get(ctx, schema.Keys{}.Root(), clientv3.WithFromKey())
		return err
	},
	"delete all": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Delete(ctx, "", clientv3.WithPrefix())
		return err
	},
	"list the users": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.UserList(ctx)
		return err
	},
	"give oneself a role": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.UserGrantRole(ctx, "vpp-cni-node-n2", "root")
		return err
	},
	"disable authentication": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.AuthDisable(ctx)
		return err
	},
	"list the roles": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.RoleList(ctx)
		return err
	},
	"list the leases": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Leases(ctx) // of keys that it may not read, here another program's
		return err
	},
	"compact": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Compact(ctx, 2)
		return err
	},
	"defragment": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Defragment(ctx, c.Endpoints()[0])
		return err
	},
	"disarm an alarm": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: 1, Alarm: etcdserverpb.AlarmType_NOSPACE})
		return err
	},
	"add a member": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.MemberAdd(ctx, []string{"http://127.0.0.1:1"})
		return err
	},
	"remove a member": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.MemberRemove(ctx, 1)
		return err
	},
	"move the lead": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.MoveLeader(ctx, 1)
		return err
	},
	"take a snapshot": func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.Snapshot(ctx)
		if err == nil {
			_, err = r.Read(make([]byte, 1))
		}
		return rpctypes.Error(err)
	},
}
