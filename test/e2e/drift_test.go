package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.fd.io/govpp/binapi/ethernet_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/l2"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/report"
	"github.com/vpp-cni/vpp-cni/test/traffic"
)

// audit is the agent's audit interval in these tests, the shortest that it takes.
const audit = time.Second

// auditOften restarts the agent with a short audit interval.
func (n node) auditOften(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(n.ConfigFile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "  auditInterval: %s\n", audit) // the section of the agent is the last
	if err = errors.Join(err, f.Close(), n.Agent.Stop(), n.Agent.Start(), n.WaitReady(timeout(t))); err != nil {
		t.Fatal(err)
	}
}

// scene is two pods of one network, and what an operator finds of the second.
type scene struct {
	*flow
	op *operator
	// iface is the second pod's interface at the host.
	iface  index
	status schema.InterfaceStatus
	socket string
	// other is the first pod's.
	other    index
	otherTag string
	host     schema.HostInterface
	vrf      uint32
	gateway4 string
	addrs    []netip.Addr
}

func (s *scene) tag(ctx context.Context, i index) (string, error) {
	d, err := s.op.find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return d.SwIfIndex == i })
	if err != nil {
		return "", err
	}
	return d.Tag, nil
}

// edit is what an operator does to VPP.
type edit struct {
	name string
	do   func(ctx context.Context, s *scene) error
	// harmless: no packet may be lost, whatever the agent does about it.
	harmless bool
	// unseen: VPP shows nothing of it.
	unseen bool
}

var foreignMAC = ethernet_types.MacAddress{2, 0, 0, 0, 0, 9}

// anyEdits are those of a memif, however it is joined.
var anyEdits = []edit{
	{name: "interface deleted", do: func(ctx context.Context, s *scene) error { return s.op.deleteMemif(ctx, s.iface) }},
	{name: "interface and socket id deleted", do: func(ctx context.Context, s *scene) error {
		return errors.Join(s.op.deleteMemif(ctx, s.iface), s.op.deleteSocket(ctx, s.socket))
	}},
	{name: "admin-down", do: func(ctx context.Context, s *scene) error { return s.op.admin(ctx, s.iface, 0) }},
	{name: "MAC changed", do: func(ctx context.Context, s *scene) error { return s.op.setMAC(ctx, s.iface, foreignMAC) }},
	{name: "MTU changed", harmless: true, do: func(ctx context.Context, s *scene) error { return s.op.setMTU(ctx, s.iface, 1300) }},
	{name: "tag removed", harmless: true, do: func(ctx context.Context, s *scene) error { return s.op.setTag(ctx, s.iface, "") }},
	{name: "tag foreign", harmless: true, do: func(ctx context.Context, s *scene) error { return s.op.setTag(ctx, s.iface, "mine now") }},
	{name: "tag of ours that nobody has", harmless: true, do: func(ctx context.Context, s *scene) error {
		return s.op.setTag(ctx, s.iface, "vpp-cni/net1/nobody")
	}},
	{name: "tag of the other pod", harmless: true, do: func(ctx context.Context, s *scene) error {
		return s.op.setTag(ctx, s.iface, s.otherTag)
	}},
	{name: "mark removed", harmless: true, do: func(ctx context.Context, s *scene) error {
		own, err := s.tag(ctx, s.iface)
		bare, _, _ := strings.Cut(own, "#")
		return errors.Join(err, s.op.setTag(ctx, s.iface, bare))
	}},
	{name: "mark of another secret", harmless: true, do: func(ctx context.Context, s *scene) error {
		own, err := s.tag(ctx, s.iface)
		bare, _, _ := strings.Cut(own, "#")
		return errors.Join(err, s.op.setTag(ctx, s.iface, bare+"#AAAAAAAAAAA"))
	}},
	{name: "tags swapped", harmless: true, do: func(ctx context.Context, s *scene) error {
		own, err := s.tag(ctx, s.iface)
		return errors.Join(err, s.op.setTag(ctx, s.iface, s.otherTag), s.op.setTag(ctx, s.other, own))
	}},
}

var bridgeEdits = append([]edit{
	{name: "moved to another bridge domain", do: func(ctx context.Context, s *scene) error {
		return s.op.bridge(ctx, s.iface, foreignDomain, true)
	}},
	{name: "taken out of the bridge domain", do: func(ctx context.Context, s *scene) error {
		return s.op.bridge(ctx, s.iface, 0, false)
	}},
	{name: "bridge domain does not forward", do: func(ctx context.Context, s *scene) error {
		_, err := s.op.l2.BridgeFlags(ctx, &l2.BridgeFlags{BdID: s.domain(), Flags: l2.BRIDGE_API_FLAG_FWD | l2.BRIDGE_API_FLAG_FLOOD})
		return err
	}},
	{name: "bridge domain deleted", do: func(ctx context.Context, s *scene) error {
		return errors.Join(s.op.bridge(ctx, s.iface, 0, false), s.op.bridge(ctx, s.other, 0, false), s.op.bridgeDomain(ctx, s.domain(), false))
	}},
}, anyEdits...)

