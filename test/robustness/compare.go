package robustness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/report"
)

//nolint:gochecknoglobals // an option without state
var withPrefix = clientv3.WithPrefix()

// compare says how the world differs from the model, where everything is at
// rest.
func (w *world) compare() (broken, error) {
	keys, err := w.keysUnder(w.keys.Root())
	if err != nil {
		return nil, err
	}
	v, err := w.eye.look(w.ctx)
	if err != nil {
		return nil, err
	}
	want := w.model.all(attached)
	b := w.stranger.compare(v)
	b = append(b, w.compareKeys(want, keys, v)...)
	b = append(b, w.compareInterfaces(want, keys, v)...)
	b = append(b, w.compareShared(want, keys, v)...)
	b = append(b, w.compareRoutes(want, v)...)
	left, err := w.compareFiles(want, v)
	if err != nil {
		return nil, err
	}
	return append(append(b, left...), w.verify()...), nil
}

// compareKeys wants the desired values and statuses of exactly the attachments.
func (w *world) compareKeys(want []*attachment, keys map[string]stored, v view) (b broken) {
	expected := map[string]bool{w.keys.Agent(nodeName): true}
	for _, a := range want {
		c, i, uid := schema.ContainerID(a.key.container), schema.IfName(a.key.ifname), schema.PodID(a.uid)
		host, hostStatus := w.keys.Host(nodeName, c, i), w.keys.HostStatus(nodeName, c, i)
		pod, podStatus := w.keys.PodInterface(nodeName, uid, i), w.keys.PodStatus(nodeName, uid, i)
		expected[host], expected[hostStatus], expected[pod] = true, true, true
		w.compareStatus(&b, a, keys, host, hostStatus, v.tagged(a.tag()))
		if a.owner.heavy {
			expected[podStatus] = true
			w.compareStatus(&b, a, keys, pod, podStatus, nil)
		}
		if _, ok := keys[pod]; !ok {
			b.add(errConverges, []string{a.owner.name}, "etcd has no %s", pod)
		}
	}
	for key := range keys {
		if !expected[key] && strings.HasPrefix(key, w.keys.NodePrefix(nodeName)) && !w.witness(want, key, keys[key]) {
			b.add(errNoLeak, w.ownersOf(key), "etcd holds %s", key)
		}
	}
	return b
}

// witness says whether a key is what a DEL leaves for a pod's agent that has said
// nothing yet, as one that does not run: it goes with the pod's last interface.
func (w *world) witness(want []*attachment, key string, v stored) bool {
	ref, err := w.keys.Parse(key)
	if err != nil || ref.Kind != schema.KeyPodStatus {
		return false
	}
	st, err := schema.Decode[schema.InterfaceStatus](v.value)
	return err == nil && st.State == schema.Removed && slices.ContainsFunc(want, func(a *attachment) bool {
		return a.uid == string(ref.Pod) && !a.owner.heavy
	})
}

// ownersOf are the pods that a key or a path speaks of.
func (w *world) ownersOf(text string) []string {
	var out []string
	for _, p := range w.pods {
		if strings.Contains(text, p.sandbox.Container) || strings.Contains(text, p.sandbox.UID) {
			out = append(out, p.name)
		}
	}
	return out
}

