package vppsim_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/binapi/ping"
	"go.fd.io/govpp/binapi/vhost_user"
	"go.fd.io/govpp/binapi/vlib"
	"go.fd.io/govpp/binapi/vpe"

	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

func TestConnect(t *testing.T) {
	sim := start(t)
	c := dial(t, sim)

	var pong memclnt.ControlPingReply
	c.must(&memclnt.ControlPing{}, &pong)
	if pong.VpePID != sim.PID() {
		t.Errorf("control_ping tells pid %d, want %d", pong.VpePID, sim.PID())
	}
	var version vpe.ShowVersionReply
	c.must(&vpe.ShowVersion{}, &version)
	if version.Version != "25.10-release" || version.Program != "vpe" {
		t.Errorf("show_version: %+v", version)
	}
	var versions memclnt.APIVersionsReply
	c.must(&memclnt.APIVersions{}, &versions)
	if len(versions.APIVersions) < 10 {
		t.Errorf("api_versions: %+v", versions)
	}
	var first memclnt.GetFirstMsgIDReply
	c.must(&memclnt.GetFirstMsgID{Name: "memif_d48ac702"}, &first)
	if first.FirstMsgID == 0 {
		t.Error("no first message id of memif")
	}
	var threads vlib.ShowThreadsReply
	c.must(&vlib.ShowThreads{}, &threads)
	if len(threads.ThreadData) != 1 || threads.ThreadData[0].Name != "vpp_main" {
		t.Errorf("show_threads: %+v", threads)
	}
}

func TestCompatible(t *testing.T) {
	c := dial(t, start(t))
	for name, check := range map[string]error{
		"interface":   c.ch.CheckCompatiblity(interfaces_api.AllMessages()...),
		"ip":          c.ch.CheckCompatiblity(ip.AllMessages()...),
		"ip_neighbor": c.ch.CheckCompatiblity(ip_neighbor.AllMessages()...),
		"l2":          c.ch.CheckCompatiblity(l2.AllMessages()...),
		"memif":       c.ch.CheckCompatiblity(memif.AllMessages()...),
		"ping":        c.ch.CheckCompatiblity(ping.AllMessages()...),
		"vhost_user":  c.ch.CheckCompatiblity(vhost_user.AllMessages()...),
	} {
		if check != nil {
			t.Errorf("%s: %v", name, check)
		}
	}
}

func TestUnsimulatedMessage(t *testing.T) {
	c := dial(t, start(t))
	c.run([]step{{"a message of VPP that is not simulated", &l2.L2FibClearTable{}, -9}})
}

func TestClientsComeAndGo(t *testing.T) {
	sim := start(t)
	a, b := dial(t, sim), dial(t, sim)
	if got := len(sim.Clients()); got != 2 {
		t.Errorf("%d clients, want 2", got)
	}
	a.must(&interfaces_api.CreateLoopback{}, &interfaces_api.CreateLoopbackReply{})
	if got := b.iface(1).InterfaceName; got != "loop0" {
		t.Errorf("the other client sees %q", got)
	}
	a.close()
	eventually(t, "one client", func() bool { return len(sim.Clients()) == 1 })
	b.must(&memclnt.ControlPing{}, &memclnt.ControlPingReply{})
	b.close()
	eventually(t, "no client", func() bool { return len(sim.Clients()) == 0 })
}

func TestRestart(t *testing.T) {
	sim := start(t)
	c := dial(t, sim)
	c.must(&interfaces_api.CreateLoopback{}, &interfaces_api.CreateLoopbackReply{})
	before, ended := sim.PID(), sim.Done()
	if err := sim.Restart(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if sim.PID() == before {
		t.Error("the PID is the same after a restart")
	}
	if !sim.Alive() {
		t.Error("not alive after a restart")
	}
	if err := c.ch.SendRequest(&memclnt.ControlPing{}).ReceiveReply(&memclnt.ControlPingReply{}); err == nil {
		t.Error("the old connection survived")
	}
	c = dial(t, sim)
	got := dump[interfaces_api.SwInterfaceDetails](c, &interfaces_api.SwInterfaceDump{SwIfIndex: anyIface})
	if len(got) != 1 {
		t.Errorf("a new VPP is not empty: %+v", got)
	}
}

func TestGivenPIDHoldsForOneLife(t *testing.T) {
	sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(t.TempDir(), "api.sock"), PID: 4711})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	if sim.PID() != 4711 {
		t.Errorf("pid %d", sim.PID())
	}
	if err := sim.Restart(); err != nil {
		t.Fatal(err)
	}
	if sim.PID() == 4711 {
		t.Error("the second life has the PID of the first")
	}
}