var vlanEdits = []edit{
	{name: "tag rewrite off", do: func(ctx context.Context, s *scene) error {
		sub, err := s.sub(ctx)
		if err == nil {
			_, err = s.op.l2.L2InterfaceVlanTagRewrite(ctx, &l2.L2InterfaceVlanTagRewrite{SwIfIndex: sub})
		}
		return err
	}},
	{name: "sub-interface without its tag", harmless: true, do: func(ctx context.Context, s *scene) error {
		sub, err := s.sub(ctx)
		return errors.Join(err, s.op.setTag(ctx, sub, "mine now"))
	}},
	{name: "sub-interface and interface without their tags", harmless: true, do: func(ctx context.Context, s *scene) error {
		sub, err := s.sub(ctx)
		return errors.Join(err, s.op.setTag(ctx, sub, ""), s.op.setTag(ctx, s.iface, ""))
	}},
	{name: "sub-interface deleted", do: func(ctx context.Context, s *scene) error {
		sub, err := s.sub(ctx)
		if err == nil {
			_, err = s.op.intf.DeleteSubif(ctx, &interfaces.DeleteSubif{SwIfIndex: sub})
		}
		return err
	}},
}

// onGateway is an edit of the loopback that the gateways stand on.
func onGateway(do func(context.Context, *scene, index) error) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error {
		gw, err := s.op.gateway(ctx)
		if err != nil {
			return err
		}
		return do(ctx, s, gw)
	}
}

var routedEdits = append([]edit{
	{name: "address of the gateway removed", do: onGateway(func(ctx context.Context, s *scene, gw index) error {
		return s.op.address(ctx, gw, s.gateway4+"/32", false)
	})},
	{name: "address of the gateway changed", do: onGateway(func(ctx context.Context, s *scene, gw index) error {
		return errors.Join(s.op.address(ctx, gw, s.gateway4+"/32", false), s.op.address(ctx, gw, "10.99.0.1/32", true))
	})},
	{name: "address added to the gateway", harmless: true, do: onGateway(func(ctx context.Context, s *scene, gw index) error {
		return s.op.address(ctx, gw, "10.99.0.2/32", true)
	})},
	{name: "gateway down", do: onGateway(func(ctx context.Context, s *scene, gw index) error { return s.op.admin(ctx, gw, 0) })},
	{name: "gateway without its tag", harmless: true, do: onGateway(func(ctx context.Context, s *scene, gw index) error {
		return s.op.setTag(ctx, gw, "mine now")
	})},
	{name: "gateway deleted", do: onGateway(func(ctx context.Context, s *scene, gw index) error {
		_, err := s.op.intf.DeleteLoopback(ctx, &interfaces.DeleteLoopback{SwIfIndex: gw})
		return err
	})},
	{name: "interface with an address of its own", do: func(ctx context.Context, s *scene) error {
		_, err := s.op.intf.SwInterfaceSetUnnumbered(ctx, &interfaces.SwInterfaceSetUnnumbered{UnnumberedSwIfIndex: s.iface})
		return errors.Join(err, s.op.address(ctx, s.iface, "10.98.0.1/24", true))
	}},
	{name: "routes to the pod deleted", do: func(ctx context.Context, s *scene) error {
		var errs []error
		for _, a := range s.addrs {
			errs = append(errs, s.op.route(ctx, s.vrf, a, s.iface, false))
		}
		return errors.Join(errs...)
	}},
	{name: "route to the pod leads elsewhere", do: func(ctx context.Context, s *scene) error {
		return errors.Join(s.op.route(ctx, s.vrf, s.addrs[0], s.iface, false), s.op.route(ctx, s.vrf, s.addrs[0], s.other, true))
	}},
}, anyEdits...)

// vrfEdits: VPP takes a table's delete for the end of the API's own hold on it. The
// table, its name and its routes stay while interfaces are in it.
var vrfEdits = []edit{
	{name: "IPv4 table deleted", harmless: true, unseen: true, do: func(ctx context.Context, s *scene) error { return s.op.table(ctx, s.vrf, false, false) }},
	{name: "IPv6 table deleted", harmless: true, unseen: true, do: func(ctx context.Context, s *scene) error { return s.op.table(ctx, s.vrf, true, false) }},
	{name: "routes flushed", do: func(ctx context.Context, s *scene) error {
		_, err := s.op.ip.IPTableFlush(ctx, &ip.IPTableFlush{Table: ip.IPTable{TableID: s.vrf}})
		return err
	}},
}

