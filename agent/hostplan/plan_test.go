package hostplan

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

const (
	container = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	tag       = "vpp-cni/net1/0123456789ab~a8ae6e6ee929ab"
)

var planner = Planner{RunDir: "/run/vpp-cni"}

func memif(edit func(*schema.HostInterface)) schema.HostInterface {
	h := schema.HostInterface{
		Network: "net-a", Pod: schema.PodRef{ID: "pod-1"}, IfType: schema.Memif, NetType: schema.NetNone,
		Memif: &schema.MemifEnd{Role: schema.MemifMaster, Mode: schema.MemifEthernet, Socket: "net1.memif"},
		MAC:   schema.MAC{2, 0, 0, 0, 0, 1},
	}
	if edit != nil {
		edit(&h)
	}
	return h
}

func vhost(role schema.VhostRole) schema.HostInterface {
	return memif(func(h *schema.HostInterface) {
		h.IfType, h.Memif = schema.VhostUser, nil
		h.VhostUser = &schema.VhostEnd{Role: role, Socket: "net1.vhost"}
	})
}

func routed(vrf uint32, gateways, pods []string) schema.HostInterface {
	return memif(func(h *schema.HostInterface) {
		h.NetType, h.VRF = schema.NetInterface, vrf
		for _, g := range gateways {
			h.Gateways = append(h.Gateways, netip.MustParseAddr(g))
		}
		for _, p := range pods {
			h.PodAddresses = append(h.PodAddresses, netip.MustParseAddr(p))
		}
	})
}

// lines prints objects, one a line with what it holds beside its name. $T is
// the attachment's tag, $D the pod's directory.
func lines(objects []model.Object) string {
	out := make([]string, 0, len(objects))
	for _, o := range objects {
		line := o.ID().String()
		switch v := o.(type) {
		case model.Memif:
			line += fmt.Sprintf(" master=%t ip=%t socket=%s mac=%x secret=%s dir=%s", v.Master, v.IPMode, v.Socket, v.MAC, v.Secret.Reveal(), v.Dir)
		case model.VhostUser:
			line += fmt.Sprintf(" server=%t socket=%s mac=%x dir=%s", v.Server, v.Socket, v.MAC, v.Dir)
		case model.MTU:
			line += fmt.Sprint(" ", v.Bytes)
		case model.BridgeMember:
			line += fmt.Sprintf(" of %d (%s)", v.DomainID, v.Interface.Kind)
		case model.SubInterface:
			line += fmt.Sprintf(" of %s vlan %d popped=%t", v.Parent, v.VLAN, v.Popped)
		case model.Unnumbered:
			line += " to " + v.Lender.Name
		case model.Route:
			line += fmt.Sprintf(" by %s %v", v.Interface.Name, v.NextHop.IsValid())
		case model.Address:
			line += fmt.Sprint(" vrf ", v.VRF)
		case model.AdminUp:
			line += fmt.Sprintf(" (%s)", v.Interface.Kind)
		}
		out = append(out, line)
	}
	return strings.NewReplacer(tag, "$T", "/run/vpp-cni/pods/pod-1", "$D").Replace(strings.Join(out, "\n"))
}

