package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
)

// stage is a point in ADD at which the plugin can be held.
type stage struct {
	name string
	// prepare makes ADD stop at the stage, reached says when it has. release
	// lets everything else go on; it is called after the signal.
	prepare func(w *world, p *proxy)
	reached func(w *world, p *proxy) bool
	release func(w *world, p *proxy)
	ipam    string
	// lost says that after SIGTERM etcd cannot be asked to take back what may
	// have been written, so that DEL is needed.
	lost bool
}

func stages() []stage {
	return []stage{
		{
			name:    "etcd does not answer the first look",
			prepare: func(_ *world, p *proxy) { p.pause() },
			reached: func(_ *world, p *proxy) bool { return p.held() },
			release: func(_ *world, p *proxy) { p.resume() },
			ipam:    "host-local",
		},
		{
			name:    "IPAM is slow",
			prepare: func(w *world, _ *proxy) { w.slowIPAM() },
			reached: func(w *world, _ *proxy) bool { return w.exists("begun") },
			release: func(w *world, _ *proxy) { w.proceed() },
			ipam:    "slow",
		},
		{
			name:    "IPAM has answered, etcd does not take the keys",
			prepare: func(w *world, _ *proxy) { w.slowIPAM() },
			reached: func(w *world, p *proxy) bool {
				if w.exists("begun") && !w.exists("go") {
					p.pause()
					w.proceed()
				}
				return p.held() && len(w.allocated()) == 1
			},
			release: func(_ *world, p *proxy) { p.resume() },
			ipam:    "slow",
		},
		{
			name:    "IPAM has answered, the connection to etcd breaks",
			prepare: func(w *world, _ *proxy) { w.slowIPAM() },
			reached: func(w *world, p *proxy) bool {
				if w.exists("begun") && !w.exists("go") {
					p.pause()
					w.proceed()
				}
				return p.held() && len(w.allocated()) == 1
			},
			release: func(_ *world, p *proxy) { p.drop() },
			ipam:    "slow",
			lost:    true,
		},
		{
			name:    "etcd has taken the keys, its answer is lost",
			prepare: func(w *world, _ *proxy) { w.slowIPAM() },
			reached: func(w *world, p *proxy) bool {
				if w.exists("begun") && !w.exists("go") {
					p.silence()
					w.proceed()
				}
				return strings.Contains(fmt.Sprint(w.stored()), "/interfaces/net1")
			},
			release: func(_ *world, p *proxy) { p.drop() },
			ipam:    "slow",
		},
		{
			name:    "the agent does not answer",
			prepare: func(w *world, _ *proxy) { w.agent.set(mode{silent: true}) },
			reached: func(w *world, _ *proxy) bool { return w.agent.sawPut() },
			release: func(w *world, _ *proxy) { w.agent.set(mode{}) },
			ipam:    "host-local",
		},
		{
			name: "the agent is at work",
			prepare: func(w *world, _ *proxy) {
				w.agent.set(mode{state: schema.Pending, reason: schema.ReasonRetrying, message: "busy"})
			},
			reached: func(w *world, _ *proxy) bool {
				return strings.Contains(fmt.Sprint(w.stored()), "busy")
			},
			release: func(w *world, _ *proxy) { w.agent.set(mode{}) },
			ipam:    "host-local",
		},
		{
			name:    "etcd goes away while the agent is awaited",
			prepare: func(w *world, _ *proxy) { w.agent.set(mode{silent: true}) },
			reached: func(w *world, p *proxy) bool {
				if !w.agent.sawPut() {
					return false
				}
				p.pause()
				return true
			},
			release: func(_ *world, p *proxy) { p.resume() },
			ipam:    "host-local",
			lost:    true,
		},
	}
}

// TestSignalsDuringAdd: SIGTERM and SIGKILL at every stage of ADD. After
// SIGTERM the plugin leaves nothing (or, where etcd could not be asked, nothing
// after the DEL that follows); after SIGKILL and the DEL that follows nothing is
// left, and the next ADD works.
func TestSignalsDuringAdd(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for _, st := range stages() {
			t.Run(sig.String()+"/"+st.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.timeout = "20s"
				direct := w.conf(routedHost, w.hostLocal("host-local"))
				p := newProxy(t, w)
				conf := w.conf(routedHost, w.hostLocal(st.ipam))
				st.prepare(w, p)
				add := w.start(runtimeOf("ADD").saying(ofPod("u1")), conf)
				w.eventually(st.name, func() bool { return st.reached(w, p) })
				add.signal(sig)
				time.Sleep(300 * time.Millisecond) // it has noticed
				st.release(w, p)
				o := add.wait()
				if sig == syscall.SIGTERM {
					o.fails(t, 11, "told to end")
					if !st.lost {
						w.nothingLeft()
					}
				} else if o.exit == 0 {
					t.Errorf("a killed ADD succeeded: %s", o.stdout)
				}
				w.agent.set(mode{})
				w.call(runtimeOf("DEL").saying(ofPod("u1")), direct).ok(t)
				w.nothingLeft()
				w.proceed()
				w.call(runtimeOf("ADD").with("next").saying(ofPod("u1")), direct).ok(t)
				w.call(runtimeOf("DEL").with("next"), direct).ok(t)
				w.nothingLeft()
			})
		}
	}
}

