package e2e

import (
	"os"
	"testing"
)

// memifs are the ways a pod can be joined to the host's VPP by memif.
var memifs = []network{
	{
		name:    "bridge",
		host:    `{"engine": "vpp", "iftype": "memif", "netType": "bridge", "memif": {"role": "master", "mode": "ethernet"}, "bridge": {"bridgeName": "red"}}`,
		subnet4: "10.1.0.0/24", subnet6: "fd00:1::/64",
	},
	{
		name:    "vlan",
		host:    `{"engine": "vpp", "iftype": "memif", "netType": "bridge", "bridge": {"bridgeName": 7, "vlanId": 100}}`,
		subnet4: "10.2.0.0/24", subnet6: "fd00:2::/64",
	},
	{
		name:    "routed",
		host:    `{"engine": "vpp", "iftype": "memif", "netType": "interface"}`,
		subnet4: "10.3.0.0/24", subnet6: "fd00:3::/64",
	},
	{
		name:    "routed-ip",
		host:    `{"engine": "vpp", "iftype": "memif", "netType": "interface", "memif": {"mode": "ip"}}`,
		subnet4: "10.4.0.0/24", subnet6: "fd00:4::/64",
	},
	{
		name:      "roles-swapped",
		host:      `{"engine": "vpp", "iftype": "memif", "netType": "bridge", "memif": {"role": "slave", "mode": "ethernet"}, "bridge": {"bridgeId": 9}}`,
		container: `{"memif": {"role": "master"}}`,
		subnet4:   "10.5.0.0/24", subnet6: "fd00:5::/64",
	},
	{
		name:    "mtu",
		host:    `{"engine": "vpp", "iftype": "memif", "netType": "interface"}`,
		subnet4: "10.6.0.0/24", subnet6: "fd00:6::/64",
		extra: `"mtu": 1400,`,
	},
}

// TestPing joins two pods in every way and has each ping the other over IPv4
// and IPv6; afterwards nothing may be left.
func TestPing(t *testing.T) {
	pingEveryWay(t, startCluster(t))
}

// TestPingAcross is TestPing with pods of one sort and a host of the other:
// simulator against real VPP, both ways.
func TestPingAcross(t *testing.T) {
	vpp := os.Getenv("VPP")
	if vpp == "" {
		t.Skip("NO REAL VPP: say VPP=/usr/bin/vpp to let simulator and real VPP meet")
	}
	t.Run("real host, simulated pods", func(t *testing.T) { pingEveryWay(t, startClusterOn(t, vpp, "")) })
	t.Run("simulated host, real pods", func(t *testing.T) { pingEveryWay(t, startClusterOn(t, "", vpp)) })
}

func pingEveryWay(t *testing.T, c *cluster) {
	t.Helper()
	n := c.node(t)
	for _, net := range memifs {
		t.Run(net.name, func(t *testing.T) {
			before := c.state(t, n)
			list := n.network(t, net)
			a, b := n.pod(t, net.name+"-a"), n.pod(t, net.name+"-b")
			resultA, resultB := a.add(t, list, "net1"), b.add(t, list, "net1")
			a.start(t)
			b.start(t)
			for i := range resultB.IPs {
				a.ping(t, resultB.IPs[i].Address.IP.String())
				b.ping(t, resultA.IPs[i].Address.IP.String())
			}
			a.check(t, list)
			a.del(t, list, "net1")
			b.del(t, list, "net1")
			a.stop(t)
			b.stop(t)
			c.requireState(t, n, before)
		})
	}
}

// TestPingGateway: a routed pod reaches the gateway that IPAM gave it, which is
// the host's VPP.
func TestPingGateway(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	net := memifs[2]
	list := n.network(t, net)
	a := n.pod(t, "gw-a")
	result := a.add(t, list, "net1")
	a.start(t)
	for _, ip := range result.IPs {
		a.ping(t, ip.Gateway.String())
	}
	a.del(t, list, "net1")
}
