package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema"
)

func TestDel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	w.call(runtimeOf("DEL"), conf).ok(t) // with no ADD
	w.nothingLeft()
	w.call(runtimeOf("ADD").saying(ofPod("u1")), conf).ok(t)
	w.call(runtimeOf("DEL").in(""), conf).ok(t) // no netns, no CNI_ARGS: the pod is known from the host's end
	w.nothingLeft()
	w.call(runtimeOf("DEL").in(""), conf).ok(t) // twice
	w.call(runtimeOf("ADD").saying(ofPod("u1")), conf).ok(t)
	w.call(runtimeOf("DEL").in("/proc/1/does/not/exist").saying(ofPod("u1")), conf).ok(t)
	w.nothingLeft()
}

// TestDelWithoutAgent: DEL succeeds at once, and the agent will see to it.
func TestDelWithoutAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.timeout = "20s"
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	w.call(runtimeOf("ADD"), conf).ok(t)
	w.agent.set(mode{keep: true})
	w.agent.leave(t)
	if o := w.call(runtimeOf("DEL"), conf).ok(t); o.took > cleanupTime-time.Second { // it would wait for cleanupTime
		t.Errorf("DEL waited %s for an agent that is not there", o.took)
	}
	if a := w.allocated(); len(a) > 0 {
		t.Errorf("left at IPAM: %v", a)
	}
}

// TestDelAgentDoesNotConfirm: the wait is bounded, and for an agent that goes
// away meanwhile it ends.
func TestDelAgentDoesNotConfirm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.timeout = "2s"
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	w.call(runtimeOf("ADD"), conf).ok(t)
	w.agent.set(mode{keep: true})
	o := w.call(runtimeOf("DEL"), conf).ok(t)
	if s := o.took.Seconds(); s < 0.9 || s > 3 {
		t.Errorf("DEL took %s", o.took)
	}
	if a := w.allocated(); len(a) > 0 {
		t.Errorf("left at IPAM: %v", a)
	}

	w.timeout = "30s"
	w.agent.set(mode{})
	w.call(runtimeOf("ADD"), conf).ok(t)
	w.agent.set(mode{keep: true})
	p := w.start(runtimeOf("DEL"), w.conf(routedHost, w.hostLocal("host-local")))
	w.eventually("the keys go", func() bool { return !strings.Contains(fmt.Sprint(w.stored()), "/host/") })
	w.agent.leave(t)
	if o = p.wait().ok(t); o.took.Seconds() > 4.5 {
		t.Errorf("DEL took %s", o.took)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sections := []string{routedHost, w.hostLocal("host-local")}
	o := w.call(runtimeOf("ADD").saying(ofPod("u1")), w.conf(sections...)).ok(t)
	prev := `"prevResult":` + o.stdout
	check := runtimeOf("CHECK").saying(ofPod("u1"))
	good := w.conf(append(sections, prev)...)
	w.call(check, good).ok(t)

	t.Run("prevResult", func(t *testing.T) {
		for from, want := range map[string]string{
			`"10.1.0.2/24"`:         "10.1.0.9",
			`"/var/run/netns/test"`: "sandbox",
			`"net1"`:                "no interface net1",
			`"02:`:                  "mac",
		} {
			to := map[string]string{`"10.1.0.2/24"`: `"10.1.0.9/24"`, `"/var/run/netns/test"`: `"/other"`, `"net1"`: `"net9"`, `"02:`: `"06:`}[from]
			w.call(check, w.conf(append(sections, strings.Replace(prev, from, to, 1))...)).fails(t, 7, want)
		}
	})
	t.Run("other configuration", func(t *testing.T) {
		w.call(check, w.conf(append(sections, prev, `"mtu":1500`)...)).fails(t, 7, "host.mtu: 1500 asked")
	})
	t.Run("desired changed by hand", func(t *testing.T) {
		key := "nodes/node-1/pods/u1/interfaces/net1"
		before := w.stored()[key]
		w.put(key, strings.Replace(before, "10.1.0.2/24", "10.1.0.7/24", 1))
		w.call(check, good).fails(t, 7, "10.1.0.2 is not desired at the pod's end", "10.1.0.7 is missing")
		w.put(key, `{"colour":"red"}`)
		w.call(check, good).fails(t, 7, "colour")
		w.put(key, before)
		w.call(check, good).ok(t)
	})
	t.Run("VPP changed by hand", func(t *testing.T) {
		key := "nodes/node-1/host-status/" + testContainer + "/net1"
		before := w.stored()[key]
		w.put(key, strings.Replace(before, `"state":"Ready","reason":"Applied"`, `"state":"Pending","reason":"Retrying","message":"interface is gone"`, 1))
		w.call(check, good).fails(t, 11, "interface is gone")
		w.put(key, strings.Replace(before, `"specRevision":`, `"specRevision":9`, 1))
		w.call(check, good).fails(t, 11, "speaks of revision")
		w.put(key, before)
		w.put("nodes/node-1/pods/u1/status/net1", `{"specRevision":1,"state":"Failed","reason":"Invalid","message":"no way","since":"2026-01-01T00:00:00Z"}`)
		w.call(check, good).fails(t, 11, "the pod's end", "no way")
		w.put("nodes/node-1/pods/u1/status/net1", `{"specRevision":1,"state":"Pending","reason":"Programming","since":"2026-01-01T00:00:00Z"}`)
		w.call(check, good).ok(t)
	})
	t.Run("IPAM lost the address", func(t *testing.T) {
		w.script("forgetful", `[ "$CNI_COMMAND" = CHECK ] && { echo '{"code":77,"msg":"who is that?"}'; exit 1; }; exec "$REAL"`)
		w.call(check, w.conf(routedHost, w.hostLocal("forgetful"), prev)).fails(t, 77, "forgetful", "who is that?")
	})
	t.Run("gone", func(t *testing.T) {
		w.call(runtimeOf("DEL"), w.conf(sections...)).ok(t)
		w.call(check, good).fails(t, 7, "the host's end and the pod's end is missing")
	})
	w.nothingLeft()
}

