package main

import (
	"fmt"
	"strings"
	"sync"
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
			name: "IPAM has answered, etcd does not take the keys",
			prepare: func(w *world, _ *proxy) {
				w.slowIPAM()
			},
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
				time.Sleep(20 * time.Millisecond)
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
		"is overtaken": {mode{state: schema.Pending, reason: schema.ReasonProgramming}, "20s", overtake, 11, []string{"another call removed"}},
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
			w.agent.set(mode{})
			w.nothingLeft()
		})
	}
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
	w.timeout = "500ms"
	conf := w.conf(routedHost, w.hostLocal("host-local"))
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
			add.wait().fails(t, 11)
			p.drop()
			w.agent.set(mode{})
			w.call(runtimeOf("DEL"), direct).ok(t)
			w.nothingLeft()
		})
	}
}

func TestIPAM(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script string
		code   uint
		want   []string
	}{
		"fails with a code":      {`echo '{"cniVersion":"1.0.0","code":42,"msg":"no, thank you","details":"really"}'; exit 1`, 42, []string{"bad: ADD failed", "no, thank you; really"}},
		"fails with no code":     {`echo '{"code":999,"msg":"broken"}'; exit 1`, 11, []string{"broken"}},
		"fails without a word":   {`exit 3`, 11, []string{"it said nothing", "exit status 3"}},
		"fails on stderr":        {`echo "out of memory" >&2; exit 1`, 11, []string{"out of memory"}},
		"dies":                   {`kill -9 $$`, 11, []string{"signal: killed"}},
		"rubbish":                {`"$REAL" >/dev/null; echo rubbish`, 6, []string{"its answer is not a result"}},
		"nothing":                {`"$REAL" >/dev/null`, 6, []string{"its answer is not a result"}},
		"null":                   {`"$REAL" >/dev/null; echo null`, 6, []string{"no address"}},
		"no addresses":           {`"$REAL" >/dev/null; echo '{"cniVersion":"1.0.0"}'`, 6, []string{"no address"}},
		"null in the list":       {`"$REAL" >/dev/null; echo '{"cniVersion":"1.0.0","ips":[null]}'`, 6, []string{"not a result"}},
		"null in an older list":  {`"$REAL" >/dev/null; echo '{"cniVersion":"0.4.0","ips":[null]}'`, 6, []string{"not a result"}},
		"address of rubbish":     {`"$REAL" >/dev/null; echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.300/24"}]}'`, 6, []string{"not a result"}},
		"address that cannot be": {`"$REAL" >/dev/null; echo '{"cniVersion":"1.0.0","ips":[{"address":"127.0.0.1/8"}]}'`, 6, []string{"unicast"}},
		"unknown version":        {`"$REAL" >/dev/null; echo '{"cniVersion":"7.0.0","ips":[{"address":"10.0.0.3/24"}]}'`, 6, []string{"7.0.0"}},
		"never ends":             {`sleep 60`, 11, []string{"ended before it answered"}},
		"without end":            {`"$REAL" >/dev/null; head -c 3000000 /dev/zero | tr '\0' '['`, 6, []string{"not a result"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.timeout = "2s"
			w.script("bad", `if [ "$CNI_COMMAND" != ADD ]; then exec "$REAL"; fi; `+tc.script)
			w.call(runtimeOf("ADD"), w.conf(routedHost, w.hostLocal("bad"))).fails(t, tc.code, tc.want...)
			w.nothingLeft()
			if w.agent.sawPut() {
				t.Error("an attachment was written to etcd")
			}
		})
	}
}

func TestIPAMUsedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local", `"rangeStart":"10.1.0.10","rangeEnd":"10.1.0.10"`))
	w.call(runtimeOf("ADD").with("a"), conf).ok(t)
	w.call(runtimeOf("ADD").with("b"), conf).fails(t, 11, "host-local", "no IP addresses available")
	if a := w.allocated(); len(a) != 1 {
		t.Errorf("allocated: %v", a)
	}
	w.call(runtimeOf("DEL").with("b"), conf).ok(t)
	w.call(runtimeOf("DEL").with("a"), conf).ok(t)
	w.call(runtimeOf("ADD").with("b"), conf).ok(t)
	w.call(runtimeOf("DEL").with("b"), conf).ok(t)
	w.nothingLeft()
}

