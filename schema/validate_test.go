package schema_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
)

// check says whether err is as wanted: none for an empty want, else one that
// says each part of want that '|' separates.
func check(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("error %q, want none", err)
		}
		return
	}
	for part := range strings.SplitSeq(want, "|") {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want it to say %q", err, part)
		}
	}
}

func TestNames(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	tests := []struct {
		kind    string
		err     func(string) error
		good    []string
		refused []string
	}{
		{
			"node", func(s string) error { return schema.Node(s).Validate() },
			[]string{"a", "worker-1", "ip-10-0-0-1.eu.compute.internal", "Host_1", long(253)},
			[]string{"", "-a", "a-", ".a", "a.", "a/b", "a b", "a\n", "ä", "..", long(254)},
		},
		{
			"container id", func(s string) error { return schema.ContainerID(s).Validate() },
			[]string{"a", "abc", "5cca5b4d29c5", long(64), "a_b.c-d", "a-", long(128)},
			[]string{"", "-a", ".a", "..", "_a", "a/b", "../a", "a b", "a\n", "a\x00", "ä", long(129)},
		},
		{
			"pod id", func(s string) error { return schema.PodID(s).Validate() },
			[]string{"6f1b1c1e-8d1f-4c57-9b1a-2f4f1a7f6a11", "abc"},
			[]string{"", "..", "a/b", "a\n", long(129)},
		},
		{
			"network name", func(s string) error { return schema.NetworkName(s).Validate() },
			[]string{"a", "blue", "5", "my.net_1-x", long(253)},
			[]string{"", ".", "..", "-a", "a/b", "a b", "a\n", long(254)},
		},
		{
			"interface name", func(s string) error { return schema.IfName(s).Validate() },
			[]string{"net1", "eth0", "a.100", "x@y", "-a", "_", long(15)},
			[]string{"", ".", "..", "a/b", "a:b", "a b", "a\t", "a\n", "a\x7f", "ä", long(16)},
		},
	}
	for _, tt := range tests {
		for _, s := range tt.good {
			if err := tt.err(s); err != nil {
				t.Errorf("%s %q: %v", tt.kind, s, err)
			}
		}
		for _, s := range tt.refused {
			if err := tt.err(s); err == nil || !strings.HasPrefix(err.Error(), tt.kind+" ") {
				t.Errorf("%s %q: error %v, want one that names it", tt.kind, s, err)
			} else if strings.ContainsAny(err.Error(), "\n\x00\x7f") {
				t.Errorf("%s %q: error %q has control characters", tt.kind, s, err)
			}
		}
	}
	if err := schema.ContainerID(strings.Repeat("x/", 1000)).Validate(); err == nil || len(err.Error()) > 300 {
		t.Errorf("a huge name: error of %d bytes, want a short one", len(err.Error()))
	}
}