// TestKilledIPAMGivesNothingOut: the IPAM plugin ends with the plugin that
// started it, so it cannot give an address out after the DEL that follows.
func TestKilledIPAMGivesNothingOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slowIPAM()
	conf := w.conf(routedHost, w.hostLocal("slow"))
	add := w.start(runtimeOf("ADD"), conf)
	w.eventually("IPAM begins", func() bool { return w.exists("begun") })
	add.signal(syscall.SIGKILL)
	add.wait()
	w.call(runtimeOf("DEL"), conf).ok(t)
	w.proceed()
	time.Sleep(300 * time.Millisecond)
	w.nothingLeft()
}

func TestAgentBeforeAdd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.timeout = "20s"
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	soon := func(o outcome) {
		t.Helper()
		if o.took > 2*time.Second {
			t.Errorf("ADD took %s to say so", o.took)
		}
		w.nothingLeft()
	}
	w.agent.announce(t, schema.AgentInfo{Reason: schema.ReasonVPPDown, Message: "connect /run/vpp/api.sock: no such file"})
	soon(w.call(runtimeOf("ADD"), conf).fails(t, 11, "VPP", "node-1", "/run/vpp/api.sock"))
	w.agent.announce(t, schema.AgentInfo{Reason: schema.ReasonProgramming, Message: "first pass"})
	soon(w.call(runtimeOf("ADD"), conf).fails(t, 11, "node-1", "not ready", "first pass"))
	w.agent.leave(t)
	soon(w.call(runtimeOf("ADD"), conf).fails(t, 11, "node-1", "not there"))
}

func TestAgentDuringAdd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode    mode
		timeout string
		meet    func(t *testing.T, w *world) // once the agent has the attachment
		code    uint
		want    []string
	}{
		"says nothing":  {mode{silent: true}, "1s", nil, 11, []string{"within 1s", "agent of node node-1 said nothing"}},
		"stays pending": {mode{state: schema.Pending, reason: schema.ReasonVPPDown, message: "VPP is down"}, "1s", nil, 11, []string{"within 1s", "Pending (VPPDown): VPP is down"}},
		"refuses":       {mode{state: schema.Failed, reason: schema.ReasonConflict, message: "socket in use"}, "20s", nil, 7, []string{"refuses", "Failed (Conflict): socket in use"}},
		"goes away":     {mode{silent: true}, "20s", func(t *testing.T, w *world) { t.Helper(); w.agent.leave(t) }, 11, []string{"went away"}},
		"loses its VPP": {mode{silent: true}, "1s", func(t *testing.T, w *world) {
			t.Helper()
			w.agent.announce(t, schema.AgentInfo{Reason: schema.ReasonVPPDown})
		}, 11, []string{"within 1s"}},
		"speaks of an older value": {mode{silent: true}, "1s", oldStatus, 11, []string{"within 1s", "said nothing"}},
		"is overtaken":             {mode{state: schema.Pending, reason: schema.ReasonProgramming}, "20s", overtake, 11, []string{"another call removed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.timeout = tc.timeout
			w.agent.set(tc.mode)
			add := w.start(runtimeOf("ADD"), w.conf(routedHost, w.hostLocal("host-local")))
			w.eventually("the agent has it", w.agent.sawPut)
			if tc.meet != nil {
				tc.meet(t, w)
			}
			o := add.wait().fails(t, tc.code, tc.want...)
			if o.took > 8*time.Second {
				t.Errorf("ADD took %s", o.took)
			}
			if tc.mode.silent {
				w.hostGone()
			} else {
				w.nothingLeft()
			}
		})
	}
}

// oldStatus writes a status of a value from before this ADD.
func oldStatus(t *testing.T, w *world) {
	t.Helper()
	w.put("nodes/node-1/host-status/"+testContainer+"/net1", `{"specRevision":1,"state":"Ready","reason":"Applied","since":"2026-01-01T00:00:00Z"}`)
}

// overtake removes the attachment with a DEL while its ADD waits.
func overtake(t *testing.T, w *world) {
	t.Helper()
	w.eventually("there is a status", func() bool { return strings.Contains(fmt.Sprint(w.stored()), "host-status") })
	w.call(runtimeOf("DEL"), w.conf(routedHost, w.hostLocal("host-local"))).ok(t)
}

