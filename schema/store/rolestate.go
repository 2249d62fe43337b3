package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vpp-cni/vpp-cni/schema"
)

// roleState is what etcd has: of roles what the plan looks at, and all users,
// as a node's may have any name.
type roleState struct {
	roles   map[string][]permission
	users   map[string][]string
	enabled bool
}

func (s roleState) clone() roleState {
	return roleState{roles: maps.Clone(s.roles), users: maps.Clone(s.users), enabled: s.enabled}
}

// do changes s as the step changes etcd, as far as a plan asks again.
func (s roleState) do(st roleStep) {
	without := func(user string) {
		s.users[user] = slices.DeleteFunc(slices.Clone(s.users[user]), func(r string) bool { return r == st.role })
	}
	switch st.verb {
	case addUser:
		s.users[st.user] = nil
	case grantRole:
		s.users[st.user] = append(slices.Clip(s.users[st.user]), st.role)
	case revokeRole:
		without(st.user)
	case deleteUser:
		delete(s.users, st.user)
	case deleteRole:
		delete(s.roles, st.role)
		for user := range s.users {
			without(user)
		}
	case addRole, grantPermission, revokePermission, addRoot, enableAuth:
	}
}

// usersWith are the users that have a role, in order.
func (s roleState) usersWith(role string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.users)), func(u string) bool { return !slices.Contains(s.users[u], role) })
}

// withoutUser are the nodes of a list whose role nobody has.
func (s roleState) withoutUser(names RoleNames, nodes []schema.Node) []schema.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n schema.Node) bool { return len(s.usersWith(names.Node(n))) > 0 })
}

// relevant are the roles that the plan looks at.
func (c RolesConfig) relevant(k schema.Keys) map[string]bool {
	names := NamesOfRoles(k)
	roles := map[string]bool{names.Plugin: true, names.Operator: true, names.ReadOnly: true}
	for _, n := range slices.Concat(c.Nodes, c.RemoveNodes) {
		roles[names.Node(n.Node)] = true
	}
	return roles
}

// refuseOthersRoles refuses to touch a role that is another prefix's: /lab/a and
// /lab-a have the same names for theirs, and who has the one's would have the
// other's keys.
func (p *rolePlanner) refuseOthersRoles(c RolesConfig) error {
	for _, role := range slices.Sorted(maps.Keys(c.relevant(p.keys))) {
		for _, perm := range p.have.roles[role] {
			if prefix, ok := p.otherPrefix(role, perm.key); ok {
				return fmt.Errorf("role %s is of another prefix: it %s, and the roles of %s have the same names as these; nothing is changed. "+
					"Use another prefix, or if %s is not used any more, take that from the role (etcdctl role revoke-permission)", role, perm, prefix, prefix)
			}
		}
	}
	return nil
}

// otherPrefix is the prefix under which a key stands, where that is not ours and
// one of its roles would have this name. Any other key is somebody's own grant.
func (p *rolePlanner) otherPrefix(role, key string) (string, bool) {
	if strings.HasPrefix(key, p.keys.Root()) {
		return "", false
	}
	const version = "/" + schema.Version + "/"
	for i := range len(key) {
		if !strings.HasPrefix(key[i:], version) {
			continue
		}
		if k, err := schema.NewKeys(key[:i]); i > 0 && err == nil && NamesOfRoles(k).has(role) {
			return key[:i], true
		}
	}
	return "", false
}