// compareStatus wants a status that says Ready, of this very value, with the
// link up where somebody is at the other end.
func (w *world) compareStatus(b *broken, a *attachment, keys map[string]stored, key, statusKey string, found []iface) {
	names := []string{a.owner.name}
	spec, ok := keys[key]
	if !ok {
		b.add(errConverges, names, "etcd has no %s", key)
		return
	}
	value, ok := keys[statusKey]
	if !ok {
		b.add(errStatusTruth, names, "etcd has no %s", statusKey)
		return
	}
	st, err := schema.Decode[schema.InterfaceStatus](value.value)
	switch {
	case err != nil:
		b.add(errStatusTruth, names, "%s: %v", statusKey, err)
	case st.State != schema.Ready || st.SpecRevision != spec.rev:
		b.add(errStatusTruth, names, "%s says %s (%s) %q of revision %d, the value is of %d", statusKey, st.State, st.Reason, st.Message, st.SpecRevision, spec.rev)
	case a.owner.heavy && st.Link != schema.LinkUp:
		b.add(errStatusTruth, names, "%s says that the link is %s", statusKey, st.Link)
	case !a.owner.heavy && st.Link != schema.LinkDown:
		b.add(errStatusTruth, names, "%s says that the link is %s, nobody is at the other end", statusKey, st.Link)
	case len(found) == 1 && (st.SwIfIndex == nil || *st.SwIfIndex != found[0].index || st.Interface != found[0].name):
		b.add(errStatusTruth, names, "%s says %s, VPP has %s (%d)", statusKey, st.Interface, found[0].name, found[0].index)
	}
}

// compareInterfaces wants one interface for each attachment, as its network
// says, and no other of ours.
func (w *world) compareInterfaces(want []*attachment, keys map[string]stored, v view) (b broken) {
	tags := map[string]bool{}
	for _, a := range want {
		names := []string{a.owner.name}
		tags[a.tag()], tags[a.member()] = true, true
		found := v.tagged(a.tag())
		if len(found) != 1 {
			b.add(errConverges, names, "VPP has %d interfaces with the tag %s of %s on %s", len(found), a.tag(), a.key, a.network.name)
			continue
		}
		i := found[0]
		if !i.up {
			b.add(errConverges, names, "%s of %s is admin-down", i.name, a.key)
		}
		if a.network.mtu != 0 && i.mtu != a.network.mtu {
			b.add(errConverges, names, "%s of %s has MTU %d, not %d", i.name, a.key, i.mtu, a.network.mtu)
		}
		if a.network.bridge == "" {
			continue
		}
		members := v.tagged(a.member())
		domain := w.domain(a.network, keys)
		if len(members) != 1 || !members[0].up || !slices.Contains(v.bridges[domain], members[0].index) {
			b.add(errConverges, names, "%s of %s is not in bridge domain %d: %v among %v", i.name, a.key, domain, members, v.bridges[domain])
		}
	}
	for _, i := range v.interfaces {
		if strings.HasPrefix(i.tag, ours) && !strings.HasPrefix(i.tag, ours+"gw/") && !tags[i.tag] {
			b.add(errNoLeak, nil, "VPP holds %s with the tag %s", i.name, i.tag)
		}
		if i.tag == "" && strings.HasPrefix(i.name, "memif") && i.index != w.stranger.memif || i.tag == "somebody's" {
			b.add(errNoLeak, nil, "VPP holds %s (%d) with the tag %q", i.name, i.index, i.tag)
		}
	}
	return b
}

// domain is the bridge-domain id of a network, by its number or by its record.
func (w *world) domain(n network, keys map[string]stored) uint32 {
	if id, err := strconv.ParseUint(n.bridge, 10, 32); err == nil {
		return uint32(id)
	}
	record, err := schema.Decode[schema.Network](keys[w.keys.Network(schema.NetworkName(n.bridge))].value)
	if err != nil {
		return 0
	}
	return record.DomainID
}

// compareShared wants what several attachments share to be there while one of
// them is, and no longer.
func (w *world) compareShared(want []*attachment, keys map[string]stored, v view) (b broken) {
	domains, routed, sockets := map[uint32]bool{}, map[string]bool{}, map[string]bool{}
	for _, a := range want {
		if a.network.bridge != "" {
			domains[w.domain(a.network, keys)] = true
		}
		if a.network.routed {
			routed[a.network.name] = true
		}
		path := w.socket(a)
		sockets[path] = true
		if _, ok := v.sockets[path]; !ok {
			b.add(errConverges, []string{a.owner.name}, "VPP has no memif socket %s of %s", path, a.key)
		}
	}
	for id, tag := range v.tags {
		if strings.HasPrefix(tag, ours) && !domains[id] {
			b.add(errNoLeak, nil, "VPP holds bridge domain %d with the tag %s", id, tag)
		}
	}
	gateways := 0
	for _, i := range v.interfaces {
		if strings.HasPrefix(i.tag, ours+"gw/") {
			gateways++
		}
	}
	if gateways != len(routed) {
		b.add(leakOrLoss(gateways > len(routed)), nil, "VPP has %d gateways' loopbacks for %d routed networks", gateways, len(routed))
	}
	for path := range v.sockets {
		if path != w.stranger.socket && !sockets[path] {
			b.add(errNoLeak, w.ownersOf(path), "VPP holds the memif socket %s", path)
		}
	}
	return b
}

