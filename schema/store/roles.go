package store

import (
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// RolesConfig says which roles and users there should be, beside those that
// every cluster has: plugin, operator and read-only.
type RolesConfig struct {
	// Nodes get a role and a user each.
	Nodes []NodeUser
	// RemoveNodes lose them.
	RemoveNodes []NodeUser
	// Enable turns authentication on in the end.
	Enable bool
}

// NodeUser is a node and the user that its agent and its plugin are for etcd.
type NodeUser struct {
	Node schema.Node
	// User is the common name of the node's certificate; empty: the user that the
	// node has, else the name of its role.
	User string
}

// The roles, whose names begin with what stands before the version in the keys.
const (
	roleNode     = "node"      // and the node's name: its own keys
	rolePlugin   = "plugin"    // what the plugin writes beside them
	roleOperator = "operator"  // everything of VPP CNI
	roleReadOnly = "read-only" // what holds no secret
)

// RoleNames are the names of the roles, which are those of their users too.
type RoleNames struct {
	Plugin, Operator, ReadOnly string
	base                       string
}

// Node is the name of a node's role.
func (n RoleNames) Node(node schema.Node) string { return n.base + "-" + roleNode + "-" + string(node) }

// nodeOf is the node whose role has this name.
func (n RoleNames) nodeOf(role string) (schema.Node, bool) {
	node, ok := strings.CutPrefix(role, n.base+"-"+roleNode+"-")
	return schema.Node(node), ok
}

// has says whether a role with this name is one of n.
func (n RoleNames) has(role string) bool {
	_, node := n.nodeOf(role)
	return node || role == n.Plugin || role == n.Operator || role == n.ReadOnly
}

// reserved are the users that are no node's.
func (n RoleNames) reserved() []string { return []string{rootName, n.Operator, n.ReadOnly, n.Plugin} }

// NamesOfRoles are the roles of what stands under k: /vpp-cni/v1/ has
// vpp-cni-operator, /lab/a/v1/ has lab-a-operator.
func NamesOfRoles(k schema.Keys) RoleNames {
	prefix := strings.TrimSuffix(k.Root(), "/"+schema.Version+"/")
	base := strings.ReplaceAll(strings.TrimPrefix(prefix, "/"), "/", "-")
	return RoleNames{base: base, Plugin: base + "-" + rolePlugin, Operator: base + "-" + roleOperator, ReadOnly: base + "-" + roleReadOnly}
}

// user is the common name of the node's certificate where nothing else is known.
func (n NodeUser) user(names RoleNames) string {
	if n.User != "" {
		return n.User
	}
	return names.Node(n.Node)
}

// permission is one permission of a role: a key, or the range from key to end.
type permission struct {
	key, end string
	kind     clientv3.PermissionType
}

func onPrefix(prefix string, kind clientv3.PermissionType) permission {
	return permission{key: prefix, end: clientv3.GetPrefixRangeEnd(prefix), kind: kind}
}

const (
	mayRead  = clientv3.PermissionType(clientv3.PermRead)
	mayWrite = clientv3.PermissionType(clientv3.PermWrite)
	mayBoth  = clientv3.PermissionType(clientv3.PermReadWrite)
)

// covers says whether p allows all that q does, on the same keys.
func (p permission) covers(q permission) bool {
	return p.key == q.key && p.end == q.end && (p.kind == q.kind || p.kind == mayBoth)
}

func (p permission) String() string {
	verb := map[clientv3.PermissionType]string{mayRead: "may read", mayWrite: "may write", mayBoth: "may read and write"}[p.kind]
	switch {
	case p.end == "":
		return verb + " the key " + p.key
	case p.end == clientv3.GetPrefixRangeEnd(p.key):
		return verb + " " + p.key + "…"
	default:
		return fmt.Sprintf("%s the keys from %q to %q", verb, p.key, p.end)
	}
}

// nodePermissions are those of a node: all of its own keys, for its agent and
// its plugin. What networks have, they only read.
func nodePermissions(k schema.Keys, n schema.Node) []permission {
	return []permission{
		onPrefix(k.NodePrefix(n), mayBoth),
		onPrefix(k.NetworksPrefix(), mayRead),
		onPrefix(k.BridgeDomainsPrefix(), mayRead),
	}
}

// pluginPermissions let the plugin give a network its bridge domain. Who lacks
// them can use the networks that have one.
func pluginPermissions(k schema.Keys) []permission {
	return []permission{onPrefix(k.NetworksPrefix(), mayBoth), onPrefix(k.BridgeDomainsPrefix(), mayBoth)}
}

func operatorPermissions(k schema.Keys) []permission {
	return []permission{onPrefix(k.Root(), mayBoth)}
}

// readOnlyPermissions leave out host/ and pods/, whose values hold the memif
// secrets. etcd has no permission that takes another one back, so they are given
// node by node. That of the agent's key is a range, as a watch by prefix asks
// for.
func readOnlyPermissions(k schema.Keys, nodes []schema.Node) []permission {
	out := []permission{onPrefix(k.NetworksPrefix(), mayRead), onPrefix(k.BridgeDomainsPrefix(), mayRead)}
	for _, n := range nodes {
		out = append(out, onPrefix(k.Agent(n), mayRead), onPrefix(k.HostStatusPrefix(n), mayRead))
	}
	return out
}

// roleStep is one change. Its fields beside verb are those that the verb needs.
type roleStep struct {
	verb       roleVerb
	role, user string
	perm       permission
}

type roleVerb int

const (
	addRole roleVerb = iota + 1
	grantPermission
	addUser
	grantRole
	revokePermission
	revokeRole
	deleteUser
	deleteRole
	addRoot
	enableAuth
)

// String is the step as it is printed.
func (s roleStep) String() string {
	switch s.verb {
	case addRole:
		return "role " + s.role + ": add"
	case grantPermission:
		return "role " + s.role + ": " + s.perm.String()
	case addUser:
		return "user " + s.user + ": add, without a password: it is who has a certificate with this common name"
	case grantRole:
		return "user " + s.user + ": grant role " + s.role
	case revokePermission:
		return "role " + s.role + ": no longer " + s.perm.String()
	case revokeRole:
		return "user " + s.user + ": revoke role " + s.role
	case deleteUser:
		return "user " + s.user + ": delete"
	case deleteRole:
		return "role " + s.role + ": delete"
	case addRoot:
		return "user root: add"
	case enableAuth:
		return "authentication: enable"
	}
	return ""
}

// rolePlanner compares what should be with what is.
type rolePlanner struct {
	keys  schema.Keys
	names RoleNames
	have  roleState // after the steps so far

	steps []roleStep
	notes []string
}

// planRoles says what to do, and what there is beside and stays. It refuses where
// a step would give somebody what is another's.
func planRoles(k schema.Keys, c RolesConfig, have roleState) (*rolePlanner, error) {
	p := &rolePlanner{keys: k, names: NamesOfRoles(k), have: have.clone()}
	if err := p.refuseOthersRoles(c); err != nil {
		return nil, err
	}
	var nodes []schema.Node
	users := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		var err error
		if users[i], err = p.userOf(n); err != nil {
			return nil, err
		}
		nodes = append(nodes, n.Node)
		p.role(p.names.Node(n.Node), nodePermissions(k, n.Node), nil)
	}
	p.role(p.names.Plugin, pluginPermissions(k), nil)
	p.role(p.names.Operator, operatorPermissions(k), nil)
	p.role(p.names.ReadOnly, readOnlyPermissions(k, nodes), p.ofSomeNode)
	for i, n := range nodes {
		p.nodeUser(n, users[i])
	}
	p.user(p.names.Operator, p.names.Operator)
	p.user(p.names.ReadOnly, p.names.ReadOnly)
	for _, n := range c.RemoveNodes {
		p.remove(n)
	}
	return p, nil
}

