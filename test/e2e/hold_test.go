package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// held is how many attachments the node's agent says that it holds.
func (c *cluster) held(t *testing.T, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d held", want), func() string {
		nodes, _, err := c.store.Nodes(timeout(t))
		switch {
		case err != nil:
			return err.Error()
		case len(nodes) != 1 || nodes[0].Agent == nil:
			return "no agent is there"
		case nodes[0].Agent.Value.Held != want:
			return fmt.Sprint(nodes[0].Agent.Value.Held, " are held")
		}
		return ""
	})
}

// TestWipedEtcd: etcd loses everything, and the agents that start afterwards have
// no memory. Pods keep their traffic; new ones come and go; a late DEL and the
// operator's word take away what was held.
func TestWipedEtcd(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	list := n.network(t, memifs[0])
	a, b, d := n.pod(t, "wiped-a"), n.pod(t, "wiped-b"), n.pod(t, "wiped-d")
	a.add(t, list, "net1")
	target := b.add(t, list, "net1").IPs[0].Address.IP.String()
	d.add(t, list, "net1")
	a.start(t)
	b.start(t)
	a.ping(t, target)

	if err := n.Agent.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.etcd.Wipe(); err != nil {
		t.Fatal(err)
	}
	if err := n.Agent.Start(); err != nil {
		t.Fatal(err)
	}
	c.held(t, 3)
	a.ping(t, target)
	if err := errors.Join(a.Agent.Kill(), a.Agent.Start()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod's agent", func() string {
		if code, body, err := a.Get(timeout(t), "/readyz"); err != nil || code != http.StatusOK {
			return fmt.Sprint(err, body)
		}
		return ""
	})
	a.ping(t, target)
	fresh := n.pod(t, "wiped-fresh")
	fresh.add(t, list, "net1")
	a.ping(t, target)
	fresh.del(t, list, "net1")

	d.del(t, list, "net1")
	c.held(t, 2)
	a.ping(t, target)
	out, err := exec.CommandContext(timeout(t), filepath.Join(binDir(), "vpp-cnictl"),
		"--config", n.OperatorConfig, "node", "release", "node-1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "let 2 attachments go") {
		t.Fatalf("release: %v: %s", err, out)
	}
	c.held(t, 0)
	eventually(t, "an empty VPP", func() string {
		objects, err := n.VPPObjects(timeout(t))
		if err != nil {
			return err.Error()
		}
		return strings.Join(slices.DeleteFunc(objects, func(o string) bool { return !strings.Contains(o, "vpp-cni/") }), "\n")
	})
}
