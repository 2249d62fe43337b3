package e2e

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/vpp-cni/vpp-cni/schema"
)

// requireTryAgain says that err is CNI's "try again later" and that its text
// holds all words.
func requireTryAgain(t *testing.T, err error, words ...string) {
	t.Helper()
	var cni *types.Error
	if !errors.As(err, &cni) {
		t.Fatalf("error %v, want CNI code %d", err, types.ErrTryAgainLater)
	}
	if cni.Code != types.ErrTryAgainLater {
		t.Errorf("code %d (%v), want %d", cni.Code, err, types.ErrTryAgainLater)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// TestVPPDown: before ADD it is said at once, during ADD the call ends in error
// and leaves nothing; VPP coming back brings the attachments back.
func TestVPPDown(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	net := memifs[0]
	net.extra = `"timeout": "2s",`
	list := n.network(t, net)
	before := c.state(t, n)
	a, b := n.pod(t, "down-a"), n.pod(t, "down-b")
	a.add(t, list, "net1")
	target := b.add(t, list, "net1").IPs[0].Address.IP.String()
	a.start(t)
	b.start(t)
	a.ping(t, target)

	late := n.pod(t, "down-late")
	if err := n.VPP.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err := late.Add(timeout(t), list, "net1")
	requireTryAgain(t, err)

	if err = n.VPP.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "status after VPP died", func() string {
		if s := c.look(t, a).HostStatus; s.Value.State == schema.Ready {
			return "Ready"
		}
		return ""
	})
	begin := time.Now()
	_, err = late.Add(timeout(t), list, "net1")
	requireTryAgain(t, err, "node-1")
	if took := time.Since(begin); took > time.Second {
		t.Errorf("ADD took %s to say that VPP is down", took)
	}
	late.del(t, list, "net1")

	if err := n.VPP.Up(timeout(t)); err != nil {
		t.Fatal(err)
	}
	a.ping(t, target)
	a.check(t, list)
	a.del(t, list, "net1")
	b.del(t, list, "net1")
	c.requireState(t, n, before)
}

// TestAgentDown: ADD says so at once; DEL succeeds, and the agent removes what
// no key wants when it is back. A restart by itself touches nothing.
func TestAgentDown(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	list := n.network(t, memifs[0])
	before := c.state(t, n)
	a, b := n.pod(t, "agent-a"), n.pod(t, "agent-b")
	a.add(t, list, "net1")
	target := b.add(t, list, "net1").IPs[0].Address.IP.String()
	a.start(t)
	b.start(t)
	a.ping(t, target)

	if err := n.Agent.Stop(); err != nil {
		t.Fatal(err)
	}
	a.ping(t, target)
	_, err := n.pod(t, "agent-late").Add(timeout(t), list, "net1")
	requireTryAgain(t, err, "node-1", "agent")
	b.del(t, list, "net1")
	if err := n.Agent.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(timeout(t)); err != nil {
		t.Fatal(err)
	}
	a.check(t, list)
	a.del(t, list, "net1")
	eventually(t, "clean-up by the agent that came back", func() string {
		return difference(before, c.state(t, n))
	})
}

// TestAgentKilled: the next agent adopts what is there without a write to VPP.
func TestAgentKilled(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	list := n.network(t, memifs[2])
	a, b := n.pod(t, "kill-a"), n.pod(t, "kill-b")
	a.add(t, list, "net1")
	target := b.add(t, list, "net1").IPs[0].Address.IP.String()
	a.start(t)
	b.start(t)
	a.ping(t, target)
	rev := c.look(t, a).HostStatus.Rev
	if w := n.writes(t); w == 0 {
		t.Fatal("the metric does not count the first agent's writes")
	}
	if err := n.Agent.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.Agent.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(timeout(t)); err != nil {
		t.Fatal(err)
	}
	if w := n.writes(t); w != 0 {
		t.Errorf("the restarted agent wrote %v objects", w)
	}
	if got := c.look(t, a).HostStatus.Rev; got != rev {
		t.Errorf("the restarted agent wrote the status again: revision %d, was %d", got, rev)
	}
	a.ping(t, target)
}

// TestEtcdDown: traffic goes on, ADD and DEL say try again later, and both work
// when etcd is back.
func TestEtcdDown(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	net := memifs[0]
	net.extra = `"timeout": "1s",`
	list := n.network(t, net)
	before := c.state(t, n)
	a, b := n.pod(t, "etcd-a"), n.pod(t, "etcd-b")
	a.add(t, list, "net1")
	target := b.add(t, list, "net1").IPs[0].Address.IP.String()
	a.start(t)
	b.start(t)
	a.ping(t, target)

	c.etcd.Stop(0)
	late := n.pod(t, "etcd-late")
	_, err := late.Add(timeout(t), list, "net1")
	requireTryAgain(t, err, "etcd")
	requireTryAgain(t, b.Del(timeout(t), list, "net1"), "etcd")
	a.ping(t, target)
	if err := c.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}

	eventually(t, "ADD after etcd is back", func() string {
		if _, err := late.Add(timeout(t), list, "net1"); err != nil {
			return err.Error()
		}
		return ""
	})
	late.del(t, list, "net1")
	a.del(t, list, "net1")
	b.del(t, list, "net1")
	c.requireState(t, n, before)
}

// TestEditedVPP: what somebody changes in VPP behind the agent's back is mended,
// and CHECK and verify agree afterwards.
func TestEditedVPP(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	list := n.network(t, memifs[0])
	a, b := n.pod(t, "edit-a"), n.pod(t, "edit-b")
	a.add(t, list, "net1")
	target := b.add(t, list, "net1").IPs[0].Address.IP.String()
	a.start(t)
	b.start(t)
	a.ping(t, target)
	before := c.state(t, n)
	if err := n.DeleteInterface(timeout(t), c.look(t, a).HostStatus.Value.Interface); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the interface that was deleted in VPP", func() string {
		return difference(before, c.state(t, n))
	})
	a.ping(t, target)
	a.check(t, list)
}

// TestCheckSeesVPP: a change in VPP that makes no event is seen by CHECK before
// the agent's audit has mended it.
func TestCheckSeesVPP(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	list := n.network(t, memifs[0])
	p := n.pod(t, "check")
	p.add(t, list, "net1")
	p.check(t, list)
	if err := n.Unbridge(timeout(t), c.look(t, p).HostStatus.Value.Interface); err != nil {
		t.Fatal(err)
	}
	requireTryAgain(t, p.Check(timeout(t), list, "net1"), "bridge-member")
	if err := n.Agent.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := n.Agent.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(timeout(t)); err != nil {
		t.Fatal(err)
	}
	p.check(t, list)
	p.del(t, list, "net1")
}
