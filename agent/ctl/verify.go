package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpp-cni/vpp-cni/schema/report"
)

func (a *app) verify() *cobra.Command {
	var agent, node, form string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Compare what is desired with what this node's VPP really holds",
		Long: `Compare what etcd says this node's VPP should hold with what it does hold, and
print each difference: "-" is what is desired, "+" is what VPP has. The host agent
dumps VPP for it and changes nothing.

The agent is asked over its socket (agent.http in the configuration file), so
verify runs on the node itself, or with --agent wherever that can be reached.

Exit codes: 0 VPP holds what is desired, 1 it does not, 2 error.`,
		Example: `  vpp-cnictl verify
  vpp-cnictl verify --agent unix:///run/vpp-cni/agent.sock --node worker-1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(form, formTable, formJSON, formYAML); err != nil {
				return err
			}
			if agent == "" {
				f, err := a.load()
				if err != nil {
					return err
				}
				agent = f.Agent.HTTP
			}
			return a.runVerify(c.Context(), agent, node, form)
		},
	}
	c.Flags().StringVar(&agent, "agent", "", "the agent's socket or address: unix:///path, http://host:port (default: agent.http of the configuration file)")
	a.nodeFlag(c, &node, "fail unless the agent is this node's")
	output(c, &form, formTable, formJSON, formYAML)
	return c
}

func (a *app) runVerify(ctx context.Context, agent, node, form string) error {
	r, err := report.Ask(ctx, agent)
	if err != nil {
		return err
	}
	if node != "" && r.Node != node {
		return fmt.Errorf("the agent at %s is of node %q, not %q", agent, r.Node, node)
	}
	if form == formTable {
		a.printReport(r)
	} else if err := a.encode(form, r); err != nil {
		return err
	}
	if !r.InSync || len(r.Drift) > 0 {
		return errDrift
	}
	return nil
}

func (a *app) printReport(r report.Report) {
	head := "node " + r.Node
	if r.VPPPID != 0 {
		head += fmt.Sprintf(", VPP process %d", r.VPPPID)
	}
	switch {
	case len(r.Drift) > 0:
		a.line("%s: %d differences (- desired, + in VPP)", head, len(r.Drift))
	case r.InSync:
		a.line("%s: in sync", head)
	default:
		a.line("%s: not in sync", head)
	}
	for _, d := range r.Drift {
		a.line("")
		owner := ""
		if d.Attachment != "" {
			owner = " (attachment " + d.Attachment + ")"
		}
		a.line("%s", clean(d.Op+" "+d.Object+owner))
		a.diff("-", d.Want)
		a.diff("+", d.Have)
	}
	if len(r.Pending) > 0 {
		a.line("")
		a.line("not ready: %d", len(r.Pending))
	}
	for _, p := range r.Pending {
		text := "  " + p.Attachment + " " + string(p.Reason)
		if p.Message != "" {
			text += ": " + p.Message
		}
		a.line("%s", clean(text))
	}
	if len(r.Held) > 0 {
		a.line("")
		a.line("held: %d (in VPP, etcd says nothing of them: see vpp-cnictl node release --help)", len(r.Held))
	}
	for _, h := range r.Held {
		a.line("%s", clean("  "+dash(h.Attachment)+" "+h.Interface))
	}
}

// diff prints the lines of one side, if it has any.
func (a *app) diff(mark, text string) {
	if text == "" {
		return
	}
	for l := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		a.line("  %s %s", mark, clean(l))
	}
}
