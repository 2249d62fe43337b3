package daemon_test

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// The attachments of the tests: one of each sort that the host has.
func vlan(pod string) schema.HostInterface {
	return host(pod, func(h *schema.HostInterface) { h.Bridge.VLAN, h.MTU = 7, 1400 })
}

func routedHost(pod, address string) schema.HostInterface {
	return host(pod, func(h *schema.HostInterface) {
		h.NetType, h.Bridge, h.VRF = schema.NetInterface, nil, 3
		h.PodAddresses, h.Gateways = addrs(address), addrs("10.0.0.1")
	})
}

func vhostUser(pod string) schema.HostInterface {
	return host(pod, func(h *schema.HostInterface) {
		h.IfType, h.Memif = schema.VhostUser, nil
		h.VhostUser = &schema.VhostEnd{Role: schema.VhostServer, Socket: "net1.vhost"}
	})
}

// fill makes the attachments c1 to c4.
func (b *bench) fill() {
	b.t.Helper()
	for c, h := range map[string]schema.HostInterface{"c1": host("p1"), "c2": vlan("p2"), "c3": routedHost("p3", "10.0.0.3"), "c4": vhostUser("p4")} {
		b.put(c, h)
		b.await(c, 0, "Ready/Applied")
	}
}

// there is what VPP and the run-dir hold of ours.
func (b *bench) there() []string {
	b.t.Helper()
	objects, err := b.driver(b.sim.APISocket(), filepath.Join(b.runDir, "pods")).Dump(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	out := make([]string, 0, len(objects))
	for _, o := range objects {
		out = append(out, fmt.Sprintf("%s %+v", o.ID(), o))
	}
	for _, d := range b.podDirs() {
		out = append(out, "directory "+d)
	}
	slices.Sort(out)
	return out
}

func (b *bench) held(n int) {
	b.t.Helper()
	b.eventually(fmt.Sprint(n, " held"), func() error {
		if s := b.daemon.State(); s.Held != n || s.Ready() != nil {
			return fmt.Errorf("%d held, %w", s.Held, s.Ready())
		}
		return nil
	})
}

func (b *bench) deletePrefix(prefix string) {
	b.t.Helper()
	if _, err := b.client.Delete(b.t.Context(), prefix, clientv3.WithPrefix()); err != nil {
		b.t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestForgottenAttachmentsAreHeld: however the store lost them, with the agent
// running and with one that starts without a memory.
func TestForgottenAttachmentsAreHeld(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		forget   func(b *bench, snapshot string) error
		restored bool // etcd knows c0 afterwards
		awayOnly bool // with the agent there it is a removal
	}{
		"etcd wiped": {forget: func(b *bench, _ string) error { return b.etcd.Wipe() }},
		"older backup restored": {
			forget:   func(b *bench, snapshot string) error { return b.etcd.Restore(snapshot, 0) },
			restored: true,
		},
		"older backup restored, revisions going on": {
			forget:   func(b *bench, snapshot string) error { return b.etcd.Restore(snapshot, 1_000_000) },
			restored: true,
		},
		"keys of the node deleted": {
			forget:   func(b *bench, _ string) error { b.deletePrefix(b.keys.NodePrefix(node)); return nil },
			awayOnly: true,
		},
		"keys of the node deleted, compacted": {
			forget: func(b *bench, _ string) error {
				b.deletePrefix(b.keys.NodePrefix(node))
				return b.etcd.Compact(b.t.Context())
			},
			awayOnly: true,
		},
	} {
		for _, restart := range []bool{false, true} {
			if tc.awayOnly && !restart {
				continue
			}
			t.Run(fmt.Sprintf("%s, agent restarted %t", name, restart), func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.startVPP()
				b.start()
				b.put("c0", host("p0"))
				b.await("c0", 0, "Ready/Applied")
				snapshot, err := b.etcd.Snapshot(t.Context())
				must(t, err)
				b.fill()
				before := b.there()
				time.Sleep(500 * time.Millisecond) // the watch has heard that etcd answers progress requests
				b.written()
				if restart {
					b.stop()
				}
				must(t, tc.forget(b, snapshot))
				if restart {
					b.start()
				}
				n := 5
				if tc.restored {
					n = 4
				}
				b.held(n)
				b.checkHeld(n, before)
				if tc.restored {
					b.await("c0", 0, "Ready/Applied")
				}
			})
		}
	}
}

// checkHeld looks at all that tells of n held attachments, and that life goes on
// beside them.
func (b *bench) checkHeld(n int, before []string) {
	b.t.Helper()
	time.Sleep(300 * time.Millisecond)
	if diff := cmp.Diff(map[string]int{}, b.written()); diff != "" {
		b.t.Errorf("writes to VPP (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, b.there()); diff != "" {
		b.t.Errorf("VPP and the run-dir (-before +after):\n%s", diff)
	}
	h := b.daemon.Handler(b.daemon.Checks)
	code, body := get(b.t, h, "/verify")
	if code != http.StatusOK || !strings.Contains(body, `"inSync":false`) || strings.Count(body, `"interface":"`) != n ||
		!strings.Contains(body, `"drift":[]`) || !strings.Contains(body, `{"attachment":"c1/net1","interface":"memif`) {
		b.t.Errorf("verify: %d %s", code, body)
	}
	if _, body = get(b.t, h, "/metrics"); !strings.Contains(body, fmt.Sprintf("vppcni_held_attachments %d\n", n)) {
		b.t.Errorf("metrics lack the gauge %d", n)
	}
	b.put("c9", routedHost("p9", "10.0.0.9"))
	b.await("c9", 0, "Ready/Applied")
	b.del("c9")
	b.awaitGone("c9")
	if diff := cmp.Diff(before, b.there()); diff != "" {
		b.t.Errorf("after one more came and went (-before +after):\n%s", diff)
	}
	b.held(n)
}

// held4 is a node with c1 to c4 held.
func held4(t *testing.T, restart bool) *bench {
	t.Helper()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.fill()
	time.Sleep(500 * time.Millisecond) // as above
	if restart {
		b.stop()
	}
	must(t, b.etcd.Wipe())
	if restart {
		b.start()
	}
	b.held(4)
	return b
}

// bothWays runs a test with an agent that remembers what it holds, and with one
// that has found it in VPP.
func bothWays(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	for name, restart := range map[string]bool{"remembered": false, "found": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, held4(t, restart))
		})
	}
}

