package dataplane

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func hw(last byte) net.HardwareAddr { return net.HardwareAddr{2, 0xfe, 0, 0, 0, last} }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// node is one plane with the frames that went over its wires.
type node struct {
	*Plane
	t *testing.T

	mu     sync.Mutex
	frames map[uint32][][]byte // sent, by interface
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{Plane: New(), t: t, frames: map[uint32][][]byte{}}
	t.Cleanup(n.Close)
	return n
}

// tx sends to an interface of another node, nil for nobody.
func (n *node) tx(idx uint32, peer *node, peerIdx uint32) func([]byte) {
	return func(pkt []byte) {
		n.mu.Lock()
		n.frames[idx] = append(n.frames[idx], append([]byte(nil), pkt...))
		n.mu.Unlock()
		if peer != nil {
			peer.Input(peerIdx, pkt)
		}
	}
}

func (n *node) sent(idx uint32) [][]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.frames[idx]
}

func (n *node) up(idx ...uint32) {
	for _, i := range idx {
		n.SetAdminUp(i, true)
		n.SetLinkUp(i, true)
	}
}

// wire connects two Ethernet interfaces, up. The address ends in the index.
func wire(a *node, ai uint32, b *node, bi uint32) {
	a.AddEthernet(ai, hw(byte(ai)), a.tx(ai, b, bi))
	b.AddEthernet(bi, hw(byte(bi)), b.tx(bi, a, ai))
	a.up(ai)
	b.up(bi)
}

// wireIP connects two interfaces of bare IP packets, up.
func wireIP(a *node, ai uint32, b *node, bi uint32) {
	a.AddIP(ai, a.tx(ai, b, bi))
	b.AddIP(bi, b.tx(bi, a, ai))
	a.up(ai)
	b.up(bi)
}

// answers is how many of three pings come back; unknown neighbours cost some.
func (n *node) answers(dst string) int {
	n.t.Helper()
	_, got := n.Ping(context.Background(), addr(dst), NoInterface, 3, 50*time.Millisecond)
	return got
}

// wantPing wants the last of some pings answered, once neighbours are known.
func (n *node) wantPing(dst string) {
	n.t.Helper()
	n.answers(dst)
	time.Sleep(2 * neighborThrottle)
	n.answers(dst)
	if got := n.answers(dst); got != 3 {
		n.t.Errorf("ping %s: %d of 3 answers", dst, got)
	}
}

func (n *node) wantNoPing(dst string) {
	n.t.Helper()
	if got := n.answers(dst) + n.answers(dst); got != 0 {
		n.t.Errorf("ping %s: %d answers, want none", dst, got)
	}
}

// wantDrops wants at least one drop for a reason at an interface.
func (n *node) wantDrops(idx uint32, reason string) {
	n.t.Helper()
	if c := n.Counters(idx); c.Reasons[reason] == 0 {
		n.t.Errorf("interface %d: no drop %q but %v", idx, reason, c.Reasons)
	}
}

// pods are three nodes: two pods whose interface 1 is wired to a host's 11, 12.
func pods(t *testing.T) (host, a, b *node) {
	t.Helper()
	host, a, b = newNode(t), newNode(t), newNode(t)
	wire(host, 11, a, 1)
	wire(host, 12, b, 2)
	return host, a, b
}

func TestBridgePing(t *testing.T) {
	host, a, b := pods(t)
	host.SetBridge(11, 5, 0)
	host.SetBridge(12, 5, 0)
	a.AddAddress(1, prefix("10.0.0.1/24"))
	a.AddAddress(1, prefix("fd00::1/64"))
	b.AddAddress(2, prefix("10.0.0.2/24"))
	b.AddAddress(2, prefix("fd00::2/64"))
	a.wantPing("10.0.0.2")
	a.wantPing("fd00::2")
	b.wantPing("10.0.0.1")
	if got := a.Neighbors(1)[addr("10.0.0.2")].String(); got != hw(2).String() {
		t.Errorf("neighbour is %s", got)
	}
	sent, replies := a.Ping(t.Context(), addr("fe80::fe:ff:fe00:2"), 1, 2, 50*time.Millisecond)
	if sent != 2 || replies == 0 {
		t.Errorf("link-local: %d sent, %d replies", sent, replies)
	}
	host.SetBridge(12, 0, 0)
	b.wantNoPing("10.0.0.1")
}

func TestFirstPingToUnknownNeighbourIsLost(t *testing.T) {
	_, a, b := pods(t)
	c := newNode(t)
	wire(a, 7, c, 8)
	a.AddAddress(7, prefix("10.0.0.7/24"))
	c.AddAddress(8, prefix("10.0.0.8/24"))
	if got := a.answers("10.0.0.8"); got != 2 {
		t.Errorf("%d of 3 answers, want the first lost", got)
	}
	a.wantDrops(7, "ARP request sent")
	_ = b
}

