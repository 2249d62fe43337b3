package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }

func (a *app) watch() *cobra.Command {
	var node string
	var initial bool
	c := &cobra.Command{
		Use:   "watch",
		Short: "Print a line for each change, until interrupted",
		Long: `Print a line for each change in etcd as it happens: attachments that come and go,
what the agents report of both ends, agents, networks. Each line has the time,
the etcd revision and the node. It ends with Ctrl-C.

With etcdctl: etcdctl watch --prefix /vpp-cni/v1/`,
		Example: `  vpp-cnictl watch
  vpp-cnictl watch --node worker-1 --initial`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.show(c.Context(), func(ctx context.Context, s *store.Store) error {
				prefix := s.Keys().Root()
				if node != "" {
					if err := schema.Node(node).Validate(); err != nil {
						return err
					}
					prefix = s.Keys().NodePrefix(schema.Node(node))
				}
				return a.follow(ctx, s, prefix, initial)
			})
		},
	}
	a.nodeFlag(c, &node, "only the changes of this node")
	c.Flags().BoolVar(&initial, "initial", false, "first print a line for everything that is there")
	return c
}

// errOutput ends a watch whose lines nobody takes any more.
var errOutput = errors.New("print")

func (a *app) follow(parent context.Context, s *store.Store, prefix string, initial bool) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	// An etcd that is not there at all is an error; one that goes away later is
	// a line, and the watch goes on.
	if _, _, err := s.Networks(ctx); err != nil {
		return err
	}
	err := s.WatchAll(ctx, prefix, func(e store.Event) {
		if e.Initial && !initial {
			return
		}
		if _, err := fmt.Fprintln(a.out, clean(eventLine(s.Keys(), e, time.Now()))); err != nil {
			cancel(fmt.Errorf("%w: %w", errOutput, err))
		}
	})
	if parent.Err() != nil {
		return nil // interrupted: that is how a watch ends
	}
	return err
}

// eventLine is a change in one line.
func eventLine(k schema.Keys, e store.Event, now time.Time) string {
	stamp := now.Format("15:04:05.000")
	if e.Lost != nil {
		return fmt.Sprintf("%s etcd lost: %v", stamp, e.Lost)
	}
	ref, err := k.Parse(e.Key)
	if err != nil {
		return fmt.Sprintf("%s rev %d %s %s", stamp, e.Rev, e.Key, verb(e))
	}
	where := ""
	if ref.Node != "" {
		where = "node " + string(ref.Node) + " "
	}
	return fmt.Sprintf("%s rev %d %s%s", stamp, e.Rev, where, change(ref, e))
}

func verb(e store.Event) string {
	switch {
	case e.Value == nil:
		return "removed"
	case e.Initial:
		return "is there"
	case e.Prev == nil:
		return "added"
	default:
		return "changed"
	}
}

func change(ref schema.Ref, e store.Event) string {
	switch ref.Kind {
	case schema.KeyHost:
		return fmt.Sprintf("attachment %s/%s%s %s", ref.Container, ref.IfName, about(e, hostAbout), verb(e))
	case schema.KeyHostStatus:
		return fmt.Sprintf("attachment %s/%s host end %s", ref.Container, ref.IfName, statusText(e))
	case schema.KeyPodInterface:
		return fmt.Sprintf("pod %s/%s%s %s", ref.Pod, ref.IfName, about(e, podAbout), verb(e))
	case schema.KeyPodStatus:
		return fmt.Sprintf("pod %s/%s pod end %s", ref.Pod, ref.IfName, statusText(e))
	case schema.KeyAgent:
		return "agent " + agentText(e)
	case schema.KeyRelease:
		return fmt.Sprintf("node %s word that what is held may go %s", ref.Node, verb(e))
	case schema.KeyNetwork:
		return fmt.Sprintf("network %s%s %s", ref.Network, about(e, networkAbout), verb(e))
	case schema.KeyBridgeDomain:
		return fmt.Sprintf("bridge domain %d%s %s", ref.DomainID, about(e, func(d schema.BridgeDomain) string { return "network " + string(d.Network) }), verb(e))
	}
	return e.Key + " " + verb(e)
}

// about is the value's main content in brackets, of what was there before
// where it is gone.
func about[V schema.Value](e store.Event, text func(V) string) string {
	data := e.Value
	if data == nil {
		data = e.Prev
	}
	v, err := schema.Decode[V](data)
	if err != nil {
		return " (unreadable: " + err.Error() + ")"
	}
	return " (" + text(v) + ")"
}

func hostAbout(h schema.HostInterface) string {
	return fmt.Sprintf("pod %s, network %s, %s", podName(h.Pod), h.Network, kind(h))
}

func podAbout(p schema.PodInterface) string {
	s := fmt.Sprintf("pod %s, container %s", podName(p.Pod), p.Container)
	if len(p.Addresses) > 0 {
		s += ", " + join(p.Addresses, " ")
	}
	return s
}

func networkAbout(n schema.Network) string {
	return fmt.Sprintf("domain %s, vrf %d, mtu %s", dash(number(n.DomainID)), n.VRF, dash(number(n.MTU)))
}

func statusText(e store.Event) string {
	if e.Value == nil {
		return "is gone"
	}
	st, err := schema.Decode[schema.InterfaceStatus](e.Value)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	s := fmt.Sprintf("%s (%s)", st.State, st.Reason)
	if st.Interface != "" {
		s += " " + st.Interface
	}
	if st.Link != "" {
		s += " link " + string(st.Link)
	}
	if st.Message != "" {
		s += ": " + st.Message
	}
	return s
}

func agentText(e store.Event) string {
	if e.Value == nil {
		return "is gone"
	}
	i, err := schema.Decode[schema.AgentInfo](e.Value)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	s := "Ready"
	if !i.Ready {
		s = "not ready"
		if i.Reason != "" {
			s += " (" + string(i.Reason) + ")"
		}
	}
	if i.VPPVersion != "" {
		s += ", VPP " + i.VPPVersion
	}
	if i.Message != "" {
		s += ": " + i.Message
	}
	return s
}
