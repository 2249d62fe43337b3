package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// wide is an ipam section with room for thousands.
func (w *world) wide() string { return w.hostLocal("host-local", `"subnet":"10.1.0.0/16"`) }

// consistent fails the test unless the pods' ends name just the addresses that
// IPAM has given out, each once. It returns how many there are.
func (w *world) consistent() int {
	w.t.Helper()
	named := map[string]string{}
	stored := w.stored()
	for key, value := range stored {
		if !strings.Contains(key, "/interfaces/") {
			continue
		}
		v, err := schema.Decode[schema.PodInterface]([]byte(value))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, a := range v.Addresses {
			if other := named[a.Addr().String()]; other != "" {
				w.t.Errorf("%s is of %s and of %s", a, key, other)
			}
			named[a.Addr().String()] = key
		}
		host := "nodes/node-1/host/" + string(v.Container) + "/net1"
		if stored[host] == "" {
			w.t.Errorf("half an attachment: %s without %s", key, host)
		}
	}
	n := len(named)
	for _, a := range w.allocated() {
		if named[a] == "" {
			w.t.Errorf("IPAM has given out %s, which no key names", a)
		}
		delete(named, a)
	}
	for a, key := range named {
		w.t.Errorf("%s names %s, which IPAM has not given out", key, a)
	}
	return n
}

// burst runs n ADDs at once and returns how many succeeded; all others must say
// that the runtime should try again.
func (w *world) burst(name string, n int, conf string) (ok int, peak memory) {
	w.t.Helper()
	// The watchers must not take the time from the calls.
	interval := max(20*time.Millisecond, time.Duration(n)*500*time.Microsecond)
	var wg sync.WaitGroup
	outcomes := make([]outcome, n)
	peaks := make([]memory, n)
	for i := range n {
		c := runtimeOf("ADD").with(fmt.Sprintf("c%d", i)).saying(ofPod(fmt.Sprintf("u%d", i)))
		p := w.prepare(name, c, conf)
		p.cmd.Env = append(p.cmd.Env, fmt.Sprintf("VPP_CNI_FAILPOINTS=add-after-answer=sleep:%s", 2*interval))
		p.run()
		wg.Go(func() { outcomes[i] = p.wait() })
		wg.Go(func() { peaks[i] = p.watch(interval) })
	}
	wg.Wait()
	for i, o := range outcomes {
		peak = max(peak, peaks[i])
		if o.exit == 0 {
			ok++
			continue
		}
		o.fails(w.t, 11)
	}
	return ok, peak
}

// memory is in KiB.
type memory int

// watch follows the process's memory to its end.
func (p *process) watch(interval time.Duration) (peak memory) {
	path := fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)
	for {
		data, err := os.ReadFile(path)
		_, rest, found := strings.Cut(string(data), "VmHWM:")
		if err != nil || !found { // ended
			return peak
		}
		if kib, err := strconv.Atoi(strings.Fields(rest)[0]); err == nil {
			peak = max(peak, memory(kib))
		}
		time.Sleep(interval)
	}
}

// many is how many ADDs come at once: VPP_CNI_LOAD, a few where it is not set.
func many(t *testing.T) int {
	t.Helper()
	s := os.Getenv("VPP_CNI_LOAD")
	if s == "" {
		return 24
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestManyAtOnce: as many ADDs at once as a runtime starts. Each succeeds or says
// that the runtime should try again, none leaves half of itself, and the memory of
// one does not grow with their number.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	w.timeout, w.limit = "60s", 3*time.Minute
	n := many(t)
	conf := w.conf(routedHost, w.wide())
	start := time.Now()
	ok, peak := w.burst(killable, n, conf)
	took := time.Since(start)
	left := w.consistent()
	if ok != left {
		t.Errorf("%d ADDs succeeded, and %d attachments are there", ok, left)
	}
	t.Logf("%d at once: %d succeeded in %s, %.0f a second, %d KiB the largest", n, ok, took.Round(time.Millisecond), float64(ok)/took.Seconds(), peak)
	if ok < n {
		t.Errorf("%d of %d ADDs failed with nothing in their way but each other", n-ok, n)
	}
	if limit := memory(20 << 10); !raceEnabled && peak > limit {
		t.Errorf("a plugin took %d KiB, want %d at most", peak, limit)
	}
	w.timeout = "5m"
	w.call(runtimeCall{verb: "GC"}, w.conf(routedHost, w.wide(), `"cni.dev/valid-attachments":[]`)).ok(t)
	w.eventually("the agent has removed all", func() bool { return !strings.Contains(fmt.Sprint(w.stored()), "host-status") })
	w.nothingLeft()
}

// TestSlowSides: etcd or the agent is slower than the calls' time allows for all.
// What fails says so, and takes back what it did.
func TestSlowSides(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]func(w *world, p *proxy){
		"agent":                func(w *world, _ *proxy) { w.agent.set(mode{delay: 400 * time.Millisecond}) },
		"etcd":                 func(_ *world, p *proxy) { p.slow(300 * time.Millisecond) },
		"etcd, beyond all use": func(_ *world, p *proxy) { p.slow(3 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.timeout = "3s"
			direct := w.conf(routedHost, w.hostLocal("host-local"))
			p := newProxy(t, w)
			slow(w, p)
			start := time.Now()
			const n = 12
			ok, _ := w.burst("vpp-cni", n, w.conf(routedHost, w.hostLocal("host-local")))
			took := time.Since(start)
			// An etcd that is slow may not be asked in time to take back: those
			// addresses stay with their keys, or without, until the DEL that the
			// runtime owes for each ADD that failed.
			t.Logf("%d of %d succeeded in %s", ok, n, took.Round(time.Millisecond))
			if took > 3*time.Second+cleanupTime+5*time.Second {
				t.Errorf("the calls took %s", took)
			}
			p.slow(0)
			w.agent.set(mode{})
			if name == "agent" {
				if left := w.consistent(); left != ok {
					t.Errorf("%d ADDs succeeded, and %d attachments are there", ok, left)
				}
			}
			for i := range n {
				w.call(runtimeOf("DEL").with(fmt.Sprintf("c%d", i)).saying(ofPod(fmt.Sprintf("u%d", i))), direct).ok(t)
			}
			w.nothingLeft()
		})
	}
}