func TestPlan(t *testing.T) {
	t.Parallel()
	const head = `directory $D
gateway-socket $D/etcd.sock
socket $D/net1.memif
memif $T master=true ip=false socket=$D/net1.memif mac=020000000001 secret= dir=$D
`
	for _, tc := range []struct {
		name string
		give schema.HostInterface
		want string
	}{
		{
			name: "just an interface",
			give: memif(nil),
			want: head + "admin-up $T (memif)",
		},
		{
			name: "slave with a secret and an MTU",
			give: memif(func(h *schema.HostInterface) {
				h.Memif.Role, h.Memif.Secret, h.MTU = schema.MemifSlave, schema.NewSecret("s3cret"), 1400
			}),
			want: `directory $D
gateway-socket $D/etcd.sock
socket $D/net1.memif
memif $T master=false ip=false socket=$D/net1.memif mac=020000000001 secret=s3cret dir=$D
mtu $T 1400
admin-up $T (memif)`,
		},
		{
			name: "bridge",
			give: memif(func(h *schema.HostInterface) {
				h.NetType, h.Bridge = schema.NetBridge, &schema.BridgeEnd{Name: "5", DomainID: 5}
			}),
			want: head + `admin-up $T (memif)
bridge-domain 5
bridge-member $T of 5 (memif)`,
		},
		{
			name: "bridge with VLAN: the sub-interface joins",
			give: memif(func(h *schema.HostInterface) {
				h.NetType, h.Bridge = schema.NetBridge, &schema.BridgeEnd{Name: "5", DomainID: 5, VLAN: 7}
			}),
			want: head + `admin-up $T (memif)
bridge-domain 5
sub-interface $T:7 of memif $T vlan 7 popped=true
admin-up $T:7 (sub-interface)
bridge-member $T:7 of 5 (sub-interface)`,
		},
		{
			name: "vhost-user server",
			give: vhost(schema.VhostServer),
			want: `directory $D
gateway-socket $D/etcd.sock
vhost-user $T server=true socket=$D/net1.vhost mac=020000000001 dir=$D
admin-up $T (vhost-user)`,
		},
		{
			name: "vhost-user client",
			give: vhost(schema.VhostClient),
			want: `directory $D
gateway-socket $D/etcd.sock
vhost-user $T server=false socket=$D/net1.vhost mac=020000000001 dir=$D
admin-up $T (vhost-user)`,
		},
		{
			name: "routed, both families",
			give: routed(0, []string{"10.0.0.1", "fd00::1"}, []string{"10.0.0.2", "fd00::2"}),
			want: head + `admin-up $T (memif)
loopback vpp-cni/gw/0/c4df4a4eefeb
address vpp-cni/gw/0/c4df4a4eefeb 10.0.0.1/32 vrf 0
address vpp-cni/gw/0/c4df4a4eefeb fd00::1/128 vrf 0
admin-up vpp-cni/gw/0/c4df4a4eefeb (loopback)
unnumbered $T to vpp-cni/gw/0/c4df4a4eefeb
route 0 10.0.0.2/32 by $T false
route 0 fd00::2/128 by $T false`,
		},
		{
			name: "routed in a VRF: both tables, whatever family is used",
			give: routed(9, []string{"10.0.0.1"}, []string{"10.0.0.2"}),
			want: head + `admin-up $T (memif)
table 9/ip4
interface-table $T/ip4
table 9/ip6
interface-table $T/ip6
loopback vpp-cni/gw/9/3872be7b841f
interface-table vpp-cni/gw/9/3872be7b841f/ip4
interface-table vpp-cni/gw/9/3872be7b841f/ip6
address vpp-cni/gw/9/3872be7b841f 10.0.0.1/32 vrf 9
admin-up vpp-cni/gw/9/3872be7b841f (loopback)
unnumbered $T to vpp-cni/gw/9/3872be7b841f
route 9 10.0.0.2/32 by $T false`,
		},
		{
			name: "routed ip mode without gateway: no MAC",
			give: func() schema.HostInterface {
				h := routed(0, nil, []string{"10.0.0.2"})
				h.Memif.Mode, h.MAC = schema.MemifIP, schema.MAC{}
				return h
			}(),
			want: `directory $D
gateway-socket $D/etcd.sock
socket $D/net1.memif
memif $T master=true ip=true socket=$D/net1.memif mac=000000000000 secret= dir=$D
admin-up $T (memif)
route 0 10.0.0.2/32 by $T false`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, err := planner.Plan(container, "net1", tc.give)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, lines(p.Objects)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			again, err := planner.Plan(container, "net1", tc.give)
			if err != nil || !cmp.Equal(p, again, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
				t.Errorf("an equal value gives another plan: %v", err)
			}
		})
	}
}

