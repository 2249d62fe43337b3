package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// shortestPrefix is how many characters of a container id name it, as
// runtimes' own tools allow.
const shortestPrefix = 4

func (a *app) describe() *cobra.Command {
	c := &cobra.Command{
		Use:     "describe",
		Short:   "Show one attachment or node in full",
		Long:    "Show everything that etcd holds of one attachment or node, in words, with the keys to look at.",
		Example: "  vpp-cnictl describe attachment default/web-0\n  vpp-cnictl describe node worker-1",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.describeAttachment(), a.describeNode())
	return c
}

func (a *app) describeAttachment() *cobra.Command {
	var node string
	c := &cobra.Command{
		Use:     "attachment <container>/<ifname> | <namespace>/<pod>",
		Aliases: []string{"att"},
		Short:   "Show both ends of an attachment",
		Long: `Show both ends of an attachment: what is desired, what the agents report, and the
keys where it stands. The container id may be shortened as long as it is
unambiguous. A pod's name shows all of the pod's attachments.`,
		Example: `  vpp-cnictl describe attachment 5cca5b4d29c5/net1
  vpp-cnictl describe attachment default/web-0`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeAttachments,
		RunE: func(c *cobra.Command, args []string) error {
			return a.show(c.Context(), func(ctx context.Context, s *store.Store) error {
				views, _, err := s.Attachments(ctx, store.Filter{Node: schema.Node(node)})
				if err != nil {
					return err
				}
				found, err := find(views, args[0])
				if err != nil {
					return err
				}
				for i, v := range found {
					if i > 0 {
						a.line("")
					}
					a.attachment(s.Keys(), v)
				}
				return nil
			})
		},
	}
	a.nodeFlag(c, &node, "look on this node only (faster in a large cluster)")
	return c
}

// find returns the attachments that arg names.
func find(views []store.AttachmentView, arg string) ([]store.AttachmentView, error) {
	first, second, ok := strings.Cut(arg, "/")
	if !ok || first == "" || second == "" {
		return nil, fmt.Errorf("attachment %q is not allowed: <container>/<ifname> or <namespace>/<pod>", arg)
	}
	var exact, short, pod []store.AttachmentView
	for _, v := range views {
		switch {
		case string(v.IfName) == second && string(v.Container) == first:
			exact = append(exact, v)
		case string(v.IfName) == second && len(first) >= shortestPrefix && strings.HasPrefix(string(v.Container), first):
			short = append(short, v)
		case summarize(v).pod == arg:
			pod = append(pod, v)
		}
	}
	switch {
	case len(exact) > 0:
		return exact, nil
	case len(short) == 1:
		return short, nil
	case len(short) > 1:
		return nil, fmt.Errorf("attachment %q is ambiguous: %s and %s", arg, attachmentName(short[0]), attachmentName(short[1]))
	case len(pod) > 0:
		return pod, nil
	}
	return nil, fmt.Errorf("attachment %q is not found: see vpp-cnictl get attachments", arg)
}

// line prints one harmless line.
func (a *app) line(format string, args ...any) {
	_, _ = fmt.Fprintln(a.out, clean(fmt.Sprintf(format, args...)))
}

func (a *app) attachment(k schema.Keys, v store.AttachmentView) {
	t := summarize(v)
	fields(a.out, "", "Attachment", attachmentName(v), "Node", string(v.Node), "Pod", t.pod, "Pod ID", string(v.PodID), "Network", t.network, "Type", t.kind)
	a.line("Host end:")
	a.state(t.host, v.HostStatus)
	if h := v.Host; h != nil {
		a.unreadable(h.Err)
		a.hostSpec(h.Value)
	}
	a.line("Pod end:")
	a.state(t.podEnd, v.PodStatus)
	if p := v.Pod; p != nil {
		a.unreadable(p.Err)
		a.podSpec(p.Value)
	}
	if why := unlinked(v); why != "" {
		a.line("Not connected: %s", why)
	}
	a.line("With etcdctl:")
	a.line("  etcdctl get %s", k.Host(v.Node, v.Container, v.IfName))
	a.line("  etcdctl get %s", k.HostStatus(v.Node, v.Container, v.IfName))
	if v.PodID != "" {
		a.line("  etcdctl get --prefix %s", k.PodPrefix(v.Node, v.PodID))
	}
}

func (a *app) unreadable(err error) {
	if err != nil {
		fields(a.out, "  ", "Unreadable", err.Error())
	}
}

func (a *app) state(state string, st *store.Versioned[schema.InterfaceStatus]) {
	if st == nil || st.Err != nil {
		fields(a.out, "  ", "State", state)
		if st != nil {
			a.unreadable(st.Err)
		}
		return
	}
	s := st.Value
	iface := s.Interface
	if s.SwIfIndex != nil {
		iface = fmt.Sprintf("%s (sw_if_index %d)", dash(iface), *s.SwIfIndex)
	}
	fields(a.out, "  ", "State", state, "Reason", string(s.Reason), "Message", s.Message, "Since", age(s.Since, time.Now()),
		"Interface", iface, "Link", string(s.Link), "MAC", s.MAC.String(), "MTU", number(s.MTU), "Socket", s.SocketPath)
}