func TestHostInterfaceValidate(t *testing.T) {
	bridge := func(h *schema.HostInterface, vlan uint16) {
		h.NetType, h.Gateways, h.PodAddresses, h.VRF = schema.NetBridge, nil, nil, 0
		h.Bridge = &schema.BridgeEnd{Name: "br", DomainID: 5, VLAN: vlan}
	}
	tests := []struct {
		name string
		edit func(h *schema.HostInterface)
		want string
	}{
		{"as made", func(*schema.HostInterface) {}, ""},
		{"the least", func(h *schema.HostInterface) {
			*h = schema.HostInterface{Network: "n", Pod: schema.PodRef{ID: "p"}, IfType: schema.Memif, NetType: schema.NetNone, Memif: &schema.MemifEnd{Role: schema.MemifMaster, Mode: schema.MemifEthernet, Socket: "s"}}
		}, ""},
		{"bridge", func(h *schema.HostInterface) { bridge(h, 0) }, ""},
		{"bridge with a VLAN", func(h *schema.HostInterface) { bridge(h, 4094) }, ""},
		{"reserved VLAN", func(h *schema.HostInterface) { bridge(h, 4095) }, `bridge.vlan "4095"|1 to 4094`},
		{"bridge domain 0", func(h *schema.HostInterface) { bridge(h, 0); h.Bridge.DomainID = 0 }, "bridge.domainID|1 to 16777214"},
		{"bridge domain too large", func(h *schema.HostInterface) { bridge(h, 0); h.Bridge.DomainID = schema.MaxDomain + 1 }, "bridge.domainID"},
		{"bridge without a name", func(h *schema.HostInterface) { bridge(h, 0); h.Bridge.Name = "" }, "network name"},
		{"bridge missing", func(h *schema.HostInterface) { bridge(h, 0); h.Bridge = nil }, `bridge "absent"`},
		{"bridge where none is wanted", func(h *schema.HostInterface) { h.Bridge = &schema.BridgeEnd{Name: "b", DomainID: 1} }, `bridge "present"`},
		{"routes in a bridge", func(h *schema.HostInterface) { bridge(h, 0); h.VRF = 1 }, "netType|interface"},
		{"ip mode", func(h *schema.HostInterface) { h.Memif.Mode = schema.MemifIP; h.MAC = schema.MAC{} }, ""},
		{"ip mode with a MAC", func(h *schema.HostInterface) { h.Memif.Mode = schema.MemifIP }, "absent on an ip-mode memif"},
		{"ip mode in a bridge", func(h *schema.HostInterface) { bridge(h, 0); h.Memif.Mode, h.MAC = schema.MemifIP, schema.MAC{} }, "cannot join a bridge"},
		{"punt-inject", func(h *schema.HostInterface) { h.Memif.Mode = "punt-inject" }, `memif.mode "punt-inject"|ethernet, ip`},
		{"unknown ifType", func(h *schema.HostInterface) { h.IfType = "tap" }, `ifType "tap"|memif, vhost-user`},
		{"unknown netType", func(h *schema.HostInterface) { h.NetType = "x" }, `netType "x"|bridge, interface, none`},
		{"unknown role", func(h *schema.HostInterface) { h.Memif.Role = "x" }, `memif.role "x"|master, slave`},
		{"memif missing", func(h *schema.HostInterface) { h.Memif = nil }, `memif "absent"`},
		{"memif beside vhost-user", func(h *schema.HostInterface) { h.VhostUser = &schema.VhostEnd{Role: schema.VhostServer, Socket: "s"} }, `vhostUser "present"`},
		{"vhost-user", func(h *schema.HostInterface) {
			h.IfType, h.Memif, h.VhostUser = schema.VhostUser, nil, &schema.VhostEnd{Role: schema.VhostClient, Socket: "s"}
		}, ""},
		{"vhost-user role", func(h *schema.HostInterface) {
			h.IfType, h.Memif, h.VhostUser = schema.VhostUser, nil, &schema.VhostEnd{Role: "master", Socket: "s"}
		}, `vhostUser.role "master"|server, client`},
		{"longest secret", func(h *schema.HostInterface) { h.Memif.Secret = schema.NewSecret(strings.Repeat("x", 23)) }, ""},
		{"long secret", func(h *schema.HostInterface) { h.Memif.Secret = schema.NewSecret(strings.Repeat("x", 24)) }, `memif.secret "[redacted]"|1 to 23 bytes`},
		{"NUL in the secret", func(h *schema.HostInterface) { h.Memif.Secret = schema.NewSecret("a\x00b") }, "memif.secret"},
		{"socket elsewhere", func(h *schema.HostInterface) { h.Memif.Socket = "../x" }, "memif.socket"},
		{"the gateway's socket", func(h *schema.HostInterface) { h.Memif.Socket = schema.GatewaySocket }, "memif.socket"},
		{"multicast MAC", func(h *schema.HostInterface) { h.MAC = schema.MAC{1} }, `mac "01:00:00:00:00:00"|unicast`},
		{"MTU 67", func(h *schema.HostInterface) { h.MTU = 67 }, `mtu "67"|68 to 9000`},
		{"MTU 9001", func(h *schema.HostInterface) { h.MTU = 9001 }, `mtu "9001"`},
		{"MTU 1279 with IPv6", func(h *schema.HostInterface) { h.MTU = 1279 }, `mtu "1279"|1280`},
		{"MTU 1279 with IPv4 only", func(h *schema.HostInterface) { h.MTU = 1279; h.PodAddresses = h.PodAddresses[:1] }, ""},
		{"VRF ~0", func(h *schema.HostInterface) { h.VRF = 1<<32 - 1 }, "vrf"},
		{"multicast address", func(h *schema.HostInterface) { h.PodAddresses = []netip.Addr{addr("224.0.0.1")} }, `address "224.0.0.1"`},
		{"no address", func(h *schema.HostInterface) { h.Gateways = []netip.Addr{{}} }, "address"},
		{"IPv4 in IPv6", func(h *schema.HostInterface) { h.Gateways = []netip.Addr{addr("::ffff:10.0.0.1")} }, "address"},
		{"a zone", func(h *schema.HostInterface) { h.Gateways = []netip.Addr{addr("fe80::1%eth0")} }, "address"},
		{"longest device id", func(h *schema.HostInterface) { h.DeviceID = strings.Repeat("x", 64) }, ""},
		{"long device id", func(h *schema.HostInterface) { h.DeviceID = strings.Repeat("x", 65) }, "deviceID|64"},
		{"a space in the device id", func(h *schema.HostInterface) { h.DeviceID = "a b" }, `deviceID "a b"`},
		{"several at once", func(h *schema.HostInterface) { h.Network, h.Pod.ID, h.MTU = "", "", 1 }, "network name|pod id|mtu"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := full()
			tt.edit(&h)
			check(t, h.Validate(), tt.want)
		})
	}
}