func leakOrLoss(more bool) error {
	if more {
		return errNoLeak
	}
	return errConverges
}

// compareRoutes wants a host route for each address of a routed network, and no
// other.
func (w *world) compareRoutes(want []*attachment, v view) (b broken) {
	expected := map[string]bool{}
	for _, a := range want {
		if !a.network.routed {
			continue
		}
		found := v.tagged(a.tag())
		for _, ip := range a.ips {
			key := routeKey(a.network.vrf, netip.PrefixFrom(ip.Addr(), ip.Addr().BitLen()))
			expected[key] = true
			if len(found) == 1 && !slices.Contains(v.routes[key], found[0].index) {
				b.add(errConverges, []string{a.owner.name}, "the route %s of %s leads to %v, not to %d", key, a.key, v.routes[key], found[0].index)
			}
		}
	}
	for key, to := range v.routes {
		_, prefix, _ := strings.Cut(key, " ")
		p, err := netip.ParsePrefix(prefix)
		if err != nil || !p.IsSingleIP() || expected[key] || isGateway(p.Addr()) {
			continue
		}
		for _, n := range networks() {
			if n.routed && n.holds(p.Addr()) {
				b.add(errNoLeak, nil, "VPP holds the route %s to %v", key, to)
			}
		}
	}
	return b
}

// isGateway says whether an address is the one that host-local gives as the
// gateway: the first of its subnet.
func isGateway(a netip.Addr) bool {
	for _, n := range networks() {
		for _, s := range n.subnets {
			if netip.MustParsePrefix(s).Addr().Next() == a {
				return true
			}
		}
	}
	return false
}

// verify asks the agents themselves.
func (w *world) verify() (b broken) {
	ask := func(name string, get func(context.Context, string) (int, string, error), inSync func(report.Report) bool) {
		code, body, err := get(w.ctx, "/verify")
		var r report.Report
		switch {
		case err != nil:
			b.add(errConverges, []string{name}, "agent of %s: %v", name, err)
		case code != http.StatusOK || json.Unmarshal([]byte(body), &r) != nil || !inSync(r):
			b.add(errConverges, []string{name}, "agent of %s says: %s", name, strings.TrimSpace(body))
		}
	}
	ask(nodeName, w.node.Get, func(r report.Report) bool { return r.InSync })
	for _, p := range w.heavy() {
		// The gateway goes with a pod's last attachment: an agent that was away, or
		// whose node's agent was, is told nothing more.
		if w.model.attached(p.sandbox.UID) {
			ask(p.name, p.sandbox.Get, func(r report.Report) bool { return r.InSync || w.holdsOnly(p, r) })
		}
	}
	return b
}

// holdsOnly says whether a pod's agent has nothing to do and holds nothing but
// what it may.
func (w *world) holdsOnly(p *pod, r report.Report) bool {
	return len(r.Drift) == 0 && len(r.Pending) == 0 && !slices.ContainsFunc(r.Held, func(h report.Held) bool {
		return !w.model.mayHold(p.sandbox.UID, strings.TrimPrefix(h.Attachment, "pod/"))
	})
}

// socket is the path of an attachment's memif socket.
func (w *world) socket(a *attachment) string {
	return fmt.Sprintf("%s/%s.memif", w.podDir(a.uid), a.key.ifname)
}
