package vppsim_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/binapi/ping"
)

// ping lets the VPP ping and gives the number of answers. There is one watcher a
// connection: GoVPP v0.13.0 panics when one of two for the same event is closed.
func (c *client) ping(to string, repeat uint32) uint32 {
	c.t.Helper()
	if c.done == nil {
		watch, err := c.conn.WatchEvent(context.Background(), &ping.PingFinishedEvent{})
		if err != nil {
			c.t.Fatal(err)
		}
		c.done = watch
	}
	c.must(&ping.WantPingFinishedEvents{Address: address(c.t, to), Repeat: repeat, Interval: 0.5},
		&ping.WantPingFinishedEventsReply{})
	select {
	case e := <-c.done.Events():
		return e.(*ping.PingFinishedEvent).ReplyCount
	case <-time.After(20 * time.Second):
		c.t.Fatalf("ping %s never finished", to)
		return 0
	}
}

// pings wants answers, within a few tries: links and neighbours take a moment.
func (c *client) pings(to string) {
	c.t.Helper()
	for range 10 {
		if c.ping(to, 1) == 1 {
			return
		}
	}
	c.t.Errorf("no answer from %s", to)
}

// pod starts a VPP with a slave on the socket.
func pod(t *testing.T, socket string, mode memif.MemifMode) (*client, interface_types.InterfaceIndex) {
	t.Helper()
	c := dial(t, start(t))
	c.socket(1, socket)
	i := c.memif(&memif.MemifCreateV2{SocketID: 1, Role: memif.MEMIF_ROLE_API_SLAVE, Mode: mode})
	return c, i
}

func (c *client) address(i interface_types.InterfaceIndex, prefix string) {
	c.t.Helper()
	c.must(&interfaces_api.SwInterfaceAddDelAddress{SwIfIndex: i, IsAdd: true, Prefix: withPrefix(c.t, prefix)},
		&interfaces_api.SwInterfaceAddDelAddressReply{})
}

// host starts a VPP with a master for each of n pods, and gives their sockets.
func host(t *testing.T, n int, mode memif.MemifMode) (*client, []interface_types.InterfaceIndex, []string) {
	t.Helper()
	dir := t.TempDir()
	c := dial(t, start(t))
	var made []interface_types.InterfaceIndex
	var sockets []string
	for id := range n {
		path := filepath.Join(dir, fmt.Sprint("pod", id))
		c.socket(uint32(id+1), path)
		i := c.memif(&memif.MemifCreateV2{SocketID: uint32(id + 1), Mode: mode})
		c.admin(i, true)
		made, sockets = append(made, i), append(sockets, path)
	}
	return c, made, sockets
}

func TestPingOverBridge(t *testing.T) {
	h, ports, sockets := host(t, 2, memif.MEMIF_MODE_API_ETHERNET)
	for _, p := range ports {
		h.must(&l2.SwInterfaceSetL2Bridge{RxSwIfIndex: p, BdID: 5, Enable: true}, &l2.SwInterfaceSetL2BridgeReply{})
	}
	pods := make([]*client, 2)
	for n := range pods {
		c, i := pod(t, sockets[n], memif.MEMIF_MODE_API_ETHERNET)
		c.address(i, fmt.Sprintf("10.0.0.%d/24", n+1))
		c.address(i, fmt.Sprintf("2001:db8::%d/64", n+1))
		c.admin(i, true)
		pods[n] = c
	}
	eventually(t, "links up", func() bool {
		return h.iface(ports[0]).Flags == admin|link && h.iface(ports[1]).Flags == admin|link
	})
	pods[0].pings("10.0.0.2")
	pods[1].pings("10.0.0.1")
	pods[0].pings("2001:db8::2")
	if got := pods[0].ping("10.0.0.77", 1); got != 0 {
		t.Errorf("%d answers from nobody", got)
	}

	// A learned neighbour shows in the dumps as VPP shows it.
	learned := pods[0].routes(0, false)
	if want := "10.0.0.2/32 src 15 {1 normal 10.0.0.2}"; !containsLine(learned, want) {
		t.Errorf("routes lack %q: %v", want, learned)
	}

	// One port out of the bridge, no answer; and back.
	set := &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: ports[1], BdID: 5}
	h.must(set, &l2.SwInterfaceSetL2BridgeReply{})
	if got := pods[0].ping("10.0.0.2", 1); got != 0 {
		t.Error("an answer without a bridge")
	}
	set.Enable = true
	h.must(set, &l2.SwInterfaceSetL2BridgeReply{})
	pods[0].pings("10.0.0.2")
}

func TestPingOverVLAN(t *testing.T) {
	h, ports, sockets := host(t, 2, memif.MEMIF_MODE_API_ETHERNET)
	for _, p := range ports {
		var sub interfaces_api.CreateVlanSubifReply
		h.must(&interfaces_api.CreateVlanSubif{SwIfIndex: p, VlanID: 100}, &sub)
		h.admin(sub.SwIfIndex, true)
		h.run([]step{
			{"bridge", &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: sub.SwIfIndex, BdID: 5, Enable: true}, 0},
			{"pop", &l2.L2InterfaceVlanTagRewrite{SwIfIndex: sub.SwIfIndex, VtrOp: 3}, 0},
		})
	}
	pods := make([]*client, 2)
	for n := range pods {
		c, i := pod(t, sockets[n], memif.MEMIF_MODE_API_ETHERNET)
		c.admin(i, true)
		var sub interfaces_api.CreateVlanSubifReply
		c.must(&interfaces_api.CreateVlanSubif{SwIfIndex: i, VlanID: 100}, &sub)
		c.admin(sub.SwIfIndex, true)
		c.address(sub.SwIfIndex, fmt.Sprintf("10.0.0.%d/24", n+1))
		pods[n] = c
	}
	pods[0].pings("10.0.0.2")
}