// TestDrift has an operator change in VPP whatever the agent made, one thing
// after the other, under a stream of packets: each is found by an event or by the
// audit, counted, logged and mended, what is foreign stays as it is, and the pods
// of another network notice nothing.
func TestDrift(t *testing.T) {
	vrf := network{
		name: "vrf", host: `{"engine": "vpp", "iftype": "memif", "netType": "interface"}`,
		subnet4: "10.7.0.0/24", subnet6: "fd00:7::/64",
	}
	for _, tt := range []struct {
		net   network
		vrf   uint32
		edits []edit
	}{{memifs[0], 0, bridgeEdits}, {memifs[1], 0, vlanEdits}, {memifs[2], 0, routedEdits}, {vrf, 10, vrfEdits}} {
		t.Run(tt.net.name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t)
			n := c.node(t)
			n.auditOften(t)
			op := n.operator(t)
			if tt.vrf != 0 {
				if _, err := c.store.PutNetwork(timeout(t), schema.NetworkName(tt.net.name), schema.Network{VRF: tt.vrf}, 0); err != nil {
					t.Fatal(err)
				}
			}
			neighbor := c.flow(t, n, network{
				name:    "neighbor",
				host:    `{"engine": "vpp", "iftype": "memif", "netType": "bridge", "bridge": {"bridgeName": "neighbor"}}`,
				subnet4: "10.20.0.0/24",
			}, traffic.Options{})
			f := c.flow(t, n, tt.net, traffic.Options{})
			intact, err := op.settle(timeout(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range tt.edits {
				t.Run(e.name, func(t *testing.T) { c.drift(t, n, f, op, tt.vrf, e) })
			}
			if err := intact(timeout(t)); err != nil {
				t.Errorf("foreign objects: %v", err)
			}
			f.Stop()
			requireNothingLost(t, []*flow{neighbor})
		})
	}
}

// drift carries one edit out and waits until it is mended.
func (c *cluster) drift(t *testing.T, n node, f *flow, op *operator, vrf uint32, e edit) {
	t.Helper()
	s := c.scene(t, f, op, vrf)
	drifts, lost := n.drifts(t), f.Report().Lost
	begin := time.Now()
	if err := e.do(timeout(t), s); err != nil {
		t.Fatalf("edit: %v", err)
	}
	if e.unseen {
		rest(t, audit+audit/2)
	} else {
		eventually(t, "the edit to be counted as drift", func() string {
			if n.drifts(t) == drifts {
				return "not"
			}
			return ""
		})
	}
	eventually(t, "VPP to be mended", func() string { return n.unmended(t) })
	eventually(t, "status of the attachment", func() string {
		if v := c.look(t, f.pods[1]); v.HostStatus == nil || v.HostStatus.Value.State != schema.Ready {
			return "not Ready"
		}
		return ""
	})
	mended := time.Since(begin)
	f.reconnect(t)
	if err := f.WaitArrival(timeout(t)); err != nil {
		t.Fatal(err)
	}
	f.pods[1].check(t, f.list)
	if !e.unseen && !strings.Contains(n.Agent.LogTail(1000), "drift found") {
		t.Error("the agent's log says nothing of drift")
	}
	now := f.Report().Lost - lost
	t.Logf("mended after %s, %d packets lost", mended.Round(time.Millisecond), now)
	if e.harmless && now != 0 {
		t.Errorf("%d packets lost over a change that need not cut anybody: %s", now, f.Report())
	}
}

// scene is what the operator finds.
func (c *cluster) scene(t *testing.T, f *flow, op *operator, vrf uint32) *scene {
	t.Helper()
	s := &scene{flow: f, op: op, vrf: vrf}
	v, other := c.look(t, f.pods[1]), c.look(t, f.pods[0])
	s.status, s.socket = v.HostStatus.Value, v.HostStatus.Value.SocketPath
	s.host, s.addrs = v.Host.Value, v.Host.Value.PodAddresses
	if len(s.host.Gateways) > 0 {
		s.gateway4 = s.host.Gateways[0].String()
	}
	var err error
	if s.iface, err = op.named(timeout(t), s.status.Interface); err != nil {
		t.Fatal(err)
	}
	if s.other, err = op.named(timeout(t), other.HostStatus.Value.Interface); err != nil {
		t.Fatal(err)
	}
	if s.otherTag, err = s.tag(timeout(t), s.other); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) domain() uint32 { return s.host.Bridge.DomainID }

// sub is the VLAN sub-interface on the second pod's memif.
func (s *scene) sub(ctx context.Context) (index, error) {
	return s.op.named(ctx, fmt.Sprintf("%s.%d", s.status.Interface, s.host.Bridge.VLAN))
}

// unmended says what the agent's own report still finds different.
func (n node) unmended(t *testing.T) string {
	t.Helper()
	r, err := report.Ask(timeout(t), "unix://"+n.HTTP)
	switch {
	case err != nil:
		return err.Error()
	case !r.InSync:
		return fmt.Sprintf("%+v %+v", r.Drift, r.Pending)
	}
	return ""
}

// drifts is how often the agent has found an object otherwise than it left it.
func (n node) drifts(t *testing.T) float64 {
	t.Helper()
	v, err := n.Metric(timeout(t), "vppcni_drift_total")
	if err != nil {
		t.Fatal(err)
	}
	return v
}