func TestBridgeLearnsAndFloods(t *testing.T) {
	host := newNode(t)
	for i := uint32(1); i <= 4; i++ {
		host.AddEthernet(i, hw(byte(i)), host.tx(i, nil, 0))
		host.up(i)
		host.SetBridge(i, 9, uint8(i/3)) // 3 and 4 in a split-horizon group
	}
	frame := func(dst, src byte) []byte {
		f := append(append([]byte{}, hw(dst)...), hw(src)...)
		return append(f, 0x88, 0xb5, 1, 2, 3)
	}
	counts := func() (n [4]int) {
		for i := range n {
			n[i] = len(host.sent(uint32(i + 1)))
		}
		return n
	}
	steps := []struct {
		name string
		in   uint32
		f    []byte
		want [4]int
	}{
		{"unknown unicast floods", 1, frame(102, 101), [4]int{0, 1, 1, 1}},
		{"answer goes to the learned port", 2, frame(101, 102), [4]int{1, 1, 1, 1}},
		{"then so does the question", 1, frame(102, 101), [4]int{1, 2, 1, 1}},
		{"flood leaves out the own group", 3, frame(200, 103), [4]int{2, 3, 1, 1}},
		{"known in the own group is dropped", 4, frame(103, 104), [4]int{2, 3, 1, 1}},
		{"the address moves", 4, frame(200, 101), [4]int{3, 4, 1, 1}},
		{"and frames follow", 2, frame(101, 102), [4]int{3, 4, 1, 2}},
		{"to itself is dropped", 2, frame(102, 102), [4]int{3, 4, 1, 2}},
	}
	for _, s := range steps {
		host.Input(s.in, s.f)
		if got := counts(); got != s.want {
			t.Fatalf("%s: frames sent %v, want %v", s.name, got, s.want)
		}
	}
	host.wantDrops(4, "split horizon")
	host.wantDrops(2, "L2 reflection")
	host.SetAdminUp(3, false)
	host.Input(3, frame(200, 1))
	host.wantDrops(3, "interface down")
}

func TestVLANsAreIsolated(t *testing.T) {
	host, a, b := newNode(t), newNode(t), newNode(t)
	wire(host, 11, a, 1) // a trunk with VLANs 10 and 20
	wire(host, 12, b, 2) // untagged, in VLAN 10's bridge
	host.AddSubInterface(110, 11, 10)
	host.AddSubInterface(120, 11, 20)
	host.SetAdminUp(110, true)
	host.SetAdminUp(120, true)
	host.SetTagRewrite(110, rewritePop1, 0)
	host.SetTagRewrite(120, rewritePop1, 0)
	host.SetBridge(110, 1, 0)
	host.SetBridge(12, 1, 0)
	host.SetBridge(120, 2, 0)
	a.AddSubInterface(101, 1, 10)
	a.AddSubInterface(102, 1, 20)
	a.SetAdminUp(101, true)
	a.SetAdminUp(102, true)
	a.AddAddress(101, prefix("10.0.10.1/24"))
	a.AddAddress(101, prefix("fd10::1/64"))
	a.AddAddress(102, prefix("10.0.20.1/24"))
	b.AddAddress(2, prefix("10.0.10.2/24"))
	b.AddAddress(2, prefix("fd10::2/64"))
	b.AddAddress(2, prefix("10.0.20.2/24"))
	a.wantPing("10.0.10.2")
	a.wantPing("fd10::2")
	b.wantPing("10.0.10.1")
	a.wantNoPing("10.0.20.2")
	for _, f := range a.sent(1) {
		if !tagged(f) {
			t.Fatalf("untagged frame on the trunk: % x", f[:18])
		}
	}
	for _, f := range host.sent(12) {
		if tagged(f) {
			t.Fatalf("tagged frame on the access port: % x", f[:18])
		}
	}
	host.SetBridge(120, 1, 0)
	a.wantPing("10.0.20.2")
}

func TestUnknownVLANIsDropped(t *testing.T) {
	host := newNode(t)
	host.AddEthernet(1, hw(1), host.tx(1, nil, 0))
	host.up(1)
	frame := pushTag(append(append(append([]byte{}, hw(1)...), hw(2)...), 8, 0, 1, 2), 30)
	host.Input(1, frame)
	host.wantDrops(1, "unknown VLAN")
	host.AddEthernet(2, hw(2), host.tx(2, nil, 0))
	host.up(2)
	host.SetBridge(1, 1, 0)
	host.SetBridge(2, 1, 0)
	host.Input(1, frame)
	if len(host.sent(2)) != 1 || !tagged(host.sent(2)[0]) {
		t.Error("a bridged port takes any VLAN, tag and all")
	}
}