// TestIPAMKeepsTheAddress: a DEL that cannot give the address back says so, and
// the next one tries again.
func TestIPAMKeepsTheAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("keeps", `if [ "$CNI_COMMAND" = DEL ] && [ ! -e "$DIR/go" ]; then echo '{"code":5,"msg":"disk is read-only"}'; exit 1; fi; exec "$REAL"`)
	conf := w.conf(routedHost, w.hostLocal("keeps"))
	w.call(runtimeOf("ADD"), conf).ok(t)
	w.call(runtimeOf("DEL"), conf).fails(t, 5, "keeps", "disk is read-only")
	w.proceed()
	w.call(runtimeOf("DEL"), conf).ok(t)
	w.nothingLeft()

	w = newWorldNamed(t, "cleanup")
	w.timeout = "500ms"
	w.agent.set(mode{silent: true})
	w.script("keeps", `if [ "$CNI_COMMAND" = DEL ]; then echo '{"code":5,"msg":"disk is read-only"}'; exit 1; fi; exec "$REAL"`)
	w.call(runtimeOf("ADD"), w.conf(routedHost, w.hostLocal("keeps"))).fails(t, 11, "within 500ms", "cleaning up", "disk is read-only")
}

// TestConcurrentAdds: two ADDs of one attachment at once answer the same, and
// there is one address.
func TestConcurrentAdds(t *testing.T) {
	t.Parallel()
	for name, ipam := range map[string]func(w *world) string{
		"no IPAM":    func(*world) string { return `"ipam":{}` },
		"host-local": func(w *world) string { return w.hostLocal("host-local") },
		"static": func(*world) string {
			return `"ipam":{"type":"static","addresses":[{"address":"10.3.0.5/24","gateway":"10.3.0.1"}]}`
		},
		"host-local, the other one is slower": func(w *world) string {
			w.script("slower", `"$REAL"; code=$?; [ "$CNI_COMMAND" = ADD ] && sleep 0.15; exit $code`)
			return w.hostLocal("slower")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conf := w.conf(routedHost, ipam(w))
			const rounds, callers = 4, 3
			for range rounds {
				outcomes := make([]outcome, callers)
				var wg sync.WaitGroup
				for i := range outcomes {
					p := w.start(runtimeOf("ADD").saying(ofPod("u1")), conf)
					wg.Go(func() { outcomes[i] = p.wait() })
				}
				wg.Wait()
				for _, o := range outcomes {
					o.ok(t)
					if show(o.result.IPs) != show(outcomes[0].result.IPs) || show(o.result.Interfaces) != show(outcomes[0].result.Interfaces) {
						t.Errorf("answers differ:\n%s\n%s", outcomes[0].stdout, o.stdout)
					}
				}
				if a := w.allocated(); len(a) > 1 {
					t.Errorf("allocated: %v", a)
				}
				w.hostValue(testContainer, "net1")
				w.call(runtimeOf("DEL").saying(ofPod("u1")), conf).ok(t)
				w.nothingLeft()
			}
		})
	}
}

// TestConcurrentAddsThatFail: none of them takes from the other.
func TestConcurrentAddsThatFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.timeout = "700ms"
	w.agent.set(mode{silent: true})
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	a, b := w.start(runtimeOf("ADD"), conf), w.start(runtimeOf("ADD"), conf)
	a.wait().fails(t, 11)
	b.wait().fails(t, 11)
	w.nothingLeft()
}

// TestConcurrentContainers: many attachments at once on one named bridge.
func TestConcurrentContainers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.timeout = "20s"
	conf := w.conf(`"host":{"netType":"bridge","bridge":{"bridgeName":"busy"}}`, w.hostLocal("host-local"))
	var wg sync.WaitGroup
	for i := range 16 {
		c := runtimeOf("ADD").with(fmt.Sprintf("c%d", i)).saying(ofPod(fmt.Sprintf("u%d", i)))
		add := w.start(c, conf)
		wg.Go(func() {
			if o := add.wait(); o.exit != 0 {
				t.Errorf("%s: %s", c.container, o.stdout)
			}
		})
	}
	wg.Wait()
	if a := w.allocated(); len(a) != 16 {
		t.Errorf("allocated: %v", a)
	}
	w.call(runtimeCall{verb: "GC"}, w.conf(routedHost, w.hostLocal("host-local"), `"cni.dev/valid-attachments":[]`)).ok(t)
	w.eventually("the agent has removed all", func() bool { return !strings.Contains(fmt.Sprint(w.stored()), "host-status") })
	w.nothingLeft()
}