// TestEtcdOutOfSpace: ADDs say what etcd lacks and leave nothing, what is there
// can be removed.
func TestEtcdOutOfSpace(t *testing.T) {
	t.Parallel()
	w, etcd := newWorldApart(t, etcdtest.Options{Quota: 4 << 20})
	w.timeout = "12s"
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	for _, c := range []string{"a", "b", "c"} {
		w.call(runtimeOf("ADD").with(c), conf).ok(t)
	}
	if err := etcd.Fill(t.Context(), "/filler"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		o := w.call(runtimeOf("ADD").with(fmt.Sprintf("new%d", i)), conf).fails(t, 11, "etcd is out of space")
		if o.took > 8*time.Second || strings.Contains(o.err.Details, "cleaning up") {
			t.Errorf("ADD took %s to say %s", o.took, o.err.Details)
		}
	}
	if left := w.consistent(); left != 3 {
		t.Errorf("%d attachments are there, want 3", left)
	}
	w.call(runtimeOf("ADD").with("a"), conf).ok(t) // nothing to write
	w.call(runtimeOf("DEL").with("a"), conf).ok(t)
	w.collect(`[{"containerID":"c","ifname":"net1"}]`).ok(t)
	if left := w.consistent(); left != 1 {
		t.Errorf("%d attachments are there, want 1", left)
	}
	w.call(runtimeOf("DEL").with("c"), conf).ok(t)
	w.nothingLeft()
}

// TestNoLeader: two of etcd's three members go away while an ADD waits for the
// agent. All calls end in their time with "try again", and when the members are
// back the runtime's DELs leave nothing.
func TestNoLeader(t *testing.T) {
	t.Parallel()
	w, etcd := newWorldApart(t, etcdtest.Options{Members: 3})
	w.timeout = "5s"
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	w.call(runtimeOf("ADD").with("there"), conf).ok(t)
	w.agent.set(mode{silent: true})
	waiting := w.start(runtimeOf("ADD").with("waiting"), w.conf(routedHost, w.hostLocal("host-local"), `"timeout":"5m"`))
	w.eventually("it is there", func() bool { return w.stored()["nodes/node-1/host/waiting/net1"] != "" })
	etcd.Stop(1)
	etcd.Stop(2)
	waiting.signal(syscall.SIGTERM)
	told := time.Now()
	waiting.wait().fails(t, 11, "told to end", "etcd is not available")
	if took := time.Since(told); took > cleanupTime+3*time.Second {
		t.Errorf("the ADD that was told to end took %s", took)
	}
	for _, o := range []outcome{
		w.call(runtimeOf("ADD").with("late"), conf),
		w.call(runtimeOf("DEL").with("there"), conf),
		w.collect(`[]`),
	} {
		o.fails(t, 11, "etcd is not available")
		if o.took > 5*time.Second+3*time.Second {
			t.Errorf("a call took %s", o.took)
		}
	}
	for _, i := range []int{1, 2} {
		if err := etcd.Restart(i); err != nil {
			t.Fatal(err)
		}
	}
	w.agent.set(mode{})
	for _, c := range []string{"late", "waiting", "there"} {
		w.call(runtimeOf("DEL").with(c), conf).ok(t)
	}
	w.eventually("the agent has removed all", func() bool { return !strings.Contains(fmt.Sprint(w.stored()), "host-status") })
	w.nothingLeft()
}

func TestPauses(t *testing.T) {
	t.Parallel()
	for try, limit := range []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond, 160 * time.Millisecond, 320 * time.Millisecond, 640 * time.Millisecond, time.Second, time.Second} {
		seen := map[time.Duration]bool{}
		for range 20 {
			d := pauseOf(try)
			seen[d] = true
			if d < limit/2 || d > limit {
				t.Errorf("try %d: %s, want between half and all of %s", try, d, limit)
			}
		}
		if len(seen) < 2 {
			t.Errorf("try %d: all callers pause alike", try)
		}
	}
	if d := pauseOf(1 << 30); d > time.Second {
		t.Errorf("after many tries: %s", d)
	}
}
