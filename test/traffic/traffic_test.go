package traffic_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vpp-cni/vpp-cni/agent/hostplan"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/traffic"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// way is one way to join two pods through a host.
type way struct {
	name   string
	host   schema.HostInterface
	vlan   uint16
	routed bool
	ipv6   bool
}

var (
	inBridge = schema.HostInterface{NetType: schema.NetBridge, Bridge: &schema.BridgeEnd{Name: "7", DomainID: 7}}
	inVLAN   = schema.HostInterface{NetType: schema.NetBridge, Bridge: &schema.BridgeEnd{Name: "8", DomainID: 8, VLAN: 100}}
	routed   = schema.HostInterface{NetType: schema.NetInterface}
)

var ways = []way{
	{name: "bridge", host: inBridge},
	{name: "bridge IPv6", host: inBridge, ipv6: true},
	{name: "VLAN", host: inVLAN, vlan: 100},
	{name: "routed", host: routed, routed: true},
	{name: "routed IPv6", host: routed, routed: true, ipv6: true},
	{name: "routed IP mode", host: withMode(routed, schema.MemifIP), routed: true},
	{name: "host as slave", host: withRole(inBridge, schema.MemifSlave)},
}

func withMode(h schema.HostInterface, mode schema.MemifMode) schema.HostInterface {
	h.Memif = &schema.MemifEnd{Role: schema.MemifMaster, Mode: mode, Socket: "net1.memif"}
	return h
}

func withRole(h schema.HostInterface, role schema.MemifRole) schema.HostInterface {
	h.Memif = &schema.MemifEnd{Role: role, Mode: schema.MemifEthernet, Socket: "net1.memif"}
	return h
}

// pair is a host's VPP with two pods joined by it.
type pair struct {
	vpp    *vpptest.VPP
	driver *vpp.VPP
	plans  [2]hostplan.Plan
	ends   [2]*traffic.End
}

// join makes host ends as the agent does, and opens the pods' ends.
func join(t *testing.T, w way) *pair {
	t.Helper()
	p := &pair{vpp: vpptest.Start(t)}
	p.driver = p.vpp.Driver(t)
	planner := hostplan.Planner{RunDir: p.vpp.Dir}
	for n := range p.ends {
		id := fmt.Sprintf("pod-%d", n)
		h := w.host
		h.Network, h.Pod, h.IfType = "test", schema.PodRef{ID: schema.PodID(id)}, schema.Memif
		if h.Memif == nil {
			h = withMode(h, schema.MemifEthernet)
		}
		e := traffic.Endpoint{
			Name: id, Master: h.Memif.Role == schema.MemifSlave, IP: h.Memif.Mode == schema.MemifIP,
			VLAN: w.vlan, Routed: w.routed,
			Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.9.0.%d/24", n+2)), netip.MustParsePrefix(fmt.Sprintf("fd00:9::%d/64", n+2))},
		}
		if w.routed {
			e.Gateways = []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fd00:9::1")}
			h.Gateways = e.Gateways
			for _, a := range e.Addresses {
				h.PodAddresses = append(h.PodAddresses, a.Addr())
			}
		}
		if !e.IP {
			h.MAC = schema.DeriveMAC("host", id)
		}
		plan, err := planner.Plan(schema.ContainerID(id), "net1", h)
		if err != nil {
			t.Fatal(err)
		}
		p.vpp.Socket(t, id, "net1") // makes the directory
		p.plans[n], e.Socket = plan, plan.SocketPath
		if p.ends[n], err = traffic.Open(e); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.ends[n].Close)
	}
	p.put(t)
	return p
}