func (p *rolePlanner) add(s roleStep) {
	p.steps = append(p.steps, s)
	p.have.do(s)
}

func (p *rolePlanner) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// role makes a role with these permissions. What it has beside is noted, unless
// expected knows it.
func (p *rolePlanner) role(name string, want []permission, expected func(permission) bool) {
	have, exists := p.have.roles[name]
	if !exists {
		p.add(roleStep{verb: addRole, role: name})
	}
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h permission) bool { return h.covers(w) }) {
			p.add(roleStep{verb: grantPermission, role: name, perm: w})
		}
	}
	for _, h := range have {
		same := func(w permission) bool {
			return w.key == h.key && w.end == h.end && (w.kind == h.kind || h.kind != mayBoth)
		}
		if !slices.ContainsFunc(want, same) && (expected == nil || !expected(h)) {
			p.note("role %s also %s: left as it is", name, h)
		}
	}
}

// ofSomeNode says whether a permission is one that read-only has of a node.
func (p *rolePlanner) ofSomeNode(h permission) bool {
	rest, ok := strings.CutPrefix(h.key, p.keys.NodesPrefix())
	node, _, _ := strings.Cut(rest, "/")
	return ok && slices.Contains(readOnlyPermissions(p.keys, []schema.Node{schema.Node(node)}), h)
}

