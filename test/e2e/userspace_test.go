package e2e

import (
	"os"
	"testing"
)

// TestUserspaceConfiguration uses a network configuration of the Userspace CNI
// as it is: type userspace, cniVersion 0.3.1, nothing of ours in it. The node's
// config.yaml has the rest.
func TestUserspaceConfiguration(t *testing.T) {
	conf, err := os.ReadFile("testdata/userspace-memif.conflist")
	if err != nil {
		t.Fatal(err)
	}
	c := startCluster(t)
	n := c.node(t)
	t.Setenv("VPP_CNI_CONFIG", n.ConfigFile)
	list, err := n.Network(string(conf))
	if err != nil {
		t.Fatal(err)
	}
	before := c.state(t, n)
	a, b := n.pod(t, "us-a"), n.pod(t, "us-b")
	a.add(t, list, "net1")
	result := b.add(t, list, "net1")
	if got, want := result.IPs[0].Address.String(), "10.56.217.132/24"; got != want {
		t.Errorf("address of the second pod: %s, want %s", got, want)
	}
	a.start(t)
	b.start(t)
	a.ping(t, "10.56.217.132")
	a.del(t, list, "net1")
	b.del(t, list, "net1")
	c.requireState(t, n, before)
}
