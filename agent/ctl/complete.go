package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// completeTimeout bounds what a shell waits for after a tab.
const completeTimeout = 2 * time.Second

// complete runs fn for a shell's completion; when etcd is away there is none.
func (a *app) complete(c *cobra.Command, fn func(context.Context, *store.Store) ([]cobra.Completion, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
	defer cancel()
	a.timeout = completeTimeout
	var out []cobra.Completion
	err := a.with(ctx, func(ctx context.Context, s *store.Store) (err error) {
		out, err = fn(ctx, s)
		return err
	})
	if err != nil {
		cobra.CompErrorln(err.Error())
		return nil, cobra.ShellCompDirectiveError
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeNodes(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(c, func(ctx context.Context, s *store.Store) ([]cobra.Completion, error) {
		nodes, _, err := s.Nodes(ctx)
		var out []cobra.Completion
		for _, n := range nodes {
			out = append(out, cobra.CompletionWithDesc(string(n.Node), nodeStatus(n)))
		}
		return out, err
	})
}

func (a *app) completeNetworks(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(c, func(ctx context.Context, s *store.Store) ([]cobra.Completion, error) {
		networks, _, err := s.Networks(ctx)
		var out []cobra.Completion
		for _, n := range networks {
			out = append(out, string(n.Name))
		}
		return out, err
	})
}

func (a *app) completeAttachments(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(c, func(ctx context.Context, s *store.Store) ([]cobra.Completion, error) {
		node, _ := c.Flags().GetString("node")
		views, _, err := s.Attachments(ctx, store.Filter{Node: schema.Node(node)})
		var out []cobra.Completion
		for _, v := range views {
			t := summarize(v)
			out = append(out, cobra.CompletionWithDesc(attachmentName(v), t.pod+" "+t.network))
		}
		return out, err
	})
}

// nodeFlag adds the flag --node with its completion.
func (a *app) nodeFlag(c *cobra.Command, node *string, usage string) {
	c.Flags().StringVar(node, "node", "", usage)
	// The error is a flag that does not exist: it is made one line above.
	_ = c.RegisterFlagCompletionFunc("node", func(c *cobra.Command, _ []string, s string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.completeNodes(c, nil, s)
	})
}

// attachmentName is how commands name an attachment.
func attachmentName(v store.AttachmentView) string {
	return string(v.Container) + "/" + string(v.IfName)
}
