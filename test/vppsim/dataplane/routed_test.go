package dataplane

import (
	"context"
	"testing"
	"time"
)

// viaNextHop routes everything to a gateway on one interface.
func (n *node) viaNextHop(idx uint32, dst, gateway string) {
	n.SetRoute(0, prefix(dst), []Path{{Interface: idx, NextHop: addr(gateway)}})
}

func TestRoutedPing(t *testing.T) {
	host, a, b := pods(t)
	for _, s := range []string{"10.0.1.1/24", "fd01::1/64"} {
		host.AddAddress(11, prefix(s))
	}
	for _, s := range []string{"10.0.2.1/24", "fd02::1/64"} {
		host.AddAddress(12, prefix(s))
	}
	a.AddAddress(1, prefix("10.0.1.2/24"))
	a.AddAddress(1, prefix("fd01::2/64"))
	b.AddAddress(2, prefix("10.0.2.2/24"))
	b.AddAddress(2, prefix("fd02::2/64"))
	a.wantNoPing("10.0.2.2")
	a.viaNextHop(1, "0.0.0.0/0", "10.0.1.1")
	a.viaNextHop(1, "::/0", "fd01::1")
	b.viaNextHop(2, "0.0.0.0/0", "10.0.2.1")
	b.viaNextHop(2, "::/0", "fd02::1")
	for _, dst := range []string{"10.0.1.1", "10.0.2.1", "10.0.2.2", "fd01::1", "fd02::1", "fd02::2", "10.0.1.2", "fd01::2"} {
		a.wantPing(dst)
	}
	host.wantPing("10.0.2.2")
	host.wantPing("fd01::2")
	a.wantNoPing("10.0.3.1")
	host.wantDrops(11, "no route")

	host.SetAdminUp(12, false)
	a.wantNoPing("fd02::2")
	host.SetAdminUp(12, true)
	a.wantPing("fd02::2")
	host.DelAddress(12, prefix("10.0.2.1/24"))
	a.wantNoPing("10.0.2.2")
}

// TestUnnumbered is how pods are routed: each host interface borrows one shared
// gateway address, and host routes lead to the pods.
func TestUnnumbered(t *testing.T) {
	host, a, b := pods(t)
	host.AddLoopback(9, hw(9))
	host.SetAdminUp(9, true)
	host.AddAddress(9, prefix("169.254.1.1/32"))
	host.AddAddress(9, prefix("fd00:1::1/128"))
	pod := func(p *node, own, at uint32, v4, v6 string) {
		host.SetUnnumbered(at, 9, true)
		host.SetIP6Enabled(at, true)
		host.SetRoute(0, prefix(v4+"/32"), []Path{{Interface: at}})
		host.SetRoute(0, prefix(v6+"/128"), []Path{{Interface: at}})
		p.AddAddress(own, prefix(v4+"/32"))
		p.AddAddress(own, prefix(v6+"/128"))
		p.SetRoute(0, prefix("169.254.1.1/32"), []Path{{Interface: own}})
		p.SetRoute(0, prefix("fd00:1::1/128"), []Path{{Interface: own}})
		p.viaNextHop(own, "0.0.0.0/0", "169.254.1.1")
		p.viaNextHop(own, "::/0", "fd00:1::1")
	}
	pod(a, 1, 11, "10.1.0.1", "fd00::1")
	pod(b, 2, 12, "10.1.0.2", "fd00::2")
	a.wantPing("169.254.1.1")
	a.wantPing("fd00:1::1")
	a.wantPing("10.1.0.2")
	a.wantPing("fd00::2")
	b.wantPing("10.1.0.1")
	host.wantPing("10.1.0.2")
	host.wantPing("fd00::1")
	sent, replies := host.Ping(context.Background(), addr("10.1.0.1"), 9, 2, 50*time.Millisecond)
	if sent != 2 || replies != 2 {
		t.Errorf("from the loopback: %d sent, %d replies", sent, replies)
	}

	host.SetIP6Enabled(12, false) // borrowing does not enable it
	host.SetLinkUp(12, false)
	host.SetLinkUp(12, true)
	b.SetLinkUp(2, false)
	b.SetLinkUp(2, true)
	b.wantNoPing("fd00:1::1")
	host.wantDrops(12, "IPv6 multicast")
	b.wantPing("169.254.1.1")

	host.SetUnnumbered(11, 9, false)
	a.wantNoPing("10.1.0.2")
	host.wantDrops(11, "IPv4 not enabled")
}

func TestRouteByNextHopAlone(t *testing.T) {
	host, a, _ := pods(t)
	host.AddAddress(11, prefix("10.0.1.1/24"))
	a.AddAddress(1, prefix("10.0.1.2/24"))
	a.AddLoopback(5, hw(5))
	a.SetAdminUp(5, true)
	a.AddAddress(5, prefix("10.9.9.9/32"))
	host.SetRoute(0, prefix("10.9.0.0/16"), []Path{{Interface: NoInterface, NextHop: addr("10.0.1.2")}})
	host.wantPing("10.9.9.9")
	host.SetRoute(0, prefix("10.9.0.0/16"), nil)
	host.wantNoPing("10.9.9.9")
	host.SetRoute(0, prefix("10.9.0.0/16"), []Path{{Interface: NoInterface, NextHop: addr("10.9.0.1")}})
	host.wantNoPing("10.9.9.9") // resolves by itself
}

