package robustness

import (
	"fmt"
	"net/netip"
	"strings"
)

// callTimeout is the plugin's own time for one call.
const callTimeout = "6s"

// network is a network of the run, and what its attachments must look like.
type network struct {
	name, host string
	subnets    []string // host-local's, none for no IPAM
	mtu        uint32
	// bridge is the bridge domain's name, empty for none.
	bridge string
	vlan   uint16
	routed bool
	vrf    uint32
	// slot is the interface that may be in this network: a pod has no two
	// interfaces in one network.
	slot int
	// swapped: the pod's end is the memif's master.
	swapped bool
}

// networks are the networks of every run, in an order that seeds rely on.
func networks() []network {
	return []network{
		{name: "red", slot: 0, bridge: "red", subnets: []string{"10.1.0.0/22", "fd00:1::/64"}, host: memifHost("bridge", `"bridge": {"bridgeName": "red"}`)},
		{name: "seven", slot: 0, bridge: "7", vlan: 100, subnets: []string{"10.2.0.0/22"}, host: memifHost("bridge", `"bridge": {"bridgeName": 7, "vlanId": 100}`)},
		{name: "routed", slot: 1, routed: true, subnets: []string{"10.3.0.0/22", "fd00:3::/64"}, host: memifHost("interface", `"memif": {"mode": "ethernet"}`)},
		{name: "vrf", slot: 1, routed: true, vrf: 40, mtu: 1400, subnets: []string{"10.4.0.0/22"}, host: memifHost("interface", `"memif": {"mode": "ip"}`)},
		{name: "swapped", slot: 2, bridge: "9", swapped: true, subnets: []string{"10.5.0.0/22"}, host: memifHost("bridge", `"memif": {"role": "slave", "mode": "ethernet"}, "bridge": {"bridgeId": 9}`)},
		{name: "bare", slot: 2, host: memifHost("none", `"memif": {"mode": "ethernet"}`)},
	}
}

func memifHost(netType, rest string) string {
	return fmt.Sprintf(`{"engine": "vpp", "iftype": "memif", "netType": %q, %s}`, netType, rest)
}

// slots is how many interfaces a pod may have.
const slots = 3

func ifname(slot int) string { return fmt.Sprintf("net%d", slot+1) }

// networksOf are the indices of the networks that a slot may be in.
func networksOf(slot int) []int {
	var out []int
	for i, n := range networks() {
		if n.slot == slot {
			out = append(out, i)
		}
	}
	return out
}

// list is the configuration list; the lab fills in @CONFIG@ and @IPAM@.
func (n network) list() string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"cniVersion": "1.1.0", "name": %q, "plugins": [{"type": "vpp-cni", "timeout": %q, "configFile": "@CONFIG@", "host": %s`,
		n.name, callTimeout, n.host)
	if n.mtu != 0 {
		fmt.Fprintf(&b, `, "mtu": %d`, n.mtu)
	}
	if n.swapped {
		b.WriteString(`, "container": {"memif": {"role": "master"}}`)
	}
	if len(n.subnets) > 0 {
		ranges := make([]string, len(n.subnets))
		for i, s := range n.subnets {
			ranges[i] = fmt.Sprintf(`[{"subnet": %q}]`, s)
		}
		fmt.Fprintf(&b, `, "ipam": {"type": "host-local", "dataDir": "@IPAM@", "ranges": [%s]}`, strings.Join(ranges, ", "))
	}
	b.WriteString(`}]}`)
	return b.String()
}

// holds says whether an address is one that the network's IPAM gives out.
func (n network) holds(a netip.Addr) bool {
	for _, s := range n.subnets {
		if netip.MustParsePrefix(s).Contains(a) {
			return true
		}
	}
	return false
}
