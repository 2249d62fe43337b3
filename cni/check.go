package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/report"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// cmdCheck compares prevResult, what is desired, what both agents report, and
// what VPP holds.
func cmdCheck(cmd *skel.CmdArgs) error {
	return serve(cmd, "CHECK", (*call).check)
}

func (c *call) check(ctx context.Context) error {
	prev, err := c.prevResult()
	if err != nil {
		return err
	}
	if prev == nil {
		return fail(types.ErrInvalidNetworkConfig, "prevResult is missing from the network configuration", nil)
	}
	r, err := c.request()
	if err != nil {
		return err
	}
	view, err := c.store.Look(ctx, c.lookup(r.id, c.networks(r.ends)...))
	if err != nil {
		return storeError("the attachment cannot be looked up in etcd", err)
	}
	if view.Host == nil || view.Pod == nil {
		return fail(types.ErrInvalidNetworkConfig, "the attachment is not there", errors.New(missingEnds(view)))
	}
	if err := errors.Join(view.Host.Err, view.Pod.Err); err != nil {
		return fail(types.ErrInvalidNetworkConfig, "the attachment cannot be read from etcd", err)
	}
	if _, err := c.resolve(&r, view); err != nil {
		return err
	}
	r.bootID = view.Host.Value.BootID // of the boot when ADD ran
	found := differences(r, view.Host.Value, view.Pod.Value)
	found = append(found, c.checkResult(prev, view)...)
	if len(found) > 0 {
		return fail(types.ErrInvalidNetworkConfig, "the attachment is not as it should be", errors.New(strings.Join(found, "; ")))
	}
	if err := c.checkStatuses(view); err != nil {
		return err
	}
	if err := c.checkVPP(ctx, r.id); err != nil {
		return err
	}
	if err := c.ipam.run(ctx, "CHECK"); err != nil {
		return c.ipam.error("CHECK", err)
	}
	return nil
}

func missingEnds(view store.View) string {
	var ends []string
	if view.Host == nil {
		ends = append(ends, "the host's end")
	}
	if view.Pod == nil {
		ends = append(ends, "the pod's end")
	}
	return strings.Join(ends, " and ") + " is missing from etcd"
}

// checkStatuses wants the host end Ready as it is desired now, and the pod end
// not Failed: it may not have been started.
func (c *call) checkStatuses(view store.View) error {
	if err := c.agentError(view.Agent, types.ErrTryAgainLater, types.ErrTryAgainLater); err != nil {
		return err
	}
	const msg = "the attachment is not ready"
	st := view.HostStatus
	switch {
	case st == nil:
		return fail(types.ErrTryAgainLater, msg, errors.New("the host's end has no status"))
	case st.Err != nil:
		return fail(types.ErrTryAgainLater, msg, st.Err)
	case st.Value.SpecRevision != view.Host.Rev:
		return fail(types.ErrTryAgainLater, msg, fmt.Errorf("the host's end: the status speaks of revision %d, desired is %d", st.Value.SpecRevision, view.Host.Rev))
	case st.Value.State != schema.Ready:
		return fail(types.ErrTryAgainLater, msg, fmt.Errorf("the host's end: %w", statusText(&st.Value)))
	}
	if pod := view.PodStatus; pod != nil && pod.Err == nil && pod.Value.State == schema.Failed {
		return fail(types.ErrTryAgainLater, msg, fmt.Errorf("the pod's end: %w", statusText(&pod.Value)))
	}
	return nil
}

// checkVPP asks the agent to compare VPP with what is desired now: a change by
// hand that makes no event, as a memif taken out of its bridge, stands in no
// status until the agent's next audit. An agent that cannot be asked here is
// logged, and the statuses count alone.
func (c *call) checkVPP(ctx context.Context, id identity) error {
	rep, err := report.Ask(ctx, c.set.agent)
	if err == nil && rep.Node != string(c.set.node) {
		err = fmt.Errorf("it is of node %s", rep.Node)
	}
	if err != nil {
		c.log.WithField("err", err.Error()).Warn("agent cannot be asked what VPP holds, its statuses count alone")
		return nil
	}
	var found []string
	for _, d := range rep.Drift {
		if slices.Contains(strings.Split(d.Attachment, ","), string(id.container)+"/"+string(id.ifName)) {
			found = append(found, fmt.Sprintf("%s: desired %q, there is %q", d.Object, d.Want, d.Have))
		}
	}
	if len(found) == 0 {
		return nil
	}
	return fail(types.ErrTryAgainLater, "VPP does not hold what is desired, the agent will mend it", errors.New(strings.Join(found, "; ")))
}

// checkResult compares what ADD answered with what is desired.
func (c *call) checkResult(prev *types100.Result, view store.View) []string {
	pod := view.Pod.Value
	index := -1
	for i, in := range prev.Interfaces {
		if in.Name == c.cmd.IfName && in.Sandbox != "" {
			index = i
		}
	}
	if index < 0 {
		return []string{fmt.Sprintf("prevResult.interfaces: no interface %s with a sandbox", c.cmd.IfName)}
	}
	var out []string
	in := prev.Interfaces[index]
	if in.Sandbox != c.cmd.Netns {
		out = append(out, fmt.Sprintf("prevResult.interfaces[%d].sandbox: %s, CNI_NETNS is %s", index, in.Sandbox, c.cmd.Netns))
	}
	if !strings.EqualFold(in.Mac, pod.MAC.String()) {
		out = append(out, fmt.Sprintf("prevResult.interfaces[%d].mac: %q, desired is %q", index, in.Mac, pod.MAC))
	}
	var answered []netip.Addr
	for _, ip := range prev.IPs {
		if ip.Interface != nil && *ip.Interface == index {
			if p, err := prefix("prevResult.ips.address", ip.Address); err == nil {
				answered = append(answered, p.Addr())
			}
		}
	}
	return append(out, compareAddresses(answered, view.Host.Value, pod)...)
}

// compareAddresses wants ADD's answer in the pod's end, and in the host's where
// it is routed (see setAddresses).
func compareAddresses(answered []netip.Addr, host schema.HostInterface, pod schema.PodInterface) []string {
	var inPod []netip.Addr
	for _, p := range pod.Addresses {
		inPod = append(inPod, p.Addr())
	}
	var out []string
	for _, end := range []struct {
		name  string
		holds bool
		list  []netip.Addr
	}{
		{"the host's end", host.NetType == schema.NetInterface, host.PodAddresses},
		{"the pod's end", true, inPod},
	} {
		if !end.holds {
			continue
		}
		for _, a := range answered {
			if !slices.Contains(end.list, a) {
				out = append(out, fmt.Sprintf("prevResult.ips: %s is not desired at %s", a, end.name))
			}
		}
		for _, a := range end.list {
			if !slices.Contains(answered, a) {
				out = append(out, fmt.Sprintf("prevResult.ips: %s is missing, it is desired at %s", a, end.name))
			}
		}
	}
	return out
}
