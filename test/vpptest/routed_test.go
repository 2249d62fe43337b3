package vpptest_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr  { return netip.MustParseAddr(s) }

type family struct {
	name                        string
	gw, gwLoop, pod1, pod2, all string
	len                         int
}

func routedHost(ipMode bool, vrf uint32, sock1, sock2 string, loopLen int, v6 bool) []model.Object {
	lo := model.Loopback{Tag: "vpp-cni/gw/net"}
	objs := []model.Object{}
	gw, p1, p2 := "10.1.0.1", "10.1.0.2/32", "10.1.0.3/32"
	if v6 {
		gw, p1, p2 = "fd00:1::1", "fd00:1::2/128", "fd00:1::3/128"
	}
	ifs := []model.ID{lo.ID()}
	if vrf != 0 {
		objs = append(objs, model.Table{VRF: vrf}, model.Table{VRF: vrf, V6: true})
	}
	objs = append(objs, lo)
	m1 := model.Memif{Tag: "vpp-cni/net1/pod1", Socket: sock1, Master: true, IPMode: ipMode}
	m2 := model.Memif{Tag: "vpp-cni/net1/pod2", Socket: sock2, Master: true, IPMode: ipMode}
	objs = append(objs, m1, m2)
	ifs = append(ifs, m1.ID(), m2.ID())
	if vrf != 0 {
		for _, i := range ifs {
			objs = append(objs, model.InterfaceTable{Interface: i, VRF: vrf}, model.InterfaceTable{Interface: i, VRF: vrf, V6: true})
		}
	}
	objs = append(objs, model.Address{Interface: lo.ID(), VRF: vrf, Prefix: netip.PrefixFrom(addr(gw), loopLen)})
	objs = append(objs, model.Unnumbered{Interface: m1.ID(), Lender: lo.ID()}, model.Unnumbered{Interface: m2.ID(), Lender: lo.ID()})
	for _, i := range ifs {
		objs = append(objs, model.AdminUp{Interface: i})
	}
	objs = append(objs,
		model.Route{VRF: vrf, Prefix: pfx(p1), Interface: m1.ID()},
		model.Route{VRF: vrf, Prefix: pfx(p2), Interface: m2.ID()})
	return objs
}

func routedPod(ipMode bool, sock, ip string, v6 bool, wide bool) []model.Object {
	m := model.Memif{Tag: "vpp-cni/net1/self", Socket: sock, IPMode: ipMode}
	def, gw, l := "0.0.0.0/0", "10.1.0.1", 24
	if v6 {
		def, gw, l = "::/0", "fd00:1::1", 64
	}
	if !wide {
		l = addr(gw).BitLen()
	}
	objs := []model.Object{
		m,
		model.Address{Interface: m.ID(), Prefix: netip.PrefixFrom(addr(ip), l)},
		model.AdminUp{Interface: m.ID()},
	}
	if !wide {
		objs = append(objs, model.Route{Prefix: netip.PrefixFrom(addr(gw), l), Interface: m.ID()})
	}
	return append(objs, model.Route{Prefix: pfx(def), Interface: m.ID(), NextHop: addr(gw)})
}

func TestRouted(t *testing.T) {
	for _, tc := range []struct {
		name   string
		ipMode bool
		vrf    uint32
		v6     bool
		loop   int
		wide   bool
	}{
		{"eth v4 wide", false, 0, false, 32, true},
		{"eth v6 wide", false, 0, true, 128, true},
		{"eth v4", false, 0, false, 32, false},
		{"eth v6", false, 0, true, 128, false},
		{"eth v4 vrf", false, 7, false, 32, false},
		{"eth v6 vrf", false, 7, true, 128, false},
		{"ip v4", true, 0, false, 32, false},
		{"ip v6", true, 0, true, 128, false},
		{"ip v4 vrf", true, 7, false, 32, false},
		{"ip v6 vrf", true, 7, true, 128, false},
		{"ip v4 wide", true, 0, false, 32, true},
		{"ip v6 wide", true, 0, true, 128, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, pod1, pod2 := vpptest.Start(t), vpptest.Start(t), vpptest.Start(t)
			s1, s2 := host.Socket(t, "1", "net1"), host.Socket(t, "2", "net1")
			h, p1, p2 := host.Driver(t), pod1.Driver(t), pod2.Driver(t)
			a1, a2, gw := "10.1.0.2", "10.1.0.3", "10.1.0.1"
			if tc.v6 {
				a1, a2, gw = "fd00:1::2", "fd00:1::3", "fd00:1::1"
			}
			vpptest.Put(t, h, routedHost(tc.ipMode, tc.vrf, s1, s2, tc.loop, tc.v6)...)
			vpptest.Put(t, p1, routedPod(tc.ipMode, s1, a1, tc.v6, tc.wide)...)
			vpptest.Put(t, p2, routedPod(tc.ipMode, s2, a2, tc.v6, tc.wide)...)
			time.Sleep(4 * time.Second)
			ping := func(d *vpp.VPP, name, to string) {
				sent, got, err := d.Ping(t.Context(), addr(to), 5, 100*time.Millisecond)
				if err != nil || got < 3 {
					t.Errorf("%s -> %s: %d of %d, %v", name, to, got, sent, err)
				} else {
					t.Logf("%s -> %s: %d of %d", name, to, got, sent)
				}
			}
			ping(p1, "pod1", gw)
			ping(p2, "pod2", gw)
			ping(p1, "pod1", a2)
			ping(p2, "pod2", a1)
			if tc.vrf == 0 {
				ping(h, "host", a1)
			}
			if t.Failed() {
				showCLI(t, host, "show interface addr", "show ip fib "+a1, "show ip6 fib fd00:1::2", "show adj", "show errors", "show ip neighbors", "show int")
				showCLI(t, pod1, "show interface addr", "show ip neighbors", "show errors", "show int", "show ip6 fib "+gw)
			}
		})
	}
}