func TestSharedGateway(t *testing.T) {
	t.Parallel()
	a := gatewayTag(0, []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")})
	b := gatewayTag(0, []netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.1")})
	if a != b {
		t.Errorf("%s and %s: want one loopback for one set of gateways", a, b)
	}
	if c := gatewayTag(1, []netip.Addr{netip.MustParseAddr("10.0.0.1")}); c == gatewayTag(2, []netip.Addr{netip.MustParseAddr("10.0.0.1")}) {
		t.Errorf("%s in two VRFs", c)
	}
	if len(a) > 63 {
		t.Errorf("tag %s has %d bytes", a, len(a))
	}
}

func TestMACWithoutOne(t *testing.T) {
	t.Parallel()
	h := memif(func(h *schema.HostInterface) { h.MAC = schema.MAC{} })
	p, err := planner.Plan(container, "net1", h)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range p.Objects {
		if m, ok := o.(model.Memif); ok && m.MAC == (model.MAC{}) {
			t.Error("an ethernet memif without MAC: VPP's random one would look like drift")
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	const key = "host/" + container + "/net1"
	good, err := schema.Encode(memif(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, key, value, want string }{
		{"good", key, string(good), ""},
		{"status key", "host-status/c/net1", string(good), "not a desired host end"},
		{"foreign key", "host/a/b/c", string(good), "interface name"},
		{"empty", key, "", "the value is empty"},
		{"unknown field", key, `{"network":"a","more":1}`, `unknown field "more"`},
		{"punt-inject", key, strings.Replace(string(good), `"ethernet"`, `"punt-inject"`, 1), "ethernet, ip"},
		{"vlan 4095", key, strings.Replace(string(good), `"netType":"none"`, `"netType":"bridge","bridge":{"name":"5","domainID":5,"vlan":4095}`, 1), "1 to 4094"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, err := planner.Decode(tc.key, []byte(tc.value))
			switch {
			case tc.want == "" && (err != nil || p.Interface != tag):
				t.Errorf("plan for %s, %v: want one for %s", p.Interface, err, tag)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want one that says %q", err, tc.want)
			}
		})
	}
	var unknown *schema.UnknownFieldError
	if _, err := planner.Decode(key, []byte(`{"more":1}`)); !errors.As(err, &unknown) || unknown.Field != "more" {
		t.Errorf("error %v, want an UnknownFieldError", err)
	}
}

func TestEarlierBoot(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		now, value string
		dead       bool
	}{
		{"b2", "b1", true}, {"b2", "b2", false}, {"b2", "", false}, {"", "b1", false},
	} {
		p := Planner{RunDir: "/run/vpp-cni", BootID: tc.now}
		got, err := p.Plan(container, "net1", memif(func(h *schema.HostInterface) { h.BootID = tc.value }))
		if err != nil {
			t.Fatal(err)
		}
		if dead := got.Failed == schema.ReasonRebooted && len(got.Objects) == 0; dead != tc.dead {
			t.Errorf("value of boot %q on boot %q: %+v, want dead %t", tc.value, tc.now, got, tc.dead)
		}
	}
}

func TestLongPath(t *testing.T) {
	t.Parallel()
	long := Planner{RunDir: "/" + strings.Repeat("r", 90)}
	var field *schema.FieldError
	if _, err := long.Plan(container, "net1", memif(nil)); !errors.As(err, &field) || field.Field != "socket path" {
		t.Errorf("error %v, want a FieldError of the socket path", err)
	}
	h := memif(func(h *schema.HostInterface) {
		h.Pod.ID = container
		h.Memif.Socket = "abcdefghijklmno.memif"
	})
	if _, err := planner.Plan(container, "abcdefghijklmno", h); err != nil {
		t.Errorf("the default run-dir, a 64-digit id and a name of 15 characters: %v", err)
	}
}

func TestInterfaces(t *testing.T) {
	t.Parallel()
	want := []model.ID{{Kind: model.KindMemif, Name: tag}, {Kind: model.KindVhostUser, Name: tag}}
	if diff := cmp.Diff(want, Interfaces("host/"+container+"/net1")); diff != "" {
		t.Errorf("identities (-want +got):\n%s", diff)
	}
	if got := Interfaces("rubbish"); got != nil {
		t.Errorf("identities of a foreign key: %v", got)
	}
}

// TestNoSlave: where the node does not allow it, the host's VPP connects to no
// pod over memif. vhost-user's connect does not wait.
func TestNoSlave(t *testing.T) {
	p := Planner{RunDir: "/run/vpp-cni", NoSlave: true}
	slave := memif(func(h *schema.HostInterface) { h.Memif.Role = schema.MemifSlave })
	if _, err := p.Plan("c1", "net1", slave); err == nil || !strings.Contains(err.Error(), "agent.hostMemifSlave") {
		t.Errorf("a slave: %v, want a refusal that names the key", err)
	}
	for name, h := range map[string]schema.HostInterface{"a master": memif(nil), "a vhost-user client": vhost(schema.VhostClient)} {
		if _, err := p.Plan("c1", "net1", h); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := planner.Plan("c1", "net1", slave); err != nil {
		t.Errorf("a slave where it is allowed: %v", err)
	}
}
