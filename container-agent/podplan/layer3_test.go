package podplan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema"
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestLayer3(t *testing.T) {
	t.Parallel()
	gateways := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}
	byGateway := []schema.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), GW: gateways[0]}}
	for _, tc := range []struct {
		name string
		give schema.PodInterface
		want string
	}{
		{
			name: "on a bridge the neighbours are on the link",
			give: schema.PodInterface{Addresses: prefixes("10.0.0.2/24"), Gateways: gateways[:1], Routes: byGateway},
			want: "address 10.0.0.2/24\nroute 0.0.0.0/0 via 10.0.0.1",
		},
		{
			name: "routed with a default route",
			give: schema.PodInterface{Routed: true, Addresses: prefixes("10.0.0.2/24"), Gateways: gateways[:1], Routes: byGateway},
			want: "address 10.0.0.2/32\nroute 10.0.0.1/32\nroute 0.0.0.0/0 via 10.0.0.1",
		},
		{
			name: "routed without one: the subnet goes by the gateway",
			give: schema.PodInterface{Routed: true, Addresses: prefixes("10.0.0.2/24", "fd00::2/64"), Gateways: gateways},
			want: `address 10.0.0.2/32
address fd00::2/128
route 10.0.0.1/32
route fd00::1/128
route 10.0.0.0/24 via 10.0.0.1
route fd00::/64 via fd00::1`,
		},
		{
			name: "routed without a gateway: as IPAM says",
			give: schema.PodInterface{Routed: true, Addresses: prefixes("10.0.0.2/24")},
			want: "address 10.0.0.2/24",
		},
		{
			name: "a host address has no subnet to reach",
			give: schema.PodInterface{Routed: true, Addresses: prefixes("10.0.0.2/32"), Gateways: gateways[:1]},
			want: "address 10.0.0.2/32\nroute 10.0.0.1/32",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			addresses, routes := layer3(tc.give)
			var lines []string
			for _, a := range addresses {
				lines = append(lines, fmt.Sprint("address ", a))
			}
			for _, r := range routes {
				line := fmt.Sprint("route ", r.Dst)
				if r.GW.IsValid() {
					line += fmt.Sprint(" via ", r.GW)
				}
				lines = append(lines, line)
			}
			if diff := cmp.Diff(tc.want, strings.Join(lines, "\n")); diff != "" {
				t.Errorf("layer 3 (-want +got):\n%s", diff)
			}
		})
	}
}
