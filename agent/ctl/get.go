package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// shortID is how much of a container id a table shows; -o wide shows all.
const shortID = 13

func (a *app) get() *cobra.Command {
	c := &cobra.Command{
		Use:   "get",
		Short: "List nodes, attachments or networks",
		Long:  "List what etcd holds, as a table, or whole as JSON or YAML. Secrets are never shown.",
		Example: `  vpp-cnictl get nodes
  vpp-cnictl get attachments --network blue -o wide
  vpp-cnictl get networks -o yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.getNodes(), a.getAttachments(), a.getNetworks())
	return c
}

func (a *app) getNodes() *cobra.Command {
	var form string
	c := &cobra.Command{
		Use:     "nodes",
		Aliases: []string{"node"},
		Short:   "List the nodes, whether their agent and VPP are there",
		Long: `List the nodes that have an agent or attachments. STATUS is Ready, the reason why
not, or NoAgent: no agent has announced itself, or its lease has run out. HELD is
how many attachments stand in the node's VPP although etcd says nothing of them:
see vpp-cnictl node release --help.

With etcdctl: etcdctl get --prefix /vpp-cni/v1/nodes/ | grep -A1 /agent`,
		Example: "  vpp-cnictl get nodes -o wide",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(form, forms...); err != nil {
				return err
			}
			return a.show(c.Context(), func(ctx context.Context, s *store.Store) error { return a.listNodes(ctx, s, form) })
		},
	}
	output(c, &form, forms...)
	return c
}

func (a *app) listNodes(ctx context.Context, s *store.Store, form string) error {
	nodes, rev, err := s.Nodes(ctx)
	if err != nil {
		return err
	}
	if form == formJSON || form == formYAML {
		out := list[nodeRecord]{Revision: rev, Items: []nodeRecord{}}
		for _, n := range nodes {
			out.Items = append(out.Items, nodeRecord{Node: n.Node, Attachments: n.Attachments, Agent: record(n.Agent, nil)})
		}
		return a.encode(form, out)
	}
	header := []string{"NODE", "STATUS", "ATTACHMENTS", "HELD", "VPP", "AGENT", "SINCE"}
	if form == formWide {
		header = append(header, "VPP-PID", "RUN-DIR", "MESSAGE")
	}
	var rows [][]string
	for _, n := range nodes {
		var i schema.AgentInfo
		if n.Agent != nil {
			i = n.Agent.Value
		}
		row := []string{string(n.Node), nodeStatus(n), dash(number(n.Attachments)), held(n), dash(i.VPPVersion), dash(i.AgentVersion), age(i.Since, time.Now())}
		if n.Attachments == 0 {
			row[2] = "0"
		}
		if form == formWide {
			row = append(row, dash(number(i.VPPPID)), dash(i.RunDir), dash(i.Message))
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		a.none("nodes")
	}
	return a.table(header, rows)
}

// held is how many attachments the node's agent holds.
func held(n store.NodeView) string {
	if n.Agent == nil || n.Agent.Err != nil {
		return "-"
	}
	return strconv.Itoa(n.Agent.Value.Held)
}

func nodeStatus(n store.NodeView) string {
	switch {
	case n.Agent == nil:
		return "NoAgent"
	case n.Agent.Err != nil:
		return "Unreadable"
	case n.Agent.Value.Ready:
		return "Ready"
	case n.Agent.Value.Reason != "":
		return string(n.Agent.Value.Reason)
	default:
		return "NotReady"
	}
}

func (a *app) getAttachments() *cobra.Command {
	var form, node, network string
	c := &cobra.Command{
		Use:     "attachments",
		Aliases: []string{"attachment", "att"},
		Short:   "List the attachments of pods to VPP and where both ends stand",
		Long: `List the attachments. HOST and POD-END say where each end stands:

  Ready               VPP holds what is desired
  Pending(<reason>)   being worked on, or waiting
  Failed(<reason>)    will not work until the configuration changes
  Failed(Rebooted)    of a sandbox from before the node's last boot; goes with the
                      runtime's late DEL or GC
  Waiting             the agent has not said anything yet
  Outdated            the agent has not yet seen the newest desired value
  Removing            no longer desired; the agent has not yet removed it
  Unreadable          the value is of a newer version, or not ours

LINK is what the host's VPP reports: a memif is Up when its peer is connected.

With etcdctl: etcdctl get --prefix /vpp-cni/v1/nodes/<node>/`,
		Example: `  vpp-cnictl get attachments
  vpp-cnictl get attachments --node worker-1 --network blue -o wide`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(form, forms...); err != nil {
				return err
			}
			f := store.Filter{Node: schema.Node(node), Network: schema.NetworkName(network)}
			return a.show(c.Context(), func(ctx context.Context, s *store.Store) error { return a.listAttachments(ctx, s, f, form) })
		},
	}
	output(c, &form, forms...)
	a.nodeFlag(c, &node, "only the attachments of this node")
	c.Flags().StringVar(&network, "network", "", "only the attachments of this network")
	_ = c.RegisterFlagCompletionFunc("network", a.completeNetworks)
	return c
}

func (a *app) listAttachments(ctx context.Context, s *store.Store, f store.Filter, form string) error {
	views, rev, err := s.Attachments(ctx, f)
	if err != nil {
		return err
	}
	if form == formJSON || form == formYAML {
		out := list[attachmentRecord]{Revision: rev, Items: []attachmentRecord{}}
		for _, v := range views {
			out.Items = append(out.Items, attachmentOut(v))
		}
		return a.encode(form, out)
	}
	header := []string{"NODE", "POD", "CONTAINER", "IFNAME", "NETWORK", "TYPE", "HOST", "POD-END", "LINK", "SINCE"}
	if form == formWide {
		header = append(header, "INTERFACE", "MAC", "ADDRESSES")
	}
	var rows [][]string
	for _, v := range views {
		t := summarize(v)
		id := string(v.Container)
		if form != formWide {
			id = id[:min(len(id), shortID)]
		}
		row := []string{string(v.Node), dash(t.pod), id, string(v.IfName), t.network, t.kind, t.host, t.podEnd, t.link, t.age(time.Now())}
		if form == formWide {
			row = append(row, t.iface, t.mac, t.addresses)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		a.none("attachments")
	}
	return a.table(header, rows)
}

func (t summary) age(now time.Time) string {
	if t.status == nil {
		return "-"
	}
	return age(t.status.Since, now)
}

func (a *app) getNetworks() *cobra.Command {
	var form string
	c := &cobra.Command{
		Use:     "networks",
		Aliases: []string{"network", "net"},
		Short:   "List the networks: bridge domain, VRF, MTU",
		Long: `List the networks that etcd has a record of. DOMAIN is VPP's bridge-domain id,
given once for the whole cluster when a bridge is first used by its name; VRF is
the FIB table of routed attachments, 0 for VPP's default; MTU is in bytes.

With etcdctl: etcdctl get --prefix /vpp-cni/v1/networks/`,
		Example: "  vpp-cnictl get networks",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(form, forms...); err != nil {
				return err
			}
			return a.show(c.Context(), func(ctx context.Context, s *store.Store) error { return a.listNetworks(ctx, s, form) })
		},
	}
	output(c, &form, forms...)
	return c
}

func (a *app) listNetworks(ctx context.Context, s *store.Store, form string) error {
	networks, rev, err := s.Networks(ctx)
	if err != nil {
		return err
	}
	if form == formJSON || form == formYAML {
		out := list[networkRecord]{Revision: rev, Items: []networkRecord{}}
		for _, n := range networks {
			out.Items = append(out.Items, networkRecord{Name: n.Name, value: *record(&n.Versioned, nil)})
		}
		return a.encode(form, out)
	}
	header := []string{"NETWORK", "DOMAIN", "VRF", "MTU"}
	if form == formWide {
		header = append(header, "REVISION")
	}
	var rows [][]string
	for _, n := range networks {
		row := []string{string(n.Name), dash(number(n.Value.DomainID)), "0", dash(number(n.Value.MTU))}
		if n.Value.VRF != 0 {
			row[2] = number(n.Value.VRF)
		}
		if n.Err != nil {
			row = []string{string(n.Name), "Unreadable", "-", "-"}
		}
		if form == formWide {
			row = append(row, number(n.Rev))
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		a.none("networks")
	}
	return a.table(header, rows)
}
