package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

func (a *app) nodeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "node",
		Short: "Delete a node that is gone, or release what its agent holds",
		Long: `Tell the cluster what only people know of a node: that it is gone for good, or
that what its VPP holds without a word in etcd may go.`,
		Example: "  vpp-cnictl node delete worker-7 --dry-run\n  vpp-cnictl node release worker-1",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.nodeDelete(), a.nodeRelease())
	return c
}

// deletion is how node delete is to go about it.
type deletion struct{ yes, dry bool }

func (a *app) nodeDelete() *cobra.Command {
	var d deletion
	c := &cobra.Command{
		Use:   "delete <node>",
		Short: "Remove all that etcd holds of a node that is gone for good",
		Long: `Remove all that etcd holds of a node that is gone for good: its attachments, their
statuses, and what is left beside them. A node whose agent is there is refused;
an agent that was stopped or has died is gone after its lease, 10 s by default.

It lists what will go, and asks for the node's name, or takes --yes. The node's
VPP is not touched: should the node come back all the same, its agent holds what
stands in VPP without a word in etcd, until "vpp-cnictl node release".

Addresses are not given back here: they are the IPAM plugin's.`,
		Example: `  vpp-cnictl node delete worker-7 --dry-run
  vpp-cnictl node delete worker-7
  vpp-cnictl node delete worker-7 --yes`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error {
			n := schema.Node(args[0])
			if err := n.Validate(); err != nil {
				return err
			}
			return a.with(c.Context(), func(ctx context.Context, s *store.Store) error { return a.deleteNode(ctx, s, n, d) })
		},
	}
	c.Flags().BoolVar(&d.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&d.dry, "dry-run", false, "only list what would go")
	return c
}

func (a *app) deleteNode(ctx context.Context, s *store.Store, n schema.Node, d deletion) error {
	view, err := findNode(ctx, s, n)
	if err != nil {
		return err
	}
	if err = gone(view); err != nil {
		return err
	}
	views, _, err := s.Attachments(ctx, store.Filter{Node: n})
	if err != nil {
		return err
	}
	if err = a.goes(n, views); err != nil {
		return err
	}
	if d.dry {
		a.line("dry run: nothing is removed")
		return nil
	}
	if !d.yes {
		if err = a.confirm(string(n)); err != nil {
			return fmt.Errorf("node delete %s: %w", n, err)
		}
	}
	done, err := s.DeleteNode(ctx, n)
	if err != nil {
		return err
	}
	a.line("node %s deleted: %d attachments, %d keys (revision %d)", n, done.Attachments, done.Keys, done.Rev)
	if rest := userRemains(s, n); rest != "" {
		a.line("%s", rest)
	}
	return nil
}

// gone refuses a node whose agent is there.
func gone(n store.NodeView) error {
	if n.Agent == nil {
		return nil
	}
	who := "its agent is there"
	if n.Agent.Err == nil {
		i := n.Agent.Value
		who = fmt.Sprintf("its agent is there: instance %s, pid %d, %s since %s", i.Instance, i.PID, nodeStatus(n), i.Since.Format(time.RFC3339))
	}
	return fmt.Errorf("node %s is not gone: %s; stop the agent there and try again once get nodes shows NoAgent (after its lease, 10s by default)", n.Node, who)
}

// goes lists what a deletion takes away.
func (a *app) goes(n schema.Node, views []store.AttachmentView) error {
	if len(views) == 0 {
		a.line("node %s has no attachments", n)
		return nil
	}
	a.line("these attachments of node %s go:", n)
	rows := make([][]string, 0, len(views))
	for _, v := range views {
		t := summarize(v)
		rows = append(rows, []string{"  " + t.pod, attachmentName(v), t.network, t.host, t.addresses})
	}
	return a.table([]string{"  POD", "ATTACHMENT", "NETWORK", "HOST", "ADDRESSES"}, rows)
}

// confirm asks for name on the terminal.
func (a *app) confirm(name string) error {
	if !terminal(a.in) {
		return errors.New("there is no terminal to ask on: say --yes if it is to be done")
	}
	_, _ = fmt.Fprintf(a.errOut, "Type the node's name to go on: ")
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != name {
		return errors.New("the name typed is another: nothing is removed")
	}
	return nil
}

func terminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (a *app) nodeRelease() *cobra.Command {
	return &cobra.Command{
		Use:   "release <node>",
		Short: "Let a node's agent remove what it holds without a word in etcd",
		Long: `Let a node's agent remove what it holds. An agent holds an attachment that stands
in VPP while etcd knows neither of it nor of its removal: etcd was wiped, or
restored from an older backup, or the node's keys were deleted by hand. Pods may
still be using it, so it stays until it is wanted again, is detached, or this
word is given.

"vpp-cnictl verify" on the node lists what is held. The word is for the agent
that runs now: one that is started later holds again what it finds.`,
		Example:           "  vpp-cnictl get nodes\n  vpp-cnictl node release worker-1",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error {
			n := schema.Node(args[0])
			if err := n.Validate(); err != nil {
				return err
			}
			return a.with(c.Context(), func(ctx context.Context, s *store.Store) error { return a.releaseNode(ctx, s, n) })
		},
	}
}

func (a *app) releaseNode(ctx context.Context, s *store.Store, n schema.Node) error {
	info, err := s.PutRelease(ctx, n)
	switch {
	case errors.Is(err, store.ErrNoAgent):
		return fmt.Errorf("node %s has no agent that could release anything: see vpp-cnictl get nodes", n)
	case err != nil:
		return err
	case info.Held == 0:
		return fmt.Errorf("node %s: its agent holds nothing that waits for a word", n)
	}
	a.line("node %s: the agent (instance %s) is told to let %d attachments go that etcd says nothing of.", n, info.Instance, info.Held)
	a.line("They are removed from VPP now: a pod that still uses one loses its network.")
	a.line("vpp-cnictl get nodes shows 0 under HELD when it is done.")
	return nil
}

// findNode is what etcd knows of a node.
func findNode(ctx context.Context, s *store.Store, name schema.Node) (store.NodeView, error) {
	nodes, _, err := s.Nodes(ctx)
	if err != nil {
		return store.NodeView{}, err
	}
	for _, n := range nodes {
		if n.Node == name {
			return n, nil
		}
	}
	return store.NodeView{}, fmt.Errorf("node %q is not found: it has neither an agent nor attachments", name)
}