func (a *app) hostSpec(h schema.HostInterface) {
	fields(a.out, "  ", "Wanted", wanted(h.IfType, h.NetType), "Memif", memif(h.Memif), "Vhost-user", vhost(h.VhostUser), "Bridge", bridge(h.Bridge),
		"Wanted MAC", h.MAC.String(), "Wanted MTU", number(h.MTU), "VRF", number(h.VRF),
		"Gateways", join(h.Gateways, ", "), "Routes to", join(h.PodAddresses, ", "), "Netns", h.Sandbox)
}

func (a *app) podSpec(p schema.PodInterface) {
	routes := make([]string, len(p.Routes))
	for i, r := range p.Routes {
		routes[i] = r.Dst.String()
		if r.GW.IsValid() {
			routes[i] += " via " + r.GW.String()
		}
	}
	fields(a.out, "  ", "Wanted", wanted(p.IfType, p.NetType), "Memif", memif(p.Memif), "Vhost-user", vhost(p.VhostUser), "Bridge", bridge(p.Bridge),
		"Wanted MAC", p.MAC.String(), "Wanted MTU", number(p.MTU),
		"VLAN", number(p.VLAN), "Addresses", join(p.Addresses, ", "), "Gateways", join(p.Gateways, ", "), "Routes", strings.Join(routes, ", "))
}

func wanted(t schema.IfType, n schema.NetType) string {
	if t == "" {
		return ""
	}
	return string(t) + ", " + string(n)
}

func memif(m *schema.MemifEnd) string {
	if m == nil {
		return ""
	}
	s := fmt.Sprintf("%s, %s, socket %s", m.Role, m.Mode, m.Socket)
	if !m.Secret.IsZero() {
		s += ", secret " + m.Secret.String()
	}
	return s
}

// unlinked is what can be said of two memif ends that are as desired and not
// connected. VPP's API does not tell why; its command line does.
func unlinked(v store.AttachmentView) string {
	if v.Host == nil || v.Pod == nil || v.Host.Value.Memif == nil || v.Pod.Value.Memif == nil {
		return ""
	}
	for _, st := range []string{state(v.Host, v.HostStatus), state(v.Pod, v.PodStatus)} {
		if st != string(schema.Ready) {
			return ""
		}
	}
	switch {
	case v.HostStatus.Value.Link == schema.LinkUp && v.PodStatus.Value.Link == schema.LinkUp:
		return ""
	case v.Host.Value.Memif.Secret != v.Pod.Value.Memif.Secret:
		return "the two ends have different secrets"
	default:
		return "both ends are as desired; local-disc-reason and remote-disc-reason of `vppctl show memif` say why"
	}
}

func vhost(v *schema.VhostEnd) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("VPP is the %s, socket %s", v.Role, v.Socket)
}

func bridge(b *schema.BridgeEnd) string {
	if b == nil {
		return ""
	}
	s := fmt.Sprintf("%s (domain %d)", b.Name, b.DomainID)
	if b.VLAN != 0 {
		s += fmt.Sprintf(", VLAN %d", b.VLAN)
	}
	return s
}

func (a *app) describeNode() *cobra.Command {
	return &cobra.Command{
		Use:               "node <node>",
		Short:             "Show a node's agent, VPP and attachments",
		Long:              "Show what a node's agent says of itself and of VPP, and how many of the node's\nattachments stand where.",
		Example:           "  vpp-cnictl describe node worker-1",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: func(c *cobra.Command, args []string) error {
			n := schema.Node(args[0])
			if err := n.Validate(); err != nil {
				return err
			}
			return a.show(c.Context(), func(ctx context.Context, s *store.Store) error { return a.node(ctx, s, n) })
		},
	}
}

func (a *app) node(ctx context.Context, s *store.Store, name schema.Node) error {
	n, err := findNode(ctx, s, name)
	if err != nil {
		return err
	}
	views, _, err := s.Attachments(ctx, store.Filter{Node: name})
	if err != nil {
		return err
	}
	a.nodeText(s.Keys(), n, views)
	return nil
}

func (a *app) nodeText(k schema.Keys, n store.NodeView, views []store.AttachmentView) {
	fields(a.out, "", "Node", string(n.Node), "Status", nodeStatus(n))
	if n.Agent != nil {
		a.unreadable(n.Agent.Err)
		i := n.Agent.Value
		fields(a.out, "", "Message", i.Message, "Since", age(i.Since, time.Now()), "Agent", i.AgentVersion, "Agent PID", number(i.PID), "Instance", i.Instance,
			"VPP", i.VPPVersion, "VPP PID", number(i.VPPPID), "Run-dir", i.RunDir, "Boot ID", i.BootID)
		if i.Held > 0 {
			fields(a.out, "", "Held", fmt.Sprintf("%d attachments that etcd says nothing of: see vpp-cnictl node release --help", i.Held))
		}
	}
	counts := map[string]int{}
	for _, v := range views {
		counts[state(v.Host, v.HostStatus)]++
	}
	a.line("Attachments:    %d", n.Attachments)
	for _, s := range sortedKeys(counts) {
		a.line("  %-30s %d", s, counts[s])
	}
	a.line("With etcdctl:")
	a.line("  etcdctl get %s", k.Agent(n.Node))
	a.line("  etcdctl get --prefix %s", k.HostPrefix(n.Node))
}
