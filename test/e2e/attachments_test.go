package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// look is what etcd says of the pod's attachment net1.
func (c *cluster) look(t *testing.T, p pod) store.View {
	t.Helper()
	v, err := c.store.Look(timeout(t), store.Lookup{
		Node: schema.Node(p.Node.Name), Container: schema.ContainerID(p.Container),
		IfName: "net1", Pod: schema.PodID(p.UID),
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// eventually polls until ok says nothing more is missing.
func eventually(t *testing.T, what string, ok func() (missing string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		missing := ok()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still %s after %s", what, missing, patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestTwoInterfaces: a pod has two interfaces, on one network and on two, and
// each is there and goes by itself.
func TestTwoInterfaces(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	red := n.network(t, network{name: "red", host: memifs[0].host, subnet4: "10.11.0.0/24"})
	blue := n.network(t, network{
		name:    "blue",
		host:    `{"engine": "vpp", "iftype": "memif", "netType": "bridge", "bridge": {"bridgeName": "blue"}}`,
		subnet4: "10.12.0.0/24",
	})
	before := c.state(t, n)
	a, b := n.pod(t, "two-a"), n.pod(t, "two-b")
	a.add(t, red, "net1")
	a.add(t, red, "net2")
	a.add(t, blue, "net3")
	onRed, onBlue := b.add(t, red, "net1"), b.add(t, blue, "net2")
	a.start(t)
	b.start(t)
	a.ping(t, onBlue.IPs[0].Address.IP.String())
	a.del(t, blue, "net3")
	a.del(t, red, "net2")
	a.ping(t, onRed.IPs[0].Address.IP.String())
	a.del(t, red, "net1")
	b.del(t, red, "net1")
	b.del(t, blue, "net2")
	c.requireState(t, n, before)
}

// TestVhostUser: VPP serves the socket or connects to it; the pod's end is the
// application's and its status says so.
func TestVhostUser(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	for mode, hostMode := range map[string]string{"server": "server", "client": "client"} {
		t.Run(mode, func(t *testing.T) {
			before := c.state(t, n)
			list := n.network(t, network{
				name:    "vhost-" + mode,
				host:    `{"engine": "vpp", "iftype": "vhostuser", "netType": "bridge", "vhost": {"mode": "` + hostMode + `"}, "bridge": {"bridgeName": "5"}}`,
				subnet4: "10.13.0.0/24",
			})
			p := n.pod(t, "vhost-"+mode)
			result := p.add(t, list, "net1")
			if len(result.Interfaces) == 0 || !strings.HasSuffix(result.Interfaces[0].SocketPath, "/net1.vhost") {
				t.Errorf("ADD answered without the socket's path: %+v", result.Interfaces)
			}
			p.start(t)
			eventually(t, "status of the pod's end", func() string {
				if s := c.look(t, p).PodStatus; s == nil || s.Value.Reason != schema.ReasonApplicationOwned {
					return "not ApplicationOwned"
				}
				return ""
			})
			p.check(t, list)
			p.del(t, list, "net1")
			p.stop(t)
			c.requireState(t, n, before)
		})
	}
}

// TestTakeover: a new sandbox of the same pod takes the interface over, and the
// late DEL of the old one, without a netns as containerd sends it, leaves the
// new one alone.
func TestTakeover(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	list := n.network(t, memifs[0])
	before := c.state(t, n)
	peer := n.pod(t, "peer")
	target := peer.add(t, list, "net1").IPs[0].Address.IP.String()
	peer.start(t)

	old := n.pod(t, "pod")
	old.add(t, list, "net1")
	old.start(t)
	old.ping(t, target)
	old.stop(t)

	renewed := pod{old.NewSandbox()}
	renewed.add(t, list, "net1")
	renewed.start(t)
	renewed.ping(t, target)
	old.del(t, list, "net1")
	old.del(t, list, "net1")
	renewed.ping(t, target)
	renewed.check(t, list)

	renewed.del(t, list, "net1")
	peer.del(t, list, "net1")
	c.requireState(t, n, before)
}
