package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// rights are all users with their roles, and all roles with their keys.
func (e *env) rights() string {
	e.Helper()
	var out []string
	users, err := e.raw.UserList(e.ctx)
	is(e.T, err, nil)
	for _, u := range users.Users {
		out = append(out, fmt.Sprintf("user %s: %s", u, e.rolesOf(u)))
	}
	roles, err := e.raw.RoleList(e.ctx)
	is(e.T, err, nil)
	for _, r := range roles.Roles {
		got, err := e.raw.RoleGet(e.ctx, r)
		is(e.T, err, nil)
		for _, p := range got.Perm {
			out = append(out, fmt.Sprintf("role %s: %s %s-%s", r, p.PermType, p.Key, p.RangeEnd))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// rolesOf are a user's roles, or that there is no such user.
func (e *env) rolesOf(user string) string {
	e.Helper()
	u, err := e.raw.UserGet(e.ctx, user)
	if err != nil {
		is(e.T, err, rpctypes.ErrUserNotFound)
		return "no such user"
	}
	return strings.Join(u.Roles, " ")
}

// TestNodeHasOneUser: whoever else has a node's role loses it, as after a key was
// lost, and what a user has beside stays.
func TestNodeHasOneUser(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	run := func(n ...string) string { return plan(e.ctx, t, e.store, store.RolesConfig{Nodes: nodes(n...)}) }
	run("w1", "w2", "w3=old.example.org", "w4=shared", "w5=busy")
	must(t)(e.raw.UserGrantRole(e.ctx, "busy", "root"))
	must(t)(e.raw.UserGrantRole(e.ctx, "shared", "vpp-cni-node-w1"))
	for _, tt := range []struct{ name, node, want string }{
		{"another name", "w3=new.example.org", `user new.example.org: add, without a password: it is who has a certificate with this common name
user new.example.org: grant role vpp-cni-node-w3
user new.example.org: grant role vpp-cni-plugin
user old.example.org: delete`},
		{"again", "w3=new.example.org", ""},
		{
			"no name: the node's user stays", "w3",
			"note: node w3 has the user new.example.org: it stays; --node w3=vpp-cni-node-w3 would give the node that one instead",
		},
		{"back to the name of the role", "w3=vpp-cni-node-w3", `user vpp-cni-node-w3: add, without a password: it is who has a certificate with this common name
user vpp-cni-node-w3: grant role vpp-cni-node-w3
user vpp-cni-node-w3: grant role vpp-cni-plugin
user new.example.org: delete`},
		{"and again without a name", "w3", ""},
		{"of a user with other roles", "w5=vpp-cni-node-w5", `user vpp-cni-node-w5: add, without a password: it is who has a certificate with this common name
user vpp-cni-node-w5: grant role vpp-cni-node-w5
user vpp-cni-node-w5: grant role vpp-cni-plugin
user busy: revoke role vpp-cni-node-w5
user busy: revoke role vpp-cni-plugin
note: user busy has other roles: it stays, with those`},
		{"of another node's user", "w4=w4.example.org", `user w4.example.org: add, without a password: it is who has a certificate with this common name
user w4.example.org: grant role vpp-cni-node-w4
user w4.example.org: grant role vpp-cni-plugin
user shared: revoke role vpp-cni-node-w4
note: user shared has other roles: it stays, with those`},
	} {
		same(t, tt.name, run(tt.node), tt.want)
	}
	must(t)(e.raw.UserGrantRole(e.ctx, "vpp-cni-operator", "vpp-cni-node-w2"))
	same(t, "of the operator", run("w2"), `user vpp-cni-operator: revoke role vpp-cni-node-w2
note: user vpp-cni-operator has other roles: it stays, with those`)
	for user, want := range map[string]string{
		"old.example.org": "no such user", "new.example.org": "no such user", "busy": "root",
		"shared": "vpp-cni-node-w1 vpp-cni-plugin", "vpp-cni-operator": "vpp-cni-operator",
		"vpp-cni-node-w2": "vpp-cni-node-w2 vpp-cni-plugin", "vpp-cni-node-w3": "vpp-cni-node-w3 vpp-cni-plugin",
	} {
		same(t, "roles of "+user, e.rolesOf(user), want)
	}
}

// TestRemoveNodeOfAnyName: the node's users lose their roles whatever their names.
func TestRemoveNodeOfAnyName(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	run := func(c store.RolesConfig) string { return plan(e.ctx, t, e.store, c) }
	run(store.RolesConfig{Nodes: nodes("w1", "w2=shared", "w3=w3.example.org")})
	must(t)(e.raw.UserAddWithOptions(e.ctx, "bob", "", &clientv3.UserAddOptions{NoPassword: true}))
	must(t)(e.raw.UserGrantRole(e.ctx, "bob", "vpp-cni-node-w3"))
	must(t)(e.raw.UserGrantRole(e.ctx, "bob", "root"))
	must(t)(e.raw.UserGrantRole(e.ctx, "shared", "vpp-cni-node-w3"))
	const gone = `role vpp-cni-node-w3: delete
role vpp-cni-read-only: no longer may read /vpp-cni/v1/nodes/w3/agent…
role vpp-cni-read-only: no longer may read /vpp-cni/v1/nodes/w3/host-status/…`
	same(t, "of three users", run(store.RolesConfig{RemoveNodes: nodes("w3")}), `user bob: revoke role vpp-cni-node-w3
user shared: revoke role vpp-cni-node-w3
user w3.example.org: delete
`+gone+`
note: user bob has other roles: it stays, with those
note: user shared has other roles: it stays, with those`)
	same(t, "again", run(store.RolesConfig{RemoveNodes: nodes("w3")}), "")
	same(t, "bob", e.rolesOf("bob"), "root")
	same(t, "the user of w2", e.rolesOf("shared"), "vpp-cni-node-w2 vpp-cni-plugin")

	// One user of two nodes that go has nothing left in the end.
	run(store.RolesConfig{Nodes: nodes("w3=w3.example.org")})
	must(t)(e.raw.UserGrantRole(e.ctx, "shared", "vpp-cni-node-w3"))
	run(store.RolesConfig{RemoveNodes: nodes("w3", "w2")})
	same(t, "a user of both", e.rolesOf("shared"), "no such user")

	// A name given is no word that another node's user is to go.
	run(store.RolesConfig{Nodes: nodes("w3")})
	same(t, "with another node's user", run(store.RolesConfig{RemoveNodes: nodes("w3=vpp-cni-node-w1")}), `user vpp-cni-node-w3: delete
`+gone+`
note: user vpp-cni-node-w1 has other roles: it stays, with those`)
	same(t, "the user of w1", e.rolesOf("vpp-cni-node-w1"), "vpp-cni-node-w1 vpp-cni-plugin")
}

// TestUserOfAnotherNode: a node's user is not made another's as well.
func TestUserOfAnotherNode(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	plan(e.ctx, t, e.store, store.RolesConfig{Nodes: nodes("w1", "w2", "w3=w3.example.org")})
	must(t)(e.raw.UserAddWithOptions(e.ctx, "debug", "", &clientv3.UserAddOptions{NoPassword: true}))
	must(t)(e.raw.UserGrantRole(e.ctx, "debug", "vpp-cni-node-w2"))
	before := e.rights()
	for _, tt := range []struct{ name, node, want string }{
		{"by its name", "w9=w3.example.org", "user w3.example.org is node w3's already (role vpp-cni-node-w3) and would be node w9's too"},
		{"by the name of its role", "w9=vpp-cni-node-w1", "user vpp-cni-node-w1 is node w1's already (role vpp-cni-node-w1) and would be node w9's too"},
		{"two users, none named", "w2", "node w2 has the users debug, vpp-cni-node-w2: say which one stays with --node w2=<user>"},
	} {
		_, err := e.store.PlanRoles(e.ctx, store.RolesConfig{Nodes: nodes("w4", tt.node)})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
		same(t, tt.name, e.rights(), before)
	}
}

// TestOtherPrefixesRoles: two prefixes whose roles have the same names do not get
// each other's keys.
func TestOtherPrefixesRoles(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	at := func(prefix string) *store.Store {
		return openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), Prefix: prefix})
	}
	plan(e.ctx, t, at("/lab/a"), store.RolesConfig{Nodes: nodes("n1")})
	plan(e.ctx, t, at("/site/node/x"), store.RolesConfig{Nodes: nodes("n1")})
	before := e.rights()
	for _, tt := range []struct {
		name, prefix string
		c            store.RolesConfig
		want         string
	}{
		{"a node's", "/lab-a", store.RolesConfig{Nodes: nodes("n1")}, "role lab-a-node-n1 is of another prefix: it may read /lab/a/v1/bridge-domains/…, and the roles of /lab/a have"},
		{"every prefix's", "/lab-a", store.RolesConfig{}, "role lab-a-operator is of another prefix: it may read and write /lab/a/v1/…, and"},
		{"one to be removed", "/lab-a", store.RolesConfig{RemoveNodes: nodes("n1")}, "role lab-a-node-n1 is of another prefix"},
		{"of a node called plugin", "/site", store.RolesConfig{Nodes: nodes("x-plugin")}, "role site-node-x-plugin is of another prefix: it may read and write /site/node/x/v1/"},
		{"of a node called node", "/site", store.RolesConfig{Nodes: nodes("x-node-n1")}, "role site-node-x-node-n1 is of another prefix"},
	} {
		_, err := at(tt.prefix).PlanRoles(e.ctx, tt.c)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "etcdctl role revoke-permission") {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
		same(t, tt.name, e.rights(), before)
	}

	// Keys that somebody has added by hand make no role another prefix's.
	must(t)(e.raw.RoleGrantPermission(e.ctx, "lab-a-operator", "/vpp-cni/v1/", "/vpp-cni/v10", clientv3.PermissionType(clientv3.PermRead)))
	must(t)(e.raw.RoleGrantPermission(e.ctx, "lab-a-operator", "/lab-a/other/", "/lab-a/other0", clientv3.PermissionType(clientv3.PermRead)))
	same(t, "after edits by hand", plan(e.ctx, t, at("/lab/a"), store.RolesConfig{Nodes: nodes("n1")}), `note: role lab-a-operator also may read /lab-a/other/…: left as it is
note: role lab-a-operator also may read /vpp-cni/v1/…: left as it is`)
}

// TestRevokedWatch: a watch that stands outlives its user's roles, as etcd looks at
// them when a watch is made. The restart of the members ends it.
func TestRevokedWatch(t *testing.T) {
	e := newAuthEnv(t)
	pair, err := e.access.Node(e.ctx, "n1")
	is(t, err, nil)
	c, err := e.access.Client(pair)
	is(t, err, nil)
	defer func() { _ = c.Close() }()
	w := c.Watch(e.ctx, e.store.Keys().NodePrefix("n1"), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	first := <-w
	is(t, first.Err(), nil)
	plan(e.ctx, t, openStore(t, e.access.Store(e.access.Root)), store.RolesConfig{RemoveNodes: nodes("n1")})
	_, err = c.Get(e.ctx, e.store.Keys().Agent("n1"))
	is(t, err, rpctypes.ErrPermissionDenied)

	e.cluster.Stop(0)
	is(t, e.cluster.Restart(0), nil)
	e.put(e.store.Keys().Agent("n1"), "of later")
	for r := range w { // until it ends
		if len(r.Events) > 0 {
			t.Errorf("after the restart the watch tells of %s", r.Events[0].Kv.Key)
		}
		err = r.Err()
	}
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("the watch ends with %v, want permission denied", err)
	}
}
