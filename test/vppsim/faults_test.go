package vppsim_test

import (
	"strings"
	"testing"
	"time"

	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/memclnt"

	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// ask sends control_ping and tells whether an answer came in time.
func (c *client) ask(within time.Duration) bool {
	c.ch.SetReplyTimeout(within)
	defer c.ch.SetReplyTimeout(5 * time.Second)
	return c.ch.SendRequest(&memclnt.ControlPing{}).ReceiveReply(&memclnt.ControlPingReply{}) == nil
}

func control(t *testing.T, sim *vppsim.Sim, line string) string {
	t.Helper()
	answer, err := sim.Control(line)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestRefuse(t *testing.T) {
	sim := start(t)
	c := dial(t, sim)
	control(t, sim, "refuse create_loopback -14 2")
	c.run([]step{
		{"first", &interfaces_api.CreateLoopback{}, -14},
		{"second", &interfaces_api.CreateLoopback{}, -14},
		{"third", &interfaces_api.CreateLoopback{}, 0},
	})
	if got := control(t, sim, "calls create_loopback"); got != "3" {
		t.Errorf("calls %s, want 3", got)
	}
	sim.Refuse("create_loopback", -1, -1)
	c.run([]step{{"for ever", &interfaces_api.CreateLoopback{}, -1}, {"for ever", &interfaces_api.CreateLoopback{}, -1}})
	sim.Refuse("create_loopback", 0, 0)
	c.run([]step{{"no more", &interfaces_api.CreateLoopback{}, 0}})
	got := dump[interfaces_api.SwInterfaceDetails](c, &interfaces_api.SwInterfaceDump{SwIfIndex: anyIface})
	if len(got) != 3 {
		t.Errorf("%d interfaces, want 3: a refused request does nothing", len(got))
	}
	sim.ResetCalls()
	if got := sim.Calls(); len(got) != 0 {
		t.Errorf("calls after a reset: %v", got)
	}
}

// One slow message holds up everybody, as VPP has one main thread.
func TestDelay(t *testing.T) {
	sim := start(t)
	a, b := dial(t, sim), dial(t, sim)
	const delay = 300 * time.Millisecond
	sim.Delay("create_loopback", delay)
	began := time.Now()
	slow := a.ch.SendRequest(&interfaces_api.CreateLoopback{})
	eventually(t, "the slow call came in", func() bool { return sim.Calls()["create_loopback"] == 1 })
	b.must(&memclnt.ControlPing{}, &memclnt.ControlPingReply{})
	if took := time.Since(began); took < delay {
		t.Errorf("another client was served after %v, want %v at least", took, delay)
	}
	if err := slow.ReceiveReply(&interfaces_api.CreateLoopbackReply{}); err != nil {
		t.Error(err)
	}
}

func TestDieOn(t *testing.T) {
	sim := start(t)
	c := dial(t, sim)
	control(t, sim, "die-on create_loopback")
	c.must(&memclnt.ControlPing{}, &memclnt.ControlPingReply{})
	c.ch.SetReplyTimeout(300 * time.Millisecond)
	if err := c.ch.SendRequest(&interfaces_api.CreateLoopback{}).ReceiveReply(&interfaces_api.CreateLoopbackReply{}); err == nil {
		t.Error("answered by the dead")
	}
	<-sim.Done()
	if sim.Alive() {
		t.Error("alive")
	}
	if err := sim.Restart(); err != nil {
		t.Fatal(err)
	}
	dial(t, sim).run([]step{{"it dies once", &interfaces_api.CreateLoopback{}, 0}})
}

func TestHang(t *testing.T) {
	sim := start(t)
	c := dial(t, sim)
	control(t, sim, "hang")
	if c.ask(200 * time.Millisecond) {
		t.Error("answered while hanging")
	}
	control(t, sim, "resume")
	if !c.ask(5 * time.Second) {
		t.Error("no answer after resume")
	}
	sim.Hang()
	if err := sim.Restart(); err != nil {
		t.Fatal(err)
	}
	if !dial(t, sim).ask(5 * time.Second) {
		t.Error("a new VPP hangs")
	}
}

func TestIgnore(t *testing.T) {
	sim := start(t)
	c := dial(t, sim)
	sim.Ignore("control_ping")
	if c.ask(200 * time.Millisecond) {
		t.Error("answered what is ignored")
	}
	sim.ClearFaults()
	if !c.ask(5 * time.Second) {
		t.Error("no answer after the end of the fault")
	}
}

func TestDropConnections(t *testing.T) {
	sim := start(t)
	c := dial(t, sim)
	c.must(&interfaces_api.CreateLoopback{}, &interfaces_api.CreateLoopbackReply{})
	control(t, sim, "drop")
	if c.ask(200 * time.Millisecond) {
		t.Error("the connection is still there")
	}
	eventually(t, "no client", func() bool { return len(sim.Clients()) == 0 })
	if got := dial(t, sim).iface(1); got.InterfaceName != "loop0" {
		t.Errorf("VPP forgot its interface: %+v", got)
	}
}

// A dead VPP breaks its connections, so nobody waits for a time-out of his own.
func TestKillBreaksConnections(t *testing.T) {
	sim := start(t)
	c := dial(t, sim)
	sim.Kill()
	sim.Kill()
	if c.ask(200 * time.Millisecond) {
		t.Error("answered after kill")
	}
	if got := sim.Clients(); len(got) != 0 {
		t.Errorf("clients of the dead: %v", got)
	}
}
