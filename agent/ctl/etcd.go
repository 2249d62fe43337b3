package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

func (a *app) etcdCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "etcd",
		Short:   "Make the users and roles that keep each node to its own keys",
		Long:    "Make etcd's users and roles for nodes, operators and readers.",
		Example: "  vpp-cnictl etcd init-roles --node worker-1 --node worker-2 --dry-run",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.initRoles())
	return c
}

// rolesFlags are the flags of init-roles.
type rolesFlags struct {
	nodes, remove []string
	dry, enable   bool
}

func (a *app) initRoles() *cobra.Command {
	var f rolesFlags
	c := &cobra.Command{
		Use:   "init-roles",
		Short: "Make the roles and users, and print what was done",
		Long: `Make the roles and users, and print what was done. What is there already is left;
run twice, it changes nothing. Permissions and roles that somebody has added are
reported and left.

  vpp-cni-node-<node>  reads and writes the node's own keys, reads networks; of the
                       node's agent and plugin
  vpp-cni-plugin       writes networks/ and bridge-domains/, which a plugin does when
                       it gives a network its bridge domain; of the nodes' users too.
                       Without it a node can only use networks that have theirs
  vpp-cni-operator     reads and writes everything under the prefix
  vpp-cni-read-only    reads networks and, of the nodes given, what agents say; not
                       host/ and pods/, where the memif secrets stand

Each user has the name of its role. It is made without a password: etcd that runs
with --client-cert-auth takes a client certificate's common name for the user. A
node whose certificate has another name is given as <node>=<name>. A user who is
to have a password is made first, with etcdctl user add.

A node has one user, and a user one node. <node>=<name> takes the node's role and
the plugin's from whoever else has the node's, as after a key was lost, and deletes
a user that has no other role, as --remove-node does. Without a name the node's user
stays who it is. A user of another node is refused. etcd goes on telling a watch that
stands: restart its members one after the other, which ends it.

With another --prefix than /vpp-cni the names begin with that. Prefixes that differ
in / and - only, such as /lab/a and /lab-a, have the same names: the second one is
refused, and nothing is changed.

Roles hold nobody back before authentication is on. --enable turns it on: as the
last step, where every node with an agent has its user, and only if this very
connection is then an administrator's (a certificate with the common name root, or
--user root with --password-file); else it is turned off again. Once it is on,
init-roles needs such a connection.`,
		Example: `  vpp-cnictl etcd init-roles --node worker-1 --node worker-2 --dry-run
  vpp-cnictl etcd init-roles --node worker-1,worker-2 --enable
  vpp-cnictl etcd init-roles --node worker-3=worker-3.example.org
  vpp-cnictl etcd init-roles --remove-node worker-1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, s *store.Store) error { return a.runInitRoles(ctx, s, f) })
		},
	}
	c.Flags().StringSliceVar(&f.nodes, "node", nil, "a node to make a role and a user for: <node> or <node>=<user>; may be repeated")
	c.Flags().StringSliceVar(&f.remove, "remove-node", nil, "a node whose role and users are to go, whatever their names; may be repeated")
	c.Flags().BoolVar(&f.dry, "dry-run", false, "print what would be done and do nothing")
	c.Flags().BoolVar(&f.enable, "enable", false, "turn authentication on in the end")
	return c
}

func (a *app) runInitRoles(ctx context.Context, s *store.Store, f rolesFlags) error {
	p, err := s.PlanRoles(ctx, store.RolesConfig{Nodes: nodeUsers(f.nodes), RemoveNodes: nodeUsers(f.remove), Enable: f.enable})
	if err != nil {
		return err
	}
	for _, n := range p.Notes {
		a.line("note: %s", clean(n))
	}
	if f.dry {
		for _, st := range p.Steps {
			a.line("would do: %s", clean(st))
		}
	} else if err := p.Apply(ctx, func(step string) { a.line("%s", clean(step)) }); err != nil {
		return err
	}
	if len(p.Steps) == 0 {
		a.line("nothing to do: the roles and users are there")
	}
	if !p.Enabled && !f.enable {
		a.line("authentication is off, so that nobody is held back yet; turn it on with: vpp-cnictl etcd init-roles --enable")
	}
	return nil
}

// nodeUsers reads <node> and <node>=<user>.
func nodeUsers(args []string) []store.NodeUser {
	out := make([]store.NodeUser, len(args))
	for i, arg := range args {
		node, user, _ := strings.Cut(arg, "=")
		out[i] = store.NodeUser{Node: schema.Node(node), User: user}
	}
	return out
}

// userRemains says what etcd may still have of a node that was deleted.
func userRemains(s *store.Store, n schema.Node) string {
	if s.User() == "" {
		return ""
	}
	return fmt.Sprintf("its user and role in etcd stay until etcd's administrator (user root) takes them away: vpp-cnictl etcd init-roles --remove-node %s", n)
}