func TestHoldEndsWhenTheKeyIsBack(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, b *bench) {
		t.Helper()
		before := b.there()
		b.written()
		b.put("c1", host("p1"))
		b.put("c3", routedHost("p3", "10.0.0.3"))
		b.await("c1", 0, "Ready/Applied")
		b.await("c3", 0, "Ready/Applied")
		b.held(2)
		if diff := cmp.Diff(map[string]int{}, b.written()); diff != "" {
			t.Errorf("writes to VPP (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(before, b.there()); diff != "" {
			t.Errorf("VPP and the run-dir (-before +after):\n%s", diff)
		}
	})
}

// tombstone is what a DEL leaves for an attachment that etcd does not know of.
// It speaks of the revision at which the store was read.
func (b *bench) tombstone(container string) {
	b.t.Helper()
	value, err := schema.Encode(schema.InterfaceStatus{SpecRevision: b.revision(), State: schema.Removed, Reason: schema.ReasonDetached, Since: time.Now().UTC()})
	must(b.t, err)
	_, err = b.client.Put(b.t.Context(), b.keys.HostStatus(node, schema.ContainerID(container), "net1"), string(value))
	must(b.t, err)
}

func TestHoldEndsWithALateDEL(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, b *bench) {
		t.Helper()
		for n, c := range []string{"c1", "c2", "c3", "c4"} {
			b.tombstone(c)
			b.awaitGone(c)
			b.held(3 - n)
			if there := strings.Join(b.there(), "\n"); strings.Contains(there, "vpp-cni/net1/"+c) || strings.Contains(there, "directory p"+c[1:]) {
				t.Errorf("after the end of %s there is still\n%s", c, there)
			}
		}
		if there := b.there(); len(there) > 0 {
			t.Errorf("left: %v", there)
		}
	})
}