func TestPingRoutedInIPMode(t *testing.T) {
	h, ports, sockets := host(t, 2, memif.MEMIF_MODE_API_IP)
	h.run([]step{{"table", &ip.IPTableAddDelV2{IsAdd: true, Table: ip.IPTable{TableID: 7}}, 0}})
	pods := make([]*client, 2)
	for n := range pods {
		h.run([]step{
			{"host's table", &interfaces_api.SwInterfaceSetTable{SwIfIndex: ports[n], VrfID: 7}, 0},
			addrStep(t, "gateway", ports[n], true, fmt.Sprintf("169.254.%d.1/32", n), 0),
			{"route to the pod", route(t, true, 7, fmt.Sprintf("10.0.%d.2/32", n), fmt.Sprint(ports[n])), 0},
		})
		c, i := pod(t, sockets[n], memif.MEMIF_MODE_API_IP)
		c.address(i, fmt.Sprintf("10.0.%d.2/32", n))
		c.admin(i, true)
		c.run([]step{{"default", route(t, true, 0, "0.0.0.0/0", fmt.Sprint(i)), 0}})
		pods[n] = c
	}
	pods[0].pings("10.0.1.2")
	pods[1].pings("10.0.0.2")
	pods[0].pings("169.254.0.1")

	h.run([]step{{"route away", route(t, false, 7, "10.0.1.2/32"), 0}})
	if got := pods[0].ping("10.0.1.2", 1); got != 0 {
		t.Error("an answer without a route")
	}
}

// Going down keeps the connection, as in VPP: the peer's link stays up. Deleting
// cuts it.
func TestLinkFollowsPeer(t *testing.T) {
	h, ports, sockets := host(t, 1, memif.MEMIF_MODE_API_ETHERNET)
	c, i := pod(t, sockets[0], memif.MEMIF_MODE_API_ETHERNET)
	c.admin(i, true)
	eventually(t, "link up", func() bool { return c.iface(i).Flags == admin|link && h.iface(ports[0]).Flags == admin|link })
	got := dump[memif.MemifDetails](c, &memif.MemifDump{})
	if got[0].RingSize != 1024 || got[0].BufferSize != 2048 {
		t.Errorf("sizes of a connected slave: %+v", got[0])
	}
	h.admin(ports[0], false)
	if got := h.iface(ports[0]).Flags; got != 0 {
		t.Errorf("admin-down with flags %v", got)
	}
	if got := c.iface(i).Flags; got != admin|link {
		t.Errorf("the peer's flags went to %v", got)
	}
	h.admin(ports[0], true)
	if got := h.iface(ports[0]).Flags; got != admin|link {
		t.Errorf("up again with flags %v", got)
	}
	h.must(&memif.MemifDelete{SwIfIndex: ports[0]}, &memif.MemifDeleteReply{})
	eventually(t, "link down", func() bool { return c.iface(i).Flags == admin })
}

// A host VPP that died and came back gets its pods back by itself.
func TestPeersReconnect(t *testing.T) {
	sim := start(t)
	h := dial(t, sim)
	socket := filepath.Join(t.TempDir(), "s")
	master := func(h *client) {
		h.socket(1, socket)
		i := h.memif(&memif.MemifCreateV2{SocketID: 1})
		h.address(i, "10.0.0.1/24")
		h.admin(i, true)
	}
	master(h)
	c, i := pod(t, socket, memif.MEMIF_MODE_API_ETHERNET)
	c.address(i, "10.0.0.2/24")
	c.admin(i, true)
	c.pings("10.0.0.1")
	if err := sim.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "link down", func() bool { return c.iface(i).Flags == admin })
	master(dial(t, sim))
	eventually(t, "link up again", func() bool { return c.iface(i).Flags == admin|link })
	c.pings("10.0.0.1")
}

// A crash cuts the peers off at once, without anybody tidying up.
func TestCrashCutsPeers(t *testing.T) {
	sim := start(t)
	h := dial(t, sim)
	socket := filepath.Join(t.TempDir(), "s")
	h.socket(1, socket)
	h.admin(h.memif(&memif.MemifCreateV2{SocketID: 1}), true)
	c, i := pod(t, socket, memif.MEMIF_MODE_API_ETHERNET)
	c.admin(i, true)
	eventually(t, "link up", func() bool { return c.iface(i).Flags == admin|link })
	sim.DieOn("control_ping")
	if h.ask(200 * time.Millisecond) {
		t.Error("answered by the dead")
	}
	eventually(t, "link down", func() bool { return c.iface(i).Flags == admin })
}

func TestPingWithoutRoute(t *testing.T) {
	c := dial(t, start(t))
	if got := c.ping("192.0.2.1", 3); got != 0 {
		t.Errorf("%d answers without a route", got)
	}
}

func containsLine(lines []string, want string) bool {
	for _, l := range lines {
		if l == want {
			return true
		}
	}
	return false
}
