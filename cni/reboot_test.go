package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
)

// boot makes the node one of this boot; empty: nobody knows.
func (w *world) boot(id string) {
	w.t.Helper()
	file := filepath.Join(w.dir, "boot_id")
	writeFile(w.t, file, id+"\n")
	writeFile(w.t, filepath.Join(w.dir, "config.yaml"), "networkMayOverride: true\nbootIDFile: "+file+"\n")
	w.env = []string{"VPP_CNI_CONFIG=" + filepath.Join(w.dir, "config.yaml")}
}

// reboot is what a node's reboot does to the plugin's world: another boot id,
// and an agent that calls what is there dead.
func (w *world) reboot(id string) {
	w.t.Helper()
	w.boot(id)
	for key, value := range w.stored() {
		if host, ok := strings.CutPrefix(key, "nodes/node-1/host-status/"); ok {
			w.put("nodes/node-1/host-status/"+host, strings.Replace(value, `"state":"Ready","reason":"Applied"`, `"state":"Failed","reason":"Rebooted"`, 1))
		}
	}
}

// TestAddAfterReboot: the same container again is no join: what is there is dead.
func TestAddAfterReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	add := runtimeOf("ADD").saying(ofPod("u1"))
	w.boot("one")
	w.call(add, conf).ok(t)
	before := w.stored()["nodes/node-1/host-status/"+testContainer+"/net1"]
	w.call(add, conf).ok(t) // of the same boot: joined
	if now := w.stored()["nodes/node-1/host-status/"+testContainer+"/net1"]; now != before {
		t.Errorf("an ADD of the same boot made the attachment anew: %s", now)
	}
	w.reboot("two")
	w.call(add, conf).ok(t)
	if got := w.hostValue(testContainer, "net1").BootID; got != "two" {
		t.Errorf("boot id %s, want that of this boot", got)
	}
	w.agree("u1")
	w.call(runtimeOf("DEL").saying(ofPod("u1")), conf).ok(t)
	w.nothingLeft()
}

// TestBootNotKnown: where nobody knows the boot, an attachment that is there is
// joined or refused as it always was, and never dropped.
func TestBootNotKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	w.boot("one")
	w.call(runtimeOf("ADD"), conf).ok(t)
	w.boot("")
	w.call(runtimeOf("ADD"), conf).fails(t, 7, "there already", "bootID")
	if got := w.hostValue(testContainer, "net1").BootID; got != "one" {
		t.Errorf("boot id %s, want the attachment left alone", got)
	}
}

// TestTakeoverAfterReboot: the pod's new sandbox has the keys at once, and the
// late DEL or GC takes the rest.
func TestTakeoverAfterReboot(t *testing.T) {
	t.Parallel()
	for _, late := range []string{"DEL", "GC"} {
		t.Run(late, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conf := w.conf(routedHost, w.hostLocal("host-local"))
			add := runtimeOf("ADD").saying(ofPod("u1"))
			w.boot("one")
			w.call(add.with("old"), conf).ok(t)
			w.call(runtimeOf("ADD").with("other").saying(ofPod("u2")), conf).ok(t)
			w.reboot("two")
			w.call(add.with("new"), conf).ok(t)
			w.agree("u1", "u2")
			if late == "GC" {
				w.collect(`[{"containerID":"new","ifname":"net1"}]`).ok(t)
			} else {
				w.call(runtimeOf("DEL").with("old").saying(ofPod("u1")), conf).ok(t)
				w.call(runtimeOf("DEL").with("other").saying(ofPod("u2")), conf).ok(t)
			}
			w.agree("u1")
			w.hostValue("new", "net1")
		})
	}
}

// TestKilledAfterReboot: the ADD that drops an earlier boot's attachment is
// killed meanwhile.
func TestKilledAfterReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	w.boot("one")
	w.call(runtimeOf("ADD"), conf).ok(t)
	w.reboot("two")
	w.killed("add-after-drop", runtimeOf("ADD"), conf)
	w.call(runtimeOf("DEL"), conf).ok(t)
	w.nothingLeft()
}

// TestDelOfWhatTheAgentHolds: etcd lost its data, the runtime's DEL tells the
// agent that the attachment was removed, and waits for it.
func TestDelOfWhatTheAgentHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost)
	w.call(runtimeOf("DEL"), conf).ok(t)
	w.nothingLeft()
	w.agent.announce(t, schema.AgentInfo{Ready: true, Held: 1})
	del := w.start(runtimeOf("DEL"), conf)
	key := "nodes/node-1/host-status/" + testContainer + "/net1"
	w.eventually("there is a witness", func() bool { return w.stored()[key] != "" })
	if st := decode[schema.InterfaceStatus](w, key); st.State != schema.Removed || st.Reason != schema.ReasonDetached {
		t.Errorf("witness %+v", st)
	}
	ended := make(chan outcome, 1)
	go func() { ended <- del.wait() }()
	select {
	case <-ended:
		t.Fatal("DEL did not wait for the agent")
	case <-time.After(300 * time.Millisecond):
	}
	w.agent.sweep()
	(<-ended).ok(t)
	w.nothingLeft()
}

// TestRemovedWhileAdded: a DEL that comes before the agent has said anything ends
// the ADD's wait: a witness is no success.
func TestRemovedWhileAdded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.timeout = "20s"
	w.agent.set(mode{silent: true})
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	add := w.start(runtimeOf("ADD"), conf)
	w.eventually("the agent has it", w.agent.sawPut)
	key := fmt.Sprintf("nodes/node-1/host/%s/net1", testContainer)
	w.eventually("it is there", func() bool { return w.stored()[key] != "" })
	del := w.start(runtimeOf("DEL"), conf)
	add.wait().fails(t, 11, "another call removed")
	w.agent.set(mode{})
	del.wait().ok(t)
	w.nothingLeft()
}