// TestAgentRestartsDuringAdd: an agent that comes back in time serves the ADD.
func TestAgentRestartsDuringAdd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.timeout = "20s"
	w.agent.set(mode{delay: time.Second})
	add := w.start(runtimeOf("ADD"), w.conf(routedHost))
	w.eventually("the agent has it", w.agent.sawPut)
	w.agent.leave(t)
	time.Sleep(200 * time.Millisecond)
	w.agent.announce(t, schema.AgentInfo{Ready: true})
	add.wait().ok(t)
}

// TestNewerAgent: an agent of a newer version says more than the plugin knows.
func TestNewerAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.set(mode{newer: true})
	w.put("nodes/node-1/agent", `{"node":"node-1","ready":true,"runDir":"/run/vpp-cni","future":1}`)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	prev := w.call(runtimeOf("ADD"), conf).ok(t).stdout
	w.call(runtimeOf("CHECK"), w.conf(routedHost, w.hostLocal("host-local"), `"prevResult":`+prev)).ok(t)
	w.call(runtimeOf("DEL"), conf).ok(t)
	w.nothingLeft()
}

func TestSlowAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.set(mode{delay: 700 * time.Millisecond})
	if o := w.call(runtimeOf("ADD"), w.conf(routedHost)).ok(t); o.took < 700*time.Millisecond || o.result.Interfaces[1].Name != "memif1/0" {
		t.Errorf("ADD did not wait for the agent: %s", o.stdout)
	}
}

func TestEtcdDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	w.timeout = "500ms" // of the calls that fail
	down := w.conf(routedHost, w.hostLocal("host-local"), `"etcd":{"endpoints":["unix:///does/not/exist.sock"]}`)
	refused := w.conf(routedHost, w.hostLocal("host-local"), `"etcd":{"endpoints":["http://127.0.0.1:1"]}`)
	o := w.call(runtimeOf("ADD"), down).fails(t, 11, "etcd is not available", "/does/not/exist.sock")
	w.call(runtimeOf("ADD"), refused).fails(t, 11, "etcd is not available", "127.0.0.1:1")
	w.nothingLeft()
	prev := w.call(runtimeOf("ADD"), conf).ok(t).stdout
	w.call(runtimeOf("DEL"), down).fails(t, 11, "etcd is not available")
	if a := w.allocated(); len(a) != 1 {
		t.Errorf("a DEL that failed gave the address back: %v", a)
	}
	w.call(runtimeOf("CHECK"), strings.Replace(down, "{", `{"prevResult":`+prev+",", 1)).fails(t, 11, "etcd is not available")
	w.call(runtimeCall{verb: "GC"}, strings.Replace(down, "{", `{"cni.dev/valid-attachments":[],`, 1)).fails(t, 11, "etcd is not available")
	w.call(runtimeOf("DEL"), conf).ok(t)
	w.nothingLeft()
	if o.took > 3*time.Second {
		t.Errorf("ADD took %s to say so", o.took)
	}
}

// TestEtcdDuringAdd: etcd goes away at each step of an ADD that nobody stops.
func TestEtcdDuringAdd(t *testing.T) {
	t.Parallel()
	for _, st := range stages() {
		if !strings.Contains(st.name, "etcd") {
			continue
		}
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.timeout = "1s"
			direct := w.conf(routedHost, w.hostLocal("host-local"))
			p := newProxy(t, w)
			st.prepare(w, p)
			add := w.start(runtimeOf("ADD"), w.conf(routedHost, w.hostLocal(st.ipam)))
			w.eventually(st.name, func() bool { return st.reached(w, p) })
			// Its own time, that of a request under way, and the cleaning up.
			if o := add.wait().fails(t, 11); o.took > 2*time.Second+cleanupTime+3*time.Second {
				t.Errorf("ADD took %s", o.took)
			}
			p.drop()
			w.agent.set(mode{})
			w.call(runtimeOf("DEL"), direct).ok(t)
			w.nothingLeft()
		})
	}
}

// TestRuntimeIsGone: an answer that nobody takes is a failed ADD.
func TestRuntimeIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = r.Close(); err != nil {
		t.Fatal(err)
	}
	p := w.prepare("vpp-cni", runtimeOf("ADD"), w.conf(routedHost, w.hostLocal("host-local")))
	p.cmd.Stdout = out
	p.run()
	if err = out.Close(); err != nil {
		t.Fatal(err)
	}
	if err = p.cmd.Wait(); err == nil { // the error has no taker, either: SIGPIPE or exit code 1
		t.Errorf("ADD succeeded\n%s", p.stderr.String())
	}
	w.nothingLeft()
}