// TestHoldEndsForANewSandbox: the same pod's new sandbox needs the sockets, and
// of c3 the address.
func TestHoldEndsForANewSandbox(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, b *bench) {
		t.Helper()
		for c, h := range map[string]schema.HostInterface{"n1": host("p1"), "n3": routedHost("p3", "10.0.0.3"), "n4": vhostUser("p4")} {
			b.put(c, h)
			b.await(c, 0, "Ready/Applied")
		}
		b.held(1)
		there := strings.Join(b.there(), "\n")
		for _, c := range []string{"c1", "c3", "c4"} {
			if strings.Contains(there, "vpp-cni/net1/"+c) {
				t.Errorf("%s is still there:\n%s", c, there)
			}
		}
		if !strings.Contains(there, "vpp-cni/net1/c2") {
			t.Errorf("c2 is gone:\n%s", there)
		}
	})
}

// TestHeldGivesWay: what is desired has an address that a held one has, in
// another pod.
func TestHeldGivesWay(t *testing.T) {
	t.Parallel()
	bothWays(t, func(_ *testing.T, b *bench) {
		b.put("x", routedHost("px", "10.0.0.3"))
		b.await("x", 0, "Ready/Applied")
		b.held(4)
	})
}

func (b *bench) word(instance string) {
	b.t.Helper()
	value, err := schema.Encode(schema.Release{Instance: instance, At: time.Now().UTC()})
	must(b.t, err)
	_, err = b.client.Put(b.t.Context(), b.keys.Release(node), string(value))
	must(b.t, err)
}

func (b *bench) wordGone() {
	b.t.Helper()
	b.eventually("end of the word", func() error {
		resp, err := b.client.Get(b.t.Context(), b.keys.Release(node))
		if err == nil && len(resp.Kvs) > 0 {
			err = errors.New("it is there")
		}
		return err
	})
}

func TestHoldEndsWithTheOperatorsWord(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, b *bench) {
		t.Helper()
		before := b.there()
		b.written()
		b.word("another-instance")
		b.wordGone()
		time.Sleep(300 * time.Millisecond)
		if diff := cmp.Diff(before, b.there()); diff != "" || len(b.written()) > 0 {
			t.Errorf("after a word for another instance (-before +after):\n%s", diff)
		}
		b.put("c1", host("p1"))
		b.await("c1", 0, "Ready/Applied")
		b.word(instance)
		b.wordGone()
		b.held(0)
		b.eventually("the end of what was held", func() error {
			for _, o := range b.there() {
				if !strings.Contains(o, "c1") && !strings.Contains(o, "p1") && !strings.Contains(o, "bridge-domain 5") {
					return fmt.Errorf("there is %s", o)
				}
			}
			return nil
		})
		b.await("c1", 0, "Ready/Applied")
	})
}

// TestLateWordIsNone: one that is given when the hold has just ended, before that
// was told, does not stay for the next hold.
func TestLateWordIsNone(t *testing.T) {
	t.Parallel()
	b := held4(t, false)
	b.word(instance)
	b.wordGone()
	b.word(instance)
	b.wordGone()
}

// TestEarlyWordIsNone: a word given while nothing was held cuts nobody later.
func TestEarlyWordIsNone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	b.word(instance)
	snapshot, err := b.etcd.Snapshot(t.Context())
	must(t, err)
	b.put("c2", host("p2"))
	b.await("c2", 0, "Ready/Applied")
	before := b.there()
	time.Sleep(500 * time.Millisecond) // as above
	must(t, b.etcd.Restore(snapshot, 0))
	b.held(1)
	b.wordGone()
	time.Sleep(300 * time.Millisecond)
	b.held(1)
	if diff := cmp.Diff(before, b.there()); diff != "" {
		t.Errorf("VPP and the run-dir (-before +after):\n%s", diff)
	}
}

// TestVPPRestartWhileHeld: the agent that remembers brings the held ones back.
func TestVPPRestartWhileHeld(t *testing.T) {
	t.Parallel()
	b := held4(t, false)
	before := b.there()
	b.sim.Kill()
	must(t, b.sim.Restart())
	b.eventually("VPP to be filled", func() error {
		if diff := cmp.Diff(before, b.there()); diff != "" {
			return fmt.Errorf("(-before +after):\n%s", diff)
		}
		return nil
	})
	b.held(4)
}
