package vpptest_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr  { return netip.MustParseAddr(s) }

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// routedCase is a network of routed pods that share a gateway.
type routedCase struct {
	ipMode bool
	vrf    uint32
	gw     netip.Addr
	pods   [2]netip.Addr
}

func (c routedCase) name() string {
	mode := "ethernet"
	if c.ipMode {
		mode = "ip"
	}
	family := "IPv4"
	if c.gw.Is6() {
		family = "IPv6"
	}
	return fmt.Sprintf("%s %s table %d", mode, family, c.vrf)
}

// host are the objects of the host end. The gateway's address stands on a
// loopback and is lent to every pod's interface; both stand in the table for
// both families.
func (c routedCase) host(sockets [2]string) []model.Object {
	lo := model.Loopback{Tag: tagLoop}
	objs := []model.Object{lo, model.Address{Interface: lo.ID(), VRF: c.vrf, Prefix: single(c.gw)}, model.AdminUp{Interface: lo.ID()}}
	inTable := []model.ID{lo.ID()}
	for n, sock := range sockets {
		m := model.Memif{Tag: model.Tag(fmt.Sprintf("vpp-cni/net1/%d", n)), Socket: sock, Master: true, IPMode: c.ipMode}
		objs = append(objs, model.Socket{Path: sock}, m,
			model.Unnumbered{Interface: m.ID(), Lender: lo.ID()},
			model.AdminUp{Interface: m.ID()},
			model.Route{VRF: c.vrf, Prefix: single(c.pods[n]), Interface: m.ID()})
		inTable = append(inTable, m.ID())
	}
	if c.vrf != 0 {
		for _, v6 := range []bool{false, true} {
			objs = append(objs, model.Table{VRF: c.vrf, V6: v6})
			for _, i := range inTable {
				objs = append(objs, model.InterfaceTable{Interface: i, VRF: c.vrf, V6: v6})
			}
		}
	}
	return objs
}

// pod are the objects of a pod's end. Its address is a host prefix of bits bits:
// with its subnet's, an ethernet pod would ask on its link for other pods.
func (c routedCase) pod(n int, sock string, bits int) []model.Object {
	m := model.Memif{Tag: tagMemif, Socket: sock, IPMode: c.ipMode}
	return []model.Object{
		model.Socket{Path: sock},
		m,
		model.Address{Interface: m.ID(), Prefix: netip.PrefixFrom(c.pods[n], bits)},
		model.AdminUp{Interface: m.ID()},
		model.Route{Prefix: single(c.gw), Interface: m.ID()},
		model.Route{Prefix: netip.PrefixFrom(unspecified(c.gw), 0), Interface: m.ID(), NextHop: c.gw},
	}
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// inPhases puts objects in the order of their kinds.
func inPhases(t *testing.T, d *vpp.VPP, objs []model.Object) {
	t.Helper()
	for _, k := range model.Kinds() {
		for _, o := range objs {
			if o.ID().Kind == k {
				vpptest.Put(t, d, o)
			}
		}
	}
}

// reaches pings until an answer comes: the first request of a path is spent on
// ARP or neighbour discovery.
func reaches(t *testing.T, d *vpp.VPP, to netip.Addr) error {
	t.Helper()
	var sent int
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
		n, replies, err := d.Ping(t.Context(), to, 2, 50*time.Millisecond)
		if err != nil {
			return err
		}
		if sent += n; replies > 0 {
			return nil
		}
	}
	return fmt.Errorf("%s answers none of %d pings", to, sent)
}

// TestRouted sends packets between routed pods and their shared gateway. What it
// puts is what the plans put.
func TestRouted(t *testing.T) {
	var cases []routedCase
	for _, ipMode := range []bool{false, true} {
		for _, vrf := range []uint32{0, 7} {
			cases = append(cases,
				routedCase{ipMode, vrf, addr("10.1.0.1"), [2]netip.Addr{addr("10.1.0.2"), addr("10.1.0.3")}},
				routedCase{ipMode, vrf, addr("fd00:1::1"), [2]netip.Addr{addr("fd00:1::2"), addr("fd00:1::3")}})
		}
	}
	vpps := [3]*vpptest.VPP{vpptest.Start(t), vpptest.Start(t), vpptest.Start(t)}
	for _, tc := range cases {
		t.Run(tc.name(), func(t *testing.T) {
			h, p := startRouted(t, tc, vpps, tc.gw.BitLen())
			for n := range p {
				check(t, fmt.Sprintf("pod %d to gateway", n), reaches(t, p[n], tc.gw))
				check(t, fmt.Sprintf("pod %d to the other", n), reaches(t, p[n], tc.pods[1-n]))
			}
			if tc.vrf == 0 { // VPP's ping over the API starts in table 0
				check(t, "host to pod", reaches(t, h, tc.pods[0]))
			}
			if t.Failed() {
				showCLI(t, vpps[0], "show interface addr", "show ip fib", "show ip6 fib", "show ip neighbors", "show errors")
				showCLI(t, vpps[1], "show interface addr", "show ip neighbors", "show errors")
			}
		})
	}
}

// With its whole subnet on its link an ethernet pod reaches the gateway, but no
// other pod: nobody answers for that one.
func TestRoutedNeedsHostPrefix(t *testing.T) {
	tc := routedCase{false, 0, addr("10.1.0.1"), [2]netip.Addr{addr("10.1.0.2"), addr("10.1.0.3")}}
	vpps := [3]*vpptest.VPP{vpptest.Start(t), vpptest.Start(t), vpptest.Start(t)}
	_, p := startRouted(t, tc, vpps, 24)
	check(t, "pod 0 to gateway", reaches(t, p[0], tc.gw))
	check(t, "pod 1 to gateway", reaches(t, p[1], tc.gw))
	if _, replies, err := p[0].Ping(t.Context(), tc.pods[1], 10, 50*time.Millisecond); err != nil || replies != 0 {
		t.Errorf("pod to pod on the link: %d replies, %v; the fact is no longer one", replies, err)
	}
}

func startRouted(t *testing.T, tc routedCase, vpps [3]*vpptest.VPP, bits int) (*vpp.VPP, [2]*vpp.VPP) {
	t.Helper()
	sockets := [2]string{vpps[0].Socket(t, "0", "net1"), vpps[0].Socket(t, "1", "net1")}
	h := vpps[0].Driver(t)
	p := [2]*vpp.VPP{vpps[1].Driver(t), vpps[2].Driver(t)}
	t.Cleanup(func() {
		for n, d := range []*vpp.VPP{p[0], p[1], h} {
			sweep(t, d, raw(t, vpps[(n+1)%3]))
		}
	})
	inPhases(t, h, tc.host(sockets))
	for n := range p {
		inPhases(t, p[n], tc.pod(n, sockets[n], bits))
	}
	same(t, h, tc.host(sockets)...)
	return h, p
}

func check(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// showCLI shows what a real VPP says of itself, where its vppctl lies beside it.
func showCLI(t *testing.T, v *vpptest.VPP, commands ...string) {
	t.Helper()
	ctl := filepath.Join(filepath.Dir(os.Getenv("VPP")), "vppctl")
	if _, err := os.Stat(ctl); err != nil || !v.Real {
		return
	}
	for _, c := range commands {
		out, err := exec.CommandContext(t.Context(), ctl, "-s", filepath.Join(v.Dir, "cli.sock"), c).CombinedOutput()
		t.Logf("%s (%v)\n%s", c, err, out)
	}
}