// user makes a user with these roles.
func (p *rolePlanner) user(name string, want ...string) {
	have, exists := p.have.users[name]
	if !exists {
		p.add(roleStep{verb: addUser, user: name})
	}
	for _, w := range want {
		if !slices.Contains(have, w) {
			p.add(roleStep{verb: grantRole, user: name, role: w})
		}
	}
	for _, h := range have {
		if !slices.Contains(want, h) {
			p.note("user %s also has role %s: left as it is", name, h)
		}
	}
}

// userOf is who is to be the node's user: the one named, else the one that the
// node has, else the one with the name of its role.
func (p *rolePlanner) userOf(n NodeUser) (string, error) {
	role, user := p.names.Node(n.Node), n.User
	if user == "" {
		users := p.have.usersWith(role)
		users = slices.DeleteFunc(users, func(u string) bool { return slices.Contains(p.names.reserved(), u) })
		if len(users) > 1 {
			return "", fmt.Errorf("node %s has the users %s: say which one stays with --node %s=<user>; the others then lose its role",
				n.Node, strings.Join(users, ", "), n.Node)
		}
		user = role
		if len(users) == 1 && users[0] != role {
			user = users[0]
			p.note("node %s has the user %s: it stays; --node %s=%s would give the node that one instead", n.Node, user, n.Node, role)
		}
	}
	for _, r := range p.have.users[user] {
		if other, ok := p.names.nodeOf(r); ok && other != n.Node {
			return "", fmt.Errorf("user %s is node %s's already (role %s) and would be node %s's too: give each its own, or take that one away first with --remove-node %s",
				user, other, r, n.Node, other)
		}
	}
	return user, nil
}

// nodeUser makes the node's user. A node has one: whoever else has its role loses
// it, such as the user of a key that was lost.
func (p *rolePlanner) nodeUser(n schema.Node, user string) {
	role := p.names.Node(n)
	p.user(user, role, p.names.Plugin)
	for _, other := range p.have.usersWith(role) {
		if other != user {
			p.dismiss(other, role)
		}
	}
}

// remove takes away what role and user made for a node, whatever name its user
// has.
func (p *rolePlanner) remove(n NodeUser) {
	role := p.names.Node(n.Node)
	users := p.have.usersWith(role)
	named := n.user(p.names)
	if _, exists := p.have.users[named]; exists && !slices.Contains(users, named) {
		users = append(users, named)
	}
	for _, u := range users {
		p.dismiss(u, role)
	}
	if _, exists := p.have.roles[role]; exists {
		p.add(roleStep{verb: deleteRole, role: role})
	}
	for _, perm := range readOnlyPermissions(p.keys, []schema.Node{n.Node})[2:] {
		if slices.Contains(p.have.roles[p.names.ReadOnly], perm) {
			p.add(roleStep{verb: revokePermission, role: p.names.ReadOnly, perm: perm})
		}
	}
}

// dismiss takes a node's role from a user, and the plugin's unless it has that as
// another node's user or as none. A user with roles beside these stays, without
// them.
func (p *rolePlanner) dismiss(user, role string) {
	have := p.have.users[user]
	reserved := slices.Contains(p.names.reserved(), user)
	anothers := slices.ContainsFunc(have, func(r string) bool { _, ok := p.names.nodeOf(r); return ok && r != role })
	ours := func(r string) bool { return r == role || r == p.names.Plugin && !anothers && !reserved }
	others := slices.ContainsFunc(have, func(r string) bool { return !ours(r) })
	if !others && !reserved {
		p.add(roleStep{verb: deleteUser, user: user})
		return
	}
	if others {
		p.note("user %s has other roles: it stays, with those", user)
	}
	for _, r := range have {
		if ours(r) {
			p.add(roleStep{verb: revokeRole, user: user, role: r})
		}
	}
}

// validate checks every name before it becomes part of a key or a role.
func (c RolesConfig) validate(k schema.Keys) error {
	names := NamesOfRoles(k)
	nodes, users := map[schema.Node]bool{}, map[string]schema.Node{}
	reserved := names.reserved()
	for _, n := range slices.Concat(c.Nodes, c.RemoveNodes) {
		if err := n.Node.Validate(); err != nil {
			return err
		}
		if nodes[n.Node] {
			return fmt.Errorf("node %s is named twice", n.Node)
		}
		nodes[n.Node] = true
		user := n.user(names)
		if strings.ContainsFunc(user, func(r rune) bool { return r <= ' ' || r > '~' }) || slices.Contains(reserved, user) {
			return &schema.FieldError{Field: "user", Value: user, Allowed: "printable ASCII without spaces, and none of " + strings.Join(reserved, ", ")}
		}
		if other, taken := users[user]; taken {
			return fmt.Errorf("nodes %s and %s would be the same user %s", other, n.Node, user)
		}
		users[user] = n.Node
	}
	return nil
}
