package daemon_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// callTimeout is the deadline of a call in these tests.
const callTimeout = 2 * time.Second

// on lets the agent drive v, the simulator or a real VPP.
func (b *bench) on(v *vpptest.VPP) func(*daemon.Config) {
	return func(c *daemon.Config) {
		c.VPP = vpp.New(vpp.Config{Socket: v.APISocket, RunDir: b.runDir, CallTimeout: callTimeout, Logger: c.Log})
	}
}

// TestSilentVPP: VPP hangs while nothing is asked of it. No status says Ready for
// longer than a call may take and the pings are apart.
func TestSilentVPP(t *testing.T) {
	t.Parallel()
	v := vpptest.Start(t)
	b := newBench(t)
	b.start(b.on(v))
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	time.Sleep(time.Second)
	for range 2 {
		begin := time.Now()
		v.Freeze(t)
		down := b.await("c1", 0, "Pending/VPPDown")
		stale := time.Since(begin)
		t.Logf("stale for %v", stale.Round(time.Millisecond))
		if stale > callTimeout+2*time.Second {
			t.Errorf("the status said Ready for %v after VPP had gone silent", stale)
		}
		if !strings.Contains(down.Message, "not answered") || down.SwIfIndex != nil || down.Link != "" {
			t.Errorf("status %+v: want the reason and no interface", down)
		}
		begin = time.Now()
		v.Thaw(t)
		b.await("c1", 0, "Ready/Applied")
		b.ready()
		t.Logf("ready again after %v", time.Since(begin).Round(time.Millisecond))
	}
}

// TestDeadVPP: the same for one that dies.
func TestDeadVPP(t *testing.T) {
	t.Parallel()
	v := vpptest.Start(t)
	b := newBench(t)
	b.start(b.on(v))
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	time.Sleep(time.Second)
	begin := time.Now()
	v.Kill(t)
	b.await("c1", 0, "Pending/VPPDown")
	stale := time.Since(begin)
	t.Logf("stale for %v", stale.Round(time.Millisecond))
	if stale > 2*time.Second {
		t.Errorf("the status said Ready for %v after VPP's end", stale)
	}
	v.Restart(t)
	b.await("c1", 0, "Ready/Applied")
}

// TestUnansweredCall: one sort of call is never answered, by a VPP that is well
// otherwise. That concerns what needs the call, and nothing else.
func TestUnansweredCall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	time.Sleep(100 * time.Millisecond)
	before, err := b.status("c1")
	must(t, err)
	b.sim.Ignore("memif_create_v2")
	b.put("c2", host("p2"))
	if s := b.await("c2", 0, "Pending/Retrying"); !strings.Contains(s.Message, "no answer") {
		t.Errorf("message %q does not say what is wrong", s.Message)
	}
	for n := range 3 {
		c := fmt.Sprint("v", n)
		begin := time.Now()
		b.put(c, vhostUser("p-"+c))
		b.await(c, 0, "Ready/Applied")
		if took := time.Since(begin); took > 2*callTimeout {
			t.Errorf("another attachment took %v", took)
		}
	}
	b.ready()
	after, err := b.status("c1")
	must(t, err)
	if after.writes != before.writes {
		t.Errorf("%d writes of the status of one that was ready all the time", after.writes-before.writes)
	}
	b.sim.ClearFaults()
	b.await("c2", 0, "Ready/Applied")
}

// lateNews is a VPP whose events come late.
type lateNews struct {
	*vpp.VPP
	events chan vpp.Event
}

func (l *lateNews) Events() <-chan vpp.Event { return l.events }

func (l *lateNews) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case e := <-l.VPP.Events():
				time.Sleep(200 * time.Millisecond)
				select {
				case <-ctx.Done():
				case l.events <- e:
				}
			}
		}
	})
	return l.VPP.Run(ctx)
}

// passes is the number of full passes, from the metrics.
func passes(metrics string) string {
	_, after, _ := strings.Cut(metrics, `vppcni_pass_seconds_count{pass="resync"} `)
	n, _, _ := strings.Cut(after, "\n")
	return n
}

// TestReadyMeansReady: when the first status says Ready the agent's first full
// pass is over, and stays so: the news of the connection to VPP, which may come
// later, asks for no other one.
func TestReadyMeansReady(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start(func(c *daemon.Config) {
		v := vpp.New(vpp.Config{Socket: b.sim.APISocket(), RunDir: b.runDir, CallTimeout: callTimeout, Logger: c.Log})
		c.VPP = &lateNews{VPP: v, events: make(chan vpp.Event)}
	})
	b.eventually("VPP", func() error {
		b.put("c1", host("p1")) // a change lets the agent look
		if s, err := b.status("c1"); err != nil || describe(s) != "Ready/Applied" {
			return fmt.Errorf("status %s, %w", describe(s), err)
		}
		return nil
	})
	_, metrics := get(t, b.daemon.Handler(b.daemon.Checks), "/metrics")
	first := passes(metrics)
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if code, body := get(t, b.daemon.Handler(b.daemon.Checks), "/verify"); code != http.StatusOK {
			t.Fatalf("verify: %d %s", code, body)
		}
	}
	b.ready()
	_, metrics = get(t, b.daemon.Handler(b.daemon.Checks), "/metrics")
	if now := passes(metrics); now != first {
		t.Errorf("another full pass: %s, before %s", now, first)
	}
}

// TestUnansweredDump: a VPP that does not answer the dump of its interfaces is
// not one that has none. Nothing is made a second time.
func TestUnansweredDump(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start(func(c *daemon.Config) { c.Audit = 100 * time.Millisecond })
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	b.written()
	b.sim.Ignore("sw_interface_dump")
	time.Sleep(500 * time.Millisecond)
	b.sim.ClearFaults()
	b.put("c2", host("p2"))
	b.await("c2", 0, "Ready/Applied")
	if n := b.written()["memif_create_v2"]; n != 1 {
		t.Errorf("%d creates after a dump that was not answered, want c2's alone", n)
	}
	b.await("c1", 0, "Ready/Applied")
}
