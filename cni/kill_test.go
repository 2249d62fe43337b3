package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema"
)

// killed runs the plugin and has it killed at a failpoint.
func (w *world) killed(point string, c runtimeCall, conf string) {
	w.t.Helper()
	p := w.prepare(killable, c, conf)
	p.cmd.Env = append(p.cmd.Env, "VPP_CNI_FAILPOINTS="+point+"=kill")
	p.run()
	o := p.wait()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		w.t.Fatalf("%s was not killed at %s: exit %d: %s\n%s", c.verb, point, o.exit, o.stdout, o.stderr)
	}
	w.claimed()
}

// claimed fails the test if a host end names an address that IPAM may give to
// somebody else. (A pod end without its host end is GC's claim alone.)
func (w *world) claimed() {
	w.t.Helper()
	given := w.allocated()
	for key := range w.stored() {
		if !strings.Contains(key, "/host/") {
			continue
		}
		for _, a := range decode[schema.HostInterface](w, key).PodAddresses {
			if !slices.Contains(given, a.String()) {
				w.t.Errorf("key %s names %s, which IPAM may give to another pod", key, a)
			}
		}
	}
}

// agree fails the test unless etcd desires exactly these addresses' pods and
// IPAM has given out the same number.
func (w *world) agree(pods ...string) {
	w.t.Helper()
	desired := map[string]bool{}
	for _, p := range pods {
		for _, a := range w.podValue(p, "net1").Addresses {
			desired[a.Addr().String()] = true
		}
	}
	given := w.allocated()
	for _, a := range given {
		if !desired[a] {
			w.t.Errorf("IPAM has given out %s, which no key names", a)
		}
		delete(desired, a)
	}
	if len(desired) > 0 {
		w.t.Errorf("keys name %v, which IPAM has not given out", desired)
	}
}

// addPoints are the failpoints of an ADD that goes well; given says that IPAM has
// an address by then, and written that etcd has the keys.
var addPoints = []struct {
	name           string
	given, written bool
}{
	{"add-after-look", false, false},
	{"add-before-ipam", false, false},
	{"add-after-ipam", true, false},
	{"add-before-attach", true, false},
	{"add-after-attach", true, true},
	{"add-before-answer", true, true},
	{"add-after-answer", true, true},
}

// TestKilledAdd: wherever an ADD is killed, keys and addresses agree again by what
// the runtime does next.
func TestKilledAdd(t *testing.T) {
	t.Parallel()
	old, pod := runtimeOf("ADD").with("old").saying(ofPod("u1")), ofPod("u1")
	del := func(container string) runtimeCall { return runtimeOf("DEL").with(container).saying(pod) }
	for _, point := range addPoints {
		for name, next := range map[string]func(t *testing.T, w *world, conf string){
			"DEL": func(t *testing.T, w *world, conf string) {
				t.Helper()
				w.call(del("old"), conf).ok(t)
				w.nothingLeft()
				w.call(old, conf).ok(t)
				w.agree("u1")
			},
			"ADD again": func(t *testing.T, w *world, conf string) {
				t.Helper()
				if point.given && !point.written {
					// IPAM knows the container already: a runtime runs DEL first.
					w.call(old, conf).fails(t, 11, "host-local")
				} else {
					w.call(old, conf).ok(t)
					w.agree("u1")
				}
			},
			"a new sandbox": func(t *testing.T, w *world, conf string) {
				t.Helper()
				w.call(old.with("new"), conf).ok(t)
				w.call(del("old"), conf).ok(t)
				w.agree("u1")
				w.call(del("new"), conf).ok(t)
			},
			"GC": func(t *testing.T, w *world, _ string) {
				t.Helper()
				w.collect("[]").ok(t)
				if point.given && !point.written {
					// host-local has no GC: an address that no key names is
					// known to the runtime alone, which owes the DEL.
					if a := w.allocated(); len(a) != 1 {
						t.Errorf("allocated %v, want the address that only DEL gives back", a)
					}
					return
				}
				w.nothingLeft()
			},
		} {
			t.Run(point.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				conf := w.conf(routedHost, w.hostLocal("host-local"))
				w.killed(point.name, old, conf)
				next(t, w, conf)
				w.call(del("old"), conf).ok(t)
				w.nothingLeft()
			})
		}
	}
}

// collect runs GC on what TestKilled* attach.
func (w *world) collect(valid string) outcome {
	w.t.Helper()
	return w.call(runtimeCall{verb: "GC"}, w.conf(routedHost, w.hostLocal("host-local"), `"cni.dev/valid-attachments":`+valid))
}

// TestKilledTakeover: the new sandbox's ADD is killed while it takes over.
func TestKilledTakeover(t *testing.T) {
	t.Parallel()
	for _, point := range addPoints {
		t.Run(point.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conf := w.conf(routedHost, w.hostLocal("host-local"))
			add := runtimeOf("ADD").saying(ofPod("u1"))
			w.call(add.with("old"), conf).ok(t)
			w.killed(point.name, add.with("new"), conf)
			for _, c := range []string{"new", "old"} { // the failed ADD's, and the late one
				w.call(runtimeOf("DEL").with(c).saying(ofPod("u1")), conf).ok(t)
			}
			w.nothingLeft()
		})
	}
}

// TestKilledWithdrawal: an ADD that fails is killed while it cleans up.
func TestKilledWithdrawal(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"withdraw-after-detach", "withdraw-before-ipam"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.agent.set(mode{state: schema.Failed, reason: schema.ReasonConflict})
			conf := w.conf(routedHost, w.hostLocal("host-local"))
			w.killed(point, runtimeOf("ADD"), conf)
			w.agent.set(mode{})
			w.call(runtimeOf("DEL"), conf).ok(t)
			w.nothingLeft()
			w.call(runtimeOf("ADD"), conf).ok(t)
			w.agree(testContainer)
		})
	}
}

// TestKilledDel: a DEL that is killed is run again, as every DEL that has not
// succeeded.
func TestKilledDel(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"del-before-detach", "del-after-detach", "del-before-ipam"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conf := w.conf(routedHost, w.hostLocal("host-local"))
			w.call(runtimeOf("ADD"), conf).ok(t)
			w.killed(point, runtimeOf("DEL"), conf)
			w.call(runtimeOf("DEL"), conf).ok(t)
			w.nothingLeft()
		})
	}
}

// TestKilledGC: a GC that is killed is made good by the next one alone: what it
// removes no runtime knows.
func TestKilledGC(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"gc-before-detach", "gc-after-detach", "gc-after-release", "gc-before-ipam"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conf := w.conf(routedHost, w.hostLocal("host-local"))
			for _, c := range []string{"a", "b", "c"} {
				w.call(runtimeOf("ADD").with(c), conf).ok(t)
			}
			const valid = `[{"containerID":"c","ifname":"net1"}]`
			w.killed(point, runtimeCall{verb: "GC"}, w.conf(routedHost, w.hostLocal("host-local"), `"cni.dev/valid-attachments":`+valid))
			w.collect(valid).ok(t)
			w.agree("c")
			w.hostValue("c", "net1")
			w.collect("[]").ok(t)
			w.nothingLeft()
		})
	}
}
