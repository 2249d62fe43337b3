package vppsim_test

import (
	"testing"

	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/binapi/vpe"
)

func TestConnect(t *testing.T) {
	sim := start(t)
	c := dial(t, sim)

	var ping memclnt.ControlPingReply
	c.must(&memclnt.ControlPing{}, &ping)
	if ping.VpePID != sim.PID() {
		t.Errorf("control_ping tells pid %d, want %d", ping.VpePID, sim.PID())
	}
	var version vpe.ShowVersionReply
	c.must(&vpe.ShowVersion{}, &version)
	if version.Version != "25.10-release" || version.Program != "vpe" {
		t.Errorf("show_version: %+v", version)
	}
	if err := c.ch.CheckCompatiblity(append(memif.AllMessages(), l2.AllMessages()...)...); err != nil {
		t.Errorf("compatibility: %v", err)
	}
	got := dump[interfaces_api.SwInterfaceDetails](c, &interfaces_api.SwInterfaceDump{SwIfIndex: ^interfaces_api.SwInterfaceDump{}.SwIfIndex})
	if len(got) != 1 || got[0].InterfaceName != "local0" {
		t.Errorf("interfaces of an empty VPP: %+v", got)
	}
	var sock memif.MemifSocketFilenameAddDelV2Reply
	c.must(&memif.MemifSocketFilenameAddDelV2{IsAdd: true, SocketID: ^uint32(0), SocketFilename: t.TempDir() + "/m.sock"}, &sock)
	var made memif.MemifCreateV2Reply
	c.must(&memif.MemifCreateV2{SocketID: sock.SocketID}, &made)
	if sock.SocketID != 1013904223 {
		t.Errorf("drawn socket id: %d", sock.SocketID)
	}

	if got := sim.Clients(); len(got) != 1 {
		t.Errorf("clients: %v", got)
	}
	c.close()
	eventually(t, "no client", func() bool { return len(sim.Clients()) == 0 })
}
