package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

func (a *app) network() *cobra.Command {
	c := &cobra.Command{
		Use:   "network",
		Short: "Set or delete the record of a network",
		Long: `Set what attachments of a network get on every node where their own configuration
says nothing. A change is for attachments made from then on: those that are there
keep what they were made with.`,
		Example: "  vpp-cnictl network set blue --vrf 10 --mtu 1500\n  vpp-cnictl network delete blue",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.networkSet(), a.networkDelete())
	return c
}

func (a *app) networkSet() *cobra.Command {
	var vrf, mtu uint32
	c := &cobra.Command{
		Use:   "set <name>",
		Short: "Set a network's VRF or MTU",
		Long: `Set a network's VRF or MTU, and make its record where there is none. What no flag
names stays as it is. The bridge domain is not set here: it is given once, when
an attachment first uses the network's name as a bridge.`,
		Example:           "  vpp-cnictl network set blue --vrf 10\n  vpp-cnictl network set blue --mtu 1500",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNetworks,
		RunE: func(c *cobra.Command, args []string) error {
			flags := c.Flags()
			if !flags.Changed("vrf") && !flags.Changed("mtu") {
				return fmt.Errorf("network set %s: give --vrf, --mtu or both", args[0])
			}
			if err := schema.CheckMTU("mtu", int(mtu)); err != nil {
				return err
			}
			return a.with(c.Context(), func(ctx context.Context, s *store.Store) error {
				return a.setNetwork(ctx, s, schema.NetworkName(args[0]), func(n *schema.Network) {
					if flags.Changed("vrf") {
						n.VRF = vrf
					}
					if flags.Changed("mtu") {
						n.MTU = uint16(mtu) //nolint:gosec // CheckMTU bounds it
					}
				})
			})
		},
	}
	c.Flags().Uint32Var(&vrf, "vrf", 0, "FIB table of routed attachments; 0: VPP's default table")
	c.Flags().Uint32Var(&mtu, "mtu", 0, "L3 MTU in bytes; 0: VPP's default (9000)")
	return c
}

func (a *app) setNetwork(ctx context.Context, s *store.Store, name schema.NetworkName, edit func(*schema.Network)) error {
	seen, err := s.Network(ctx, name)
	if err != nil {
		return err
	}
	var n schema.Network
	var rev int64
	if seen != nil {
		if seen.Err != nil {
			return seen.Err
		}
		n, rev = seen.Value, seen.Rev
	}
	edit(&n)
	if rev, err = s.PutNetwork(ctx, name, n, rev); err != nil {
		return err
	}
	a.line("network %s: %s (revision %d)", name, networkAbout(n), rev)
	return nil
}

func (a *app) networkDelete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete <name>",
		Short: "Delete a network's record",
		Long: `Delete a network's record and give its bridge-domain id back. A network that has
attachments is refused.`,
		Example:           "  vpp-cnictl network delete blue",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNetworks,
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(ctx context.Context, s *store.Store) error {
				existed, err := s.DeleteNetwork(ctx, schema.NetworkName(args[0]))
				if err != nil {
					return err
				}
				if !existed {
					return fmt.Errorf("network %q is not found", args[0])
				}
				a.line("network %s deleted", args[0])
				return nil
			})
		},
	}
}
