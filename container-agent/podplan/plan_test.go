package podplan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

var planner = Planner{SocketDir: "/run/vpp-cni"}

func end(edit func(*schema.PodInterface)) schema.PodInterface {
	v := schema.PodInterface{
		Network: "net-a", Container: "c1", Pod: schema.PodRef{ID: "p1"}, IfType: schema.Memif, NetType: schema.NetInterface,
		Memif: &schema.MemifEnd{Role: schema.MemifSlave, Mode: schema.MemifEthernet, Socket: "net1.memif"},
		MAC:   schema.MAC{2, 0, 0, 0, 0, 2},
	}
	if edit != nil {
		edit(&v)
	}
	return v
}

func addressed(v *schema.PodInterface) {
	v.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("fd00::2/64")}
	v.Routes = []schema.Route{
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), GW: netip.MustParseAddr("10.0.0.1")},
		{Dst: netip.MustParsePrefix("fd00::1/128")},
	}
}

// lines prints objects, one a line. $T is the attachment's tag.
func lines(objects []model.Object) string {
	out := make([]string, 0, len(objects))
	for _, o := range objects {
		line := o.ID().String()
		switch v := o.(type) {
		case model.Memif:
			line += fmt.Sprintf(" master=%t ip=%t mac=%x secret=%s dir=%s", v.Master, v.IPMode, v.MAC, v.Secret.Reveal(), v.Dir)
		case model.MTU:
			line += fmt.Sprint(" ", v.Bytes)
		case model.BridgeMember:
			line += fmt.Sprintf(" of %d (%s)", v.DomainID, v.Interface.Kind)
		case model.SubInterface:
			line += fmt.Sprintf(" of %s vlan %d", v.Parent, v.VLAN)
		case model.Route:
			line += " by " + v.Interface.Name
			if v.NextHop.IsValid() {
				line += " via " + v.NextHop.String()
			}
		case model.AdminUp:
			line += fmt.Sprintf(" (%s)", v.Interface.Kind)
		}
		out = append(out, line)
	}
	return strings.ReplaceAll(strings.Join(out, "\n"), "vpp-cni/net1/pod", "$T")
}

func TestPlan(t *testing.T) {
	t.Parallel()
	const head = `socket /run/vpp-cni/net1.memif
memif $T master=false ip=false mac=020000000002 secret= dir=
`
	for _, tc := range []struct {
		name string
		give schema.PodInterface
		want string
	}{
		{"no addresses", end(nil), head + "admin-up $T (memif)"},
		{
			name: "addresses and routes",
			give: end(func(v *schema.PodInterface) { addressed(v); v.MTU = 1400 }),
			want: head + `mtu $T 1400
admin-up $T (memif)
address $T 10.0.0.2/24
address $T fd00::2/64
route 0 0.0.0.0/0 by $T via 10.0.0.1
route 0 fd00::1/128 by $T`,
		},
		{
			name: "on a VLAN of the host's bridge",
			give: end(func(v *schema.PodInterface) { addressed(v); v.VLAN = 7 }),
			want: head + `admin-up $T (memif)
sub-interface $T:7 of memif $T vlan 7
admin-up $T:7 (sub-interface)
address $T:7 10.0.0.2/24
address $T:7 fd00::2/64
route 0 0.0.0.0/0 by $T:7 via 10.0.0.1
route 0 fd00::1/128 by $T:7`,
		},
		{
			name: "ip mode: one peer, nothing to resolve",
			give: end(func(v *schema.PodInterface) {
				addressed(v)
				v.Memif.Mode, v.MAC, v.Memif.Role, v.Memif.Secret = schema.MemifIP, schema.MAC{}, schema.MemifMaster, schema.NewSecret("s3cret")
			}),
			want: `socket /run/vpp-cni/net1.memif
memif $T master=true ip=true mac=000000000000 secret=s3cret dir=
admin-up $T (memif)
address $T 10.0.0.2/24
address $T fd00::2/64
route 0 0.0.0.0/0 by $T
route 0 fd00::1/128 by $T`,
		},
		{
			name: "in a bridge of the pod's VPP",
			give: end(func(v *schema.PodInterface) {
				v.NetType, v.Bridge = schema.NetBridge, &schema.BridgeEnd{Name: "5", DomainID: 5, VLAN: 7}
			}),
			want: head + `admin-up $T (memif)
bridge-domain 5
sub-interface $T:7 of memif $T vlan 7
admin-up $T:7 (sub-interface)
bridge-member $T:7 of 5 (sub-interface)`,
		},
		{
			name: "none",
			give: end(func(v *schema.PodInterface) { v.NetType = schema.NetNone }),
			want: head + "admin-up $T (memif)",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, err := planner.Plan("net1", tc.give)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, lines(p.Objects)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			if p.Interface != "vpp-cni/net1/pod" || p.SocketPath != "/run/vpp-cni/net1.memif" || p.ApplicationOwned {
				t.Errorf("plan %+v", p)
			}
		})
	}
}

func TestVhostUserBelongsToTheApplication(t *testing.T) {
	t.Parallel()
	for role, want := range map[schema.VhostRole]string{schema.VhostServer: "connects to", schema.VhostClient: "serves"} {
		p, err := planner.Plan("net1", end(func(v *schema.PodInterface) {
			v.IfType, v.Memif = schema.VhostUser, nil
			v.VhostUser = &schema.VhostEnd{Role: role, Socket: "net1.vhost"}
			addressed(v)
		}))
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Objects) > 0 || !p.ApplicationOwned || !strings.Contains(p.Message, want) || p.SocketPath != "/run/vpp-cni/net1.vhost" {
			t.Errorf("%s: plan %+v: want no objects, and a message that the application %s the socket", role, p, want)
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	good, err := schema.Encode(end(addressed))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, key, value, want string }{
		{"good", "interfaces/net1", string(good), ""},
		{"status key", "status/net1", string(good), "not a desired pod end"},
		{"foreign key", "else/net1", string(good), "not interfaces/<ifname>"},
		{"unknown field", "interfaces/net1", `{"network":"a","more":1}`, `unknown field "more"`},
		{"ip mode in a bridge", "interfaces/net1", strings.NewReplacer(`"interface"`, `"bridge","bridge":{"name":"5","domainID":5}`, `"ethernet"`, `"ip"`).Replace(string(good)), "cannot join a bridge"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := planner.Decode(tc.key, []byte(tc.value))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("error %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want one that says %q", err, tc.want)
			}
		})
	}
	long := Planner{SocketDir: "/" + strings.Repeat("r", 100)}
	if _, err := long.Decode("interfaces/net1", good); err == nil || !strings.Contains(err.Error(), "socket path") {
		t.Errorf("error %v, want one of the socket path", err)
	}
}

func TestInterfaces(t *testing.T) {
	t.Parallel()
	want := []model.ID{{Kind: model.KindMemif, Name: "vpp-cni/net1/pod"}}
	if diff := cmp.Diff(want, Interfaces("interfaces/net1")); diff != "" {
		t.Errorf("identities (-want +got):\n%s", diff)
	}
	if got := Interfaces("rubbish"); got != nil {
		t.Errorf("identities of a foreign key: %v", got)
	}
}