func TestPodInterfaceValidate(t *testing.T) {
	tests := []struct {
		name string
		edit func(p *schema.PodInterface)
		want string
	}{
		{"as made", func(*schema.PodInterface) {}, ""},
		{"no container", func(p *schema.PodInterface) { p.Container = "" }, "container id"},
		{"bridge with addresses", func(p *schema.PodInterface) {
			p.NetType, p.Bridge = schema.NetBridge, &schema.BridgeEnd{Name: "b", DomainID: 1}
			p.VLAN = 0
		}, ""},
		{"VLAN in a bridge", func(p *schema.PodInterface) {
			p.NetType, p.Bridge = schema.NetBridge, &schema.BridgeEnd{Name: "b", DomainID: 1}
		}, `vlan "100"|absent, where netType is bridge`},
		{"reserved VLAN", func(p *schema.PodInterface) { p.VLAN = 4095 }, `vlan "4095"|1 to 4094`},
		{"multicast gateway of IPAM", func(p *schema.PodInterface) { p.Gateways = []netip.Addr{addr("ff02::1")} }, "gateways"},
		{"vhost-user tells the application its addresses", func(p *schema.PodInterface) {
			p.IfType, p.NetType, p.Memif, p.VhostUser = schema.VhostUser, schema.NetNone, nil, &schema.VhostEnd{Role: schema.VhostServer, Socket: "s"}
		}, ""},
		{"invalid address", func(p *schema.PodInterface) { p.Addresses = []netip.Prefix{{}} }, "addresses"},
		{"loopback", func(p *schema.PodInterface) { p.Addresses = []netip.Prefix{prefix("127.0.0.1/8")} }, `addresses "127.0.0.1"`},
		{"unspecified", func(p *schema.PodInterface) { p.Addresses = []netip.Prefix{prefix("0.0.0.0/0")} }, `addresses "0.0.0.0"`},
		{"small MTU with IPv6", func(p *schema.PodInterface) { p.MTU = 1000 }, "1280"},
		{"route with host bits", func(p *schema.PodInterface) { p.Routes = []schema.Route{{Dst: prefix("10.0.0.1/8")}} }, "routes.dst|without host bits"},
		{"route without dst", func(p *schema.PodInterface) { p.Routes = []schema.Route{{GW: addr("10.0.0.1")}} }, "routes.dst"},
		{"gateway of the other family", func(p *schema.PodInterface) {
			p.Routes = []schema.Route{{Dst: prefix("::/0"), GW: addr("10.0.0.1")}}
		}, "routes.gw|same family"},
		{"multicast gateway", func(p *schema.PodInterface) {
			p.Routes = []schema.Route{{Dst: prefix("0.0.0.0/0"), GW: addr("224.0.0.1")}}
		}, "routes.gw"},
		{"link-local gateway", func(p *schema.PodInterface) {
			p.Routes = []schema.Route{{Dst: prefix("::/0"), GW: addr("fe80::1")}}
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, p := full()
			tt.edit(&p)
			check(t, p.Validate(), tt.want)
		})
	}
}