func TestGC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	other := w.conf(routedHost, `"name":"other"`)
	for _, c := range []string{"a", "b", "c"} {
		w.call(runtimeOf("ADD").with(c).saying(ofPod("pod-"+c)), conf).ok(t)
	}
	w.call(runtimeOf("ADD").with("b").on("net2").saying(ofPod("pod-b")), conf).ok(t)
	w.call(runtimeOf("ADD").with("d"), other).ok(t)
	w.put("nodes/node-2/host/x/net1", w.stored()["nodes/node-1/host/a/net1"])
	collect := func(list string) outcome {
		return w.call(runtimeCall{verb: "GC"}, w.conf(routedHost, w.hostLocal("host-local"), `"cni.dev/valid-attachments":`+list))
	}
	hosts := func() string {
		var out []string
		for _, k := range []string{"node-1/host/a/net1", "node-1/host/b/net1", "node-1/host/b/net2", "node-1/host/c/net1", "node-1/host/d/net1", "node-2/host/x/net1"} {
			if _, ok := w.stored()["nodes/"+k]; ok {
				out = append(out, strings.TrimPrefix(k, "node-1/host/"))
			}
		}
		return strings.Join(out, " ")
	}
	collect(`[{"containerID":"a","ifname":"net1"},{"containerID":"b","ifname":"net2"},{"containerID":"unheard-of","ifname":"x"}]`).ok(t)
	if got, want := hosts(), "a/net1 b/net2 d/net1 node-2/host/x/net1"; got != want {
		t.Errorf("left: %s, want %s", got, want)
	}
	if a := w.allocated(); len(a) != 2 {
		t.Errorf("allocated: %v", a)
	}
	collect(`[]`).ok(t)
	if got, want := hosts(), "d/net1 node-2/host/x/net1"; got != want {
		t.Errorf("left: %s, want %s", got, want)
	}
	if a := w.allocated(); len(a) != 0 {
		t.Errorf("allocated: %v", a)
	}
	collect(`[]`).ok(t)
	w.agent.leave(t) // it works without an agent, too
	collect(`[]`).ok(t)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	status := runtimeCall{verb: "STATUS"} // containerd gives no container, netns or args
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	w.call(status, conf).ok(t)
	w.agent.announce(t, schema.AgentInfo{Reason: schema.ReasonVPPDown, Message: "connect /run/vpp/api.sock: no such file"})
	w.call(status, conf).fails(t, 51, "node-1", "no such file")
	w.agent.announce(t, schema.AgentInfo{Reason: schema.ReasonProgramming, Message: "first pass"})
	w.call(status, conf).fails(t, 50, "first pass")
	w.agent.leave(t)
	w.call(status, conf).fails(t, 50, "node-1", "not there")
	w.put("nodes/node-1/agent", `{"node":7}`)
	w.call(status, conf).fails(t, 50, "another version")
	w.put("nodes/node-1/agent", `{"node":"node-1","newer":[1],"ready":true}`)
	w.call(status, conf).ok(t)
	w.agent.announce(t, schema.AgentInfo{Ready: true})
	w.call(status, conf).ok(t)
	w.script("sick", `echo '{"code":50,"msg":"no addresses at all"}'; exit 1`)
	w.call(status, w.conf(routedHost, w.hostLocal("sick"))).fails(t, 50, "sick", "no addresses at all")
	w.call(status, w.conf(routedHost, `"etcd":{"endpoints":["unix:///does/not/exist.sock"]}`, `"timeout":"500ms"`)).fails(t, 50, "etcd")
	w.nothingLeft()
}

// TestDesiredByHand: an ADD does not trip over what somebody put in etcd.
func TestDesiredByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	w.put("nodes/node-1/host/"+testContainer+"/net1", `{"colour":"red"}`)
	before := w.stored()
	w.call(runtimeOf("ADD"), conf).fails(t, 7, "colour")
	w.call(runtimeOf("ADD").with("c2"), conf).ok(t)
	w.call(runtimeOf("DEL").with("c2"), conf).ok(t)
	delete(before, "nodes/node-1/host-status/"+testContainer+"/net1")
	after := w.stored()
	delete(after, "nodes/node-1/host-status/"+testContainer+"/net1")
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("keys changed:\n%s", d)
	}
	w.call(runtimeOf("DEL"), conf).ok(t)
	w.put("nodes/node-1/pods/u1/interfaces/net1", `x`)
	w.call(runtimeOf("ADD").saying(ofPod("u1")), conf).fails(t, 7, "nodes/node-1/pods/u1/interfaces/net1")
	if a := w.allocated(); len(a) != 0 {
		t.Errorf("allocated: %v", a)
	}
}