func TestNoDirectory(t *testing.T) {
	if sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(t.TempDir(), "no", "api.sock")}); err == nil {
		sim.Close()
		t.Error("started without a directory for its socket")
	}
	if sim, err := vppsim.Start(vppsim.Config{}); err == nil {
		sim.Close()
		t.Error("started without a socket")
	}
}

func TestInterfaceEvents(t *testing.T) {
	c := dial(t, start(t))
	watch, err := c.conn.WatchEvent(context.Background(), &interfaces_api.SwInterfaceEvent{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	want := func(what string, e interfaces_api.SwInterfaceEvent) {
		t.Helper()
		e.PID = 77
		select {
		case got := <-watch.Events():
			if *got.(*interfaces_api.SwInterfaceEvent) != e {
				t.Errorf("%s: event %+v, want %+v", what, got, e)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: no event", what)
		}
	}
	c.run([]step{
		{"end what never began", &interfaces_api.WantInterfaceEvents{PID: 77}, -31},
		{"begin", &interfaces_api.WantInterfaceEvents{EnableDisable: 1, PID: 77}, 0},
		{"begin twice", &interfaces_api.WantInterfaceEvents{EnableDisable: 1, PID: 77}, -31},
		{"interface", &interfaces_api.CreateLoopback{}, 0},
	})
	want("created", interfaces_api.SwInterfaceEvent{SwIfIndex: 1})
	c.admin(1, true)
	want("up", interfaces_api.SwInterfaceEvent{SwIfIndex: 1, Flags: admin | link})
	c.admin(1, true)
	c.admin(1, false)
	want("down, and nothing for the second up", interfaces_api.SwInterfaceEvent{SwIfIndex: 1})
	c.must(&interfaces_api.DeleteLoopback{SwIfIndex: 1}, &interfaces_api.DeleteLoopbackReply{})
	want("deleted", interfaces_api.SwInterfaceEvent{SwIfIndex: 1, Deleted: true})
	c.run([]step{
		{"end", &interfaces_api.WantInterfaceEvents{PID: 77}, 0},
		{"interface", &interfaces_api.CreateLoopback{}, 0},
		{"something after it", &memclnt.ControlPing{}, 0},
	})
	select {
	case e := <-watch.Events():
		t.Errorf("event after the end: %+v", e)
	default:
	}
}

func TestCLI(t *testing.T) {
	c := dial(t, start(t))
	c.socket(5, filepath.Join(t.TempDir(), "s"))
	c.memif(&memif.MemifCreateV2{SocketID: 5})
	for command, want := range map[string]string{
		"show version":        "25.10-release",
		"sh int":              "memif5/0",
		" show  interface\n":  "memif5/0",
		"show memif":          "interface memif5/0",
		"show bridge-domain":  "BD-ID",
		"show inter rx-place": "",
	} {
		var r vlib.CliInbandReply
		rv := c.call(&vlib.CliInband{Cmd: command}, &r)
		if want == "" && rv != -1 {
			t.Errorf("%q: retval %d, want -1", command, rv)
		}
		if want != "" && (rv != 0 || !contains(r.Reply, want)) {
			t.Errorf("%q: retval %d, %q lacks %q", command, rv, r.Reply, want)
		}
	}
}

func TestControlErrors(t *testing.T) {
	sim := start(t)
	for _, line := range []string{"", "frobnicate", "refuse x", "refuse x y", "refuse x -1 y", "delay x soon", "hang now"} {
		if _, err := sim.Control(line); !errors.Is(err, vppsim.ErrCommand) {
			t.Errorf("%q: %v", line, err)
		}
	}
}