// put makes what the plans want, in the order of the kinds.
func (p *pair) put(t *testing.T) {
	t.Helper()
	for _, k := range model.Kinds() {
		for _, plan := range p.plans {
			for _, o := range plan.Objects {
				if o.ID().Kind == k && k != model.KindDirectory && k != model.KindGatewaySocket {
					vpptest.Put(t, p.driver, o)
				}
			}
		}
	}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (p *pair) start(t *testing.T, o traffic.Options) *traffic.Stream {
	t.Helper()
	s, err := traffic.Start(soon(t), p.ends[0], p.ends[1], o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEveryWay: through a host that is left alone nothing is lost.
func TestEveryWay(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			s := join(t, w).start(t, traffic.Options{IPv6: w.ipv6})
			time.Sleep(500 * time.Millisecond)
			r := s.Stop()
			t.Log(r)
			if r.Lost != 0 || r.Duplicated != 0 || r.Received != r.Sent || r.Sent < 100 {
				t.Errorf("through an idle host: %s", r)
			}
		})
	}
}

// TestCutIsSeen: what the host does not carry is counted as lost, for as long as
// it was cut, and only that.
func TestCutIsSeen(t *testing.T) {
	const cut = 300 * time.Millisecond
	for _, w := range []way{ways[0], ways[3]} {
		t.Run(w.name, func(t *testing.T) {
			p := join(t, w)
			s := p.start(t, traffic.Options{Rate: 500})
			time.Sleep(200 * time.Millisecond)
			member := carrier(t, p.plans[1])
			begin := time.Now()
			if err := p.driver.Delete(t.Context(), member); err != nil {
				t.Fatal(err)
			}
			time.Sleep(cut)
			vpptest.Put(t, p.driver, member)
			if err := s.WaitArrival(soon(t)); err != nil {
				t.Fatal(err)
			}
			took := time.Since(begin)
			time.Sleep(200 * time.Millisecond)
			r := s.Stop()
			t.Log(r)
			if r.Lost == 0 || r.Sent != r.Received+r.Lost {
				t.Fatalf("the host carried nothing for %s: %s", cut, r)
			}
			if r.LongestGap < cut || r.LongestGap > took+100*time.Millisecond {
				t.Errorf("longest gap %s, cut for %s to %s", r.LongestGap, cut, took)
			}
			if len(r.Losses) == 0 || r.Losses[0].At < 150*time.Millisecond {
				t.Errorf("losses %+v, cut after 200 ms", r.Losses)
			}
			if r.Refused != 0 {
				t.Errorf("%d not taken by the ring of a link that stayed up", r.Refused)
			}
		})
	}
}

// carrier is what the second pod is joined by.
func carrier(t *testing.T, plan hostplan.Plan) model.Object {
	t.Helper()
	for _, o := range plan.Objects {
		if k := o.ID().Kind; k == model.KindBridgeMember || k == model.KindRoute {
			return o
		}
	}
	t.Fatal("nothing to cut")
	return nil
}

// TestHostRestarts: the ends come back by themselves, and the gap is seen.
func TestHostRestarts(t *testing.T) {
	p := join(t, ways[0])
	s := p.start(t, traffic.Options{Rate: 500})
	if r := s.Report(); r.Lost != 0 {
		t.Errorf("before the restart: %s", r)
	}
	p.vpp.Restart(t)
	vpptest.Eventually(t, 15*time.Second, func() error {
		if info := p.driver.Info(); !info.Connected {
			return fmt.Errorf("driver is not connected: %w", info.Err)
		}
		_, err := p.driver.Dump(t.Context())
		return err
	})
	p.put(t)
	if err := s.WaitArrival(soon(t)); err != nil {
		t.Fatal(err)
	}
	r := s.Stop()
	t.Log(r)
	if r.Lost == 0 || r.LongestGap == 0 || r.Refused == 0 {
		t.Errorf("VPP was away: %s", r)
	}
	for _, e := range p.ends {
		if e.Connects() != 2 {
			t.Errorf("end %s connected %d times, want 2", e.Name, e.Connects())
		}
	}
}

// TestNothingArrives: a stream that cannot begin says why.
func TestNothingArrives(t *testing.T) {
	p := join(t, ways[0])
	if err := p.driver.Delete(t.Context(), carrier(t, p.plans[1])); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := traffic.Start(ctx, p.ends[0], p.ends[1], traffic.Options{}); err == nil {
		t.Error("the stream began")
	}
}