func TestOtherValues(t *testing.T) {
	check(t, schema.Network{}.Validate(), "")
	check(t, schema.Network{DomainID: schema.MaxDomain, VRF: schema.MaxVRF, MTU: 9000}.Validate(), "")
	check(t, schema.Network{DomainID: schema.MaxDomain + 1, VRF: schema.MaxVRF + 1, MTU: 10}.Validate(), "domainID|vrf|mtu")
	good := schema.InterfaceStatus{SpecRevision: 1, State: schema.Ready, Reason: schema.ReasonApplied}
	check(t, good.Validate(), "")
	check(t, schema.InterfaceStatus{SpecRevision: 1, State: schema.Removed, Reason: schema.ReasonDetached}.Validate(), "")
	check(t, schema.Release{Instance: "i1", At: time.Unix(1, 0)}.Validate(), "")
	check(t, schema.Release{}.Validate(), "instance|at")
	check(t, schema.InterfaceStatus{Link: "Half", Reason: "two words"}.Validate(), "specRevision|state|link|reason")
}

func TestSocketNames(t *testing.T) {
	for _, name := range []string{"net1.memif", "a", "_x", strings.Repeat("a", 23), schema.SocketName(schema.VhostUser, schema.IfName(strings.Repeat("i", 15)))} {
		check(t, schema.CheckSocketName("f", name), "")
	}
	for _, name := range []string{"", ".", "..", ".x", "-x", "a/b", "a b", "a\n", "ä", schema.GatewaySocket, strings.Repeat("a", 24)} {
		check(t, schema.CheckSocketName("f", name), "f ")
	}
	// Whatever an interface is called, its socket can be made beside the
	// gateway's, and the default run-dir with the longest usual id fits.
	for _, i := range []schema.IfName{"etcd", "etcd.sock", schema.IfName(strings.Repeat("i", 15))} {
		for _, ifType := range []schema.IfType{schema.Memif, schema.VhostUser} {
			name := schema.SocketName(ifType, i)
			check(t, schema.CheckSocketName("f", name), "")
			check(t, schema.CheckSocketPath("/run/vpp-cni/pods/"+strings.Repeat("a", 64)+"/"+name), "")
		}
	}
	check(t, schema.CheckSocketPath("/"+strings.Repeat("a", 105)), "")
	check(t, schema.CheckSocketPath("/"+strings.Repeat("a", 107)), "at most 106 characters, it has 108")
}

func TestMAC(t *testing.T) {
	a := schema.DeriveMAC("node", "c1", "net1")
	if a != schema.DeriveMAC("node", "c1", "net1") || a == schema.DeriveMAC("node", "c1n", "et1") || a[0] != 2 {
		t.Errorf("derived %s: want a stable local unicast address that depends on each name", a)
	}
	for _, s := range []string{"", "02:fe", "01:00:00:00:00:00", "00:00:00:00:00:00", "02:00:00:00:00:00:00:01", "x"} {
		_, err := schema.ParseMAC(s)
		check(t, err, "MAC address")
	}
	m, err := schema.ParseMAC("02-FE-00-00-00-01")
	check(t, err, "")
	if m.String() != "02:fe:00:00:00:01" {
		t.Errorf("MAC %s, want the form with colons", m)
	}
}

func TestGatewayOf(t *testing.T) {
	p := schema.PodInterface{Gateways: []netip.Addr{addr("10.1.0.1"), addr("10.0.0.1"), addr("fe80::1")}}
	for of, want := range map[string]string{"10.0.0.2/24": "10.0.0.1", "10.1.0.2/24": "10.1.0.1", "10.2.0.2/24": "10.1.0.1", "10.0.0.2/32": "10.1.0.1", "fd00::2/64": "fe80::1"} {
		if got := p.GatewayOf(prefix(of)).String(); got != want {
			t.Errorf("gateway of %s is %s, want %s", of, got, want)
		}
	}
	if got := (schema.PodInterface{}).GatewayOf(prefix("10.0.0.2/24")); got.IsValid() {
		t.Errorf("gateway %s where IPAM gave none", got)
	}
}
