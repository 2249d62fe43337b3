package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/hostplan"
	"github.com/vpp-cni/vpp-cni/schema"
)

// onBoot lets the agent believe in a boot.
func (b *bench) onBoot(id string) func(*daemon.Config) {
	return func(c *daemon.Config) { c.Contract = contract(hostplan.Planner{RunDir: b.runDir, BootID: id}) }
}

func ofBoot(id string) func(*schema.HostInterface) {
	return func(h *schema.HostInterface) { h.BootID = id }
}

// TestReboot: the node comes back with an empty VPP and the keys of dead
// sandboxes.
func TestReboot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start(b.onBoot("boot-1"))
	for _, c := range []string{"c1", "c2", "c3"} {
		b.put(c, host("p-"+c, ofBoot("boot-1")))
		b.await(c, 0, "Ready/Applied")
	}
	b.put("undated", host("p-undated")) // by a plugin that knows no boots
	b.await("undated", 0, "Ready/Applied")
	b.stop()
	b.sim.Kill()
	must(t, b.sim.Restart())
	must(t, os.RemoveAll(filepath.Join(b.runDir, "pods", "p-undated")))
	b.written()

	b.start(b.onBoot("boot-2"))
	b.ready()
	for _, c := range []string{"c1", "c2", "c3"} {
		if s := b.await(c, 0, "Failed/Rebooted"); !strings.Contains(s.Message, "boot-1") || s.Interface != "" {
			t.Errorf("status %+v: want one that names the boot, and no interface", s)
		}
	}
	b.await("undated", 0, "Ready/Applied")
	if n := b.written()["memif_create_v2"]; n != 1 {
		t.Errorf("%d interfaces made, want that of the value without boot", n)
	}
	if diff := cmp.Diff([]string{"p-undated"}, b.podDirs()); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}

	// The pod's new sandbox takes over the keys, as Attach does.
	value, err := schema.Encode(host("p-c1", ofBoot("boot-2")))
	must(t, err)
	_, err = b.client.Txn(t.Context()).Then(
		clientv3.OpPut(b.keys.Host(node, "n1", "net1"), string(value)), clientv3.OpDelete(b.keys.Host(node, "c1", "net1")),
	).Commit()
	must(t, err)
	b.await("n1", 0, "Ready/Applied")
	b.awaitGone("c1")
	// Its late DEL removes another one, an agent that was away finds the third.
	must(t, b.detach("c2"))
	b.awaitGone("c2")
	b.stop()
	must(t, b.detach("c3"))
	b.start(b.onBoot("boot-2"))
	b.awaitGone("c3")
	b.ready()
	if b.daemon.State().Held > 0 {
		t.Error("something is held")
	}
	if diff := cmp.Diff([]string{"p-c1", "p-undated"}, b.podDirs()); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}

// TestAgentLearnsOfTheReboot: what an agent without a boot id has programmed goes
// when one that knows it finds it to be of another boot.
func TestAgentLearnsOfTheReboot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start(b.onBoot(""))
	b.put("c1", host("p1", ofBoot("boot-1")))
	b.await("c1", 0, "Ready/Applied")
	b.stop()
	b.start(b.onBoot("boot-2"))
	b.await("c1", 0, "Failed/Rebooted")
	b.ready()
	if there := b.there(); len(there) > 0 {
		t.Errorf("left: %v", there)
	}
}
