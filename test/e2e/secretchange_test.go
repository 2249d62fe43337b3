package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/traffic"
)

// edits puts another secret into the keys of one attachment at once.
func (h hand) edits(old, secret string, keys ...string) {
	h.t.Helper()
	var ops []clientv3.Op
	for _, key := range keys {
		was := h.get(key)
		now := strings.Replace(was, `"secret":"`+old+`"`, `"secret":"`+secret+`"`, 1)
		if now == was && old != secret {
			h.t.Fatalf("%s: no such secret", key)
		}
		ops = append(ops, clientv3.OpPut(key, now))
	}
	if _, err := h.client.Txn(timeout(h.t)).Then(ops...).Commit(); err != nil {
		h.t.Fatal(err)
	}
}

// links waits until both ends' statuses speak of what is desired now and say
// link.
func (c *cluster) links(t *testing.T, p pod, link schema.Link) {
	t.Helper()
	eventually(t, "both ends "+string(link), func() string {
		v := c.look(t, p)
		switch {
		case v.Host == nil || v.Pod == nil || v.HostStatus == nil || v.PodStatus == nil:
			return "without keys"
		case v.HostStatus.Value.SpecRevision != v.Host.Rev || v.PodStatus.Value.SpecRevision != v.Pod.Rev:
			return "at an older value"
		case v.HostStatus.Value.State != schema.Ready || v.PodStatus.Value.State != schema.Ready:
			return fmt.Sprint(v.HostStatus.Value.State, v.HostStatus.Value.Message, v.PodStatus.Value.State, v.PodStatus.Value.Message)
		case v.HostStatus.Value.Link != link || v.PodStatus.Value.Link != link:
			return fmt.Sprintf("%s and %s", v.HostStatus.Value.Link, v.PodStatus.Value.Link)
		}
		return ""
	})
}

// TestSecretsChange: whatever an attachment's secret becomes, seen by the agents
// or while they are away, both ends come to have it; ends that differ do not
// connect, and CHECK says why.
func TestSecretsChange(t *testing.T) {
	for _, net := range []network{memifs[0], memifs[4]} {
		t.Run(net.name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t)
			n := c.node(t)
			h := c.hand(t)
			list := n.network(t, net)
			peer := n.pod(t, "peer")
			target := peer.add(t, list, "net1").IPs[0].Address.IP.String()
			peer.start(t)
			p := n.pod(t, "pod")
			p.add(t, list, "net1")
			p.start(t)
			c.links(t, p, schema.LinkUp)
			v := c.look(t, p)
			host, end, secret := v.Host.Key, v.Pod.Key, v.Pod.Value.Memif.Secret.Reveal()
			if v.Host.Value.Memif.Secret != v.Pod.Value.Memif.Secret || len(secret) != schema.MaxSecret {
				t.Fatal("the ends have no secret of their own")
			}
			p.ping(t, target)

			h.edits(secret, "theSecond", host, end)
			c.links(t, p, schema.LinkUp)
			p.ping(t, target)

			if err := errors.Join(n.Agent.Kill(), p.Agent.Kill()); err != nil {
				t.Fatal(err)
			}
			h.edits("theSecond", "theThird", host, end)
			if err := errors.Join(n.Agent.Start(), p.Agent.Start(), n.WaitReady(timeout(t))); err != nil {
				t.Fatal(err)
			}
			c.links(t, p, schema.LinkUp)
			p.ping(t, target)
			p.check(t, list)

			h.edits("theThird", "only at the pod's end", end)
			c.links(t, p, schema.LinkDown)
			err := p.Check(timeout(t), list, "net1")
			if err == nil || !strings.Contains(err.Error(), "pod.memif.secret differs") || strings.Contains(err.Error(), "theThird") {
				t.Errorf("CHECK of ends with two secrets: %v", err)
			}
			h.edits("only at the pod's end", "theThird", end)
			c.links(t, p, schema.LinkUp)
			p.ping(t, target)
			writes := n.writes(t)
			if err := errors.Join(n.Agent.Stop(), n.Agent.Start(), n.WaitReady(timeout(t))); err != nil {
				t.Fatal(err)
			}
			c.links(t, p, schema.LinkUp)
			if w := n.writes(t); w != 0 {
				t.Errorf("an agent that starts writes %v objects (%v before): a secret that is right passes for another", w, writes)
			}
		})
	}
}

// TestUpgradeFromBeforeMarks: interfaces with tags as agents before marks wrote
// them are adopted without a write and without a packet lost; one whose pod
// goes is then made anew, with its secret and a mark.
func TestUpgradeFromBeforeMarks(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	n.auditOften(t)
	op := n.operator(t)
	flows := []*flow{c.flow(t, n, memifs[0], traffic.Options{}), c.flow(t, n, memifs[1], traffic.Options{})}
	if err := n.Agent.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, f := range flows {
		for i, p := range f.pods {
			s := c.scene(t, f, op, 0)
			iface := []index{s.other, s.iface}[i]
			sum := sha256.Sum256([]byte(p.Container))
			old := "vpp-cni/net1/" + p.Container[:12] + "~" + hex.EncodeToString(sum[:13])
			if err := op.setTag(timeout(t), iface, old); err != nil {
				t.Fatal(err)
			}
			if s.host.Bridge.VLAN == 0 {
				continue
			}
			sub, err := op.named(timeout(t), fmt.Sprintf("%s.%d", c.look(t, p).HostStatus.Value.Interface, s.host.Bridge.VLAN))
			if err = errors.Join(err, op.setTag(timeout(t), sub, fmt.Sprintf("%s.%d", old, s.host.Bridge.VLAN))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(n.Agent.Start(), n.WaitReady(timeout(t))); err != nil {
		t.Fatal(err)
	}
	rest(t, 3*audit)
	if w := n.writes(t); w != 0 {
		t.Errorf("the agent has written %v objects", w)
	}
	if d := n.unmended(t); d != "" {
		t.Errorf("drift: %s", d)
	}
	requireNothingLost(t, flows)

	f := flows[0]
	victim := f.pods[1]
	name := c.look(t, victim).HostStatus.Value.Interface
	f.to.Close()
	eventually(t, "a mark", func() string {
		objects, err := n.VPPObjects(timeout(t))
		if err != nil {
			return err.Error()
		}
		for _, o := range objects {
			if strings.Contains(o, "interface "+name+" ") && strings.Contains(o, "#") {
				return ""
			}
		}
		return strings.Join(objects, "\n")
	})
	victim.start(t)
	c.links(t, victim, schema.LinkUp)
}