func TestVRFsAreIsolated(t *testing.T) {
	host, a, b := pods(t)
	host.SetTable(11, 100, false)
	host.SetTable(11, 100, true)
	for _, s := range []string{"10.0.1.1/24", "fd01::1/64"} {
		host.AddAddress(11, prefix(s))
	}
	host.AddAddress(12, prefix("10.0.2.1/24"))
	host.AddAddress(12, prefix("fd02::1/64"))
	a.AddAddress(1, prefix("10.0.1.2/24"))
	a.AddAddress(1, prefix("fd01::2/64"))
	b.AddAddress(2, prefix("10.0.2.2/24"))
	b.AddAddress(2, prefix("fd02::2/64"))
	a.viaNextHop(1, "0.0.0.0/0", "10.0.1.1")
	a.viaNextHop(1, "::/0", "fd01::1")
	b.viaNextHop(2, "0.0.0.0/0", "10.0.2.1")
	b.viaNextHop(2, "::/0", "fd02::1")
	a.wantPing("10.0.1.1")
	a.wantPing("fd01::1")
	a.wantNoPing("10.0.2.2")
	a.wantNoPing("fd02::2")
	host.SetTable(12, 100, false)
	a.wantPing("10.0.2.2")
	a.wantNoPing("fd02::2")
	host.SetTable(12, 100, true)
	a.wantPing("fd02::2")
	if sent, replies := host.Ping(t.Context(), addr("10.0.1.2"), 11, 2, 50*time.Millisecond); sent != 2 || replies != 2 {
		t.Errorf("from table 100: %d sent, %d replies", sent, replies)
	}
	host.wantNoPing("10.0.1.2") // table 0
}

func TestIPMode(t *testing.T) {
	host, a, b := newNode(t), newNode(t), newNode(t)
	wireIP(host, 11, a, 1)
	wireIP(host, 12, b, 2)
	for n, at := range map[*node]uint32{a: 1, b: 2} {
		n.SetRoute(0, prefix("0.0.0.0/0"), []Path{{Interface: at}})
		n.SetRoute(0, prefix("::/0"), []Path{{Interface: at}})
	}
	a.AddAddress(1, prefix("10.1.0.1/32"))
	a.AddAddress(1, prefix("fd00::1/128"))
	b.AddAddress(2, prefix("10.1.0.2/32"))
	b.AddAddress(2, prefix("fd00::2/128"))
	host.AddAddress(11, prefix("10.2.0.1/32"))
	host.AddAddress(12, prefix("10.2.0.2/32"))
	host.SetIP6Enabled(11, true)
	host.SetIP6Enabled(12, true)
	for dst, at := range map[string]uint32{"10.1.0.1/32": 11, "fd00::1/128": 11, "10.1.0.2/32": 12, "fd00::2/128": 12} {
		host.SetRoute(0, prefix(dst), []Path{{Interface: at}})
	}
	for _, dst := range []string{"10.1.0.2", "fd00::2", "10.2.0.1", "10.2.0.2"} {
		if got := a.answers(dst); got != 3 {
			t.Errorf("ping %s: %d of 3 answers: nothing is to be resolved", dst, got)
		}
	}
	host.Input(11, []byte{0x00, 1, 2})
	host.Input(11, nil)
	host.wantDrops(11, "neither IPv4 nor IPv6")
}

func TestRemovedInterfaceLeadsNowhere(t *testing.T) {
	host, a, b := pods(t)
	host.AddAddress(11, prefix("10.0.1.1/24"))
	a.AddAddress(1, prefix("10.0.1.2/24"))
	a.AddAddress(1, prefix("10.7.0.1/32"))
	host.SetRoute(0, prefix("10.7.0.1/32"), []Path{{Interface: 11, NextHop: addr("10.0.1.2")}})
	host.wantPing("10.7.0.1")
	host.Remove(11)
	host.wantNoPing("10.7.0.1")
	host.wantNoPing("10.0.1.2")
	host.AddEthernet(11, hw(11), host.tx(11, a, 1))
	host.up(11)
	host.wantNoPing("10.7.0.1") // the index is no identity
	host.AddAddress(11, prefix("10.0.1.1/24"))
	host.wantPing("10.0.1.2")
	_ = b
}

func TestStaticNeighbor(t *testing.T) {
	host, a, _ := pods(t)
	host.AddAddress(11, prefix("10.0.1.1/24"))
	a.AddAddress(1, prefix("10.0.1.2/24"))
	host.SetNeighbor(11, addr("10.0.1.2"), hw(77))
	host.wantNoPing("10.0.1.2")
	a.wantDrops(1, "L3 MAC mismatch")
	a.SetMAC(1, hw(77))
	host.wantPing("10.0.1.2")
	host.SetNeighbor(11, addr("10.0.1.2"), nil)
	a.SetMAC(1, hw(78))
	host.wantPing("10.0.1.2")
}
