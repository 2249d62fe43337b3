package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

// kill ends the program as a crash does.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	p.end()
}

// stop ends the program in order.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if code := p.end(); code != 0 {
		p.t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}

// writes counts the calls that changed VPP since the last reset.
func writes(sim *vppsim.Sim) map[string]int {
	calls := sim.Calls()
	maps.DeleteFunc(calls, func(name string, _ int) bool {
		for _, read := range []string{"dump", "ping", "show_version", "want_", "sockclnt", "get", "details", "api_versions"} {
			if strings.Contains(name, read) {
				return true
			}
		}
		return false
	})
	return calls
}

func untouched(t *testing.T, what string, sim *vppsim.Sim) {
	t.Helper()
	if diff := cmp.Diff(map[string]int{}, writes(sim)); diff != "" {
		t.Errorf("%s: VPP was written to (-want +got):\n%s", what, diff)
	}
}

func (n *node) ready(t *testing.T) {
	t.Helper()
	eventually(t, "readiness", func() error {
		body, err := n.get(t.Context(), "/readyz")
		if err == nil && !strings.HasPrefix(body, "200\n") {
			err = errors.New(body)
		}
		return err
	})
}

// fenced waits until the agent says that the first one has the name.
func (n *node) fenced(t *testing.T, p *process, first *schema.AgentInfo) {
	t.Helper()
	want := fmt.Sprintf("presence: not ready: the name of node n1 is taken by another agent: instance %s, pid %d, run-dir %s, boot %s, since ",
		first.Instance, first.PID, first.RunDir, first.BootID)
	eventually(t, "the fence", func() error {
		body, err := n.get(t.Context(), "/readyz")
		if err == nil && (!strings.HasPrefix(body, "503\n") || !strings.Contains(body, want)) {
			err = fmt.Errorf("%s\nwant: %s", body, want)
		}
		return err
	})
	eventually(t, "a log that tells once who has the name", func() error {
		if out := p.output(); strings.Count(out, "another agent has this node's name") != 1 || !strings.Contains(out, first.Instance) {
			return errors.New(out)
		}
		return nil
	})
}

// status is the raw status of an attachment, with its revision.
func (n *node) status(t *testing.T, container schema.ContainerID) string {
	t.Helper()
	resp, err := n.client.Get(t.Context(), n.keys.HostStatus("n1", container, "net1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d %s", resp.Kvs[0].ModRevision, resp.Kvs[0].Value)
}

// TestKilledAndStartedAgain: the presence of an agent that was killed is taken
// over at once, not when its lease runs out, and is not lost with that lease.
func TestKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.lease(t, "8s")
	sim := n.startVPP(t)
	p := start(t, n.args...)
	n.ready(t)
	n.put(t, "c1", "p1")
	n.await(t, "c1")
	for i := range 5 {
		p.kill()
		sim.ResetCalls()
		begin := time.Now()
		p = start(t, n.args...)
		n.ready(t)
		took := time.Since(begin)
		t.Logf("start %d: ready after %v", i+1, took.Round(time.Millisecond))
		if took > 4*time.Second { // half the lease's time; it takes some 50 ms
			t.Errorf("ready after %v: it waited for the lease", took)
		}
		n.presence(t, func(i *schema.AgentInfo) bool { return i != nil && i.Ready && i.PID == p.cmd.Process.Pid })
		untouched(t, "a restart", sim)
	}
	time.Sleep(3 * time.Second) // all leases of those before run out
	if info, err := value[schema.AgentInfo](t.Context(), n, n.keys.Agent("n1")); err != nil || info == nil || info.PID != p.cmd.Process.Pid {
		t.Errorf("presence after the old leases: %+v, %v", info, err)
	}
	if out := p.output(); !strings.Contains(out, "its presence is taken over") || strings.Contains(out, "another agent") {
		t.Errorf("the log does not tell of the dead one:\n%s", out)
	}
}

func TestSecondAgentOnTheSameRunDir(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	first := start(t, n.args...)
	info := n.presence(t, func(i *schema.AgentInfo) bool { return i != nil })
	args := append([]string{}, n.args...)
	second := start(t, append(args, "--http", "unix://"+filepath.Join(n.dir, "other.sock"))...)
	if code := second.end(); code != 1 || !strings.Contains(second.output(), "run-dir "+filepath.Join(n.dir, "run")+": another agent has locked it") {
		t.Errorf("exit code %d, want 1 and a reason:\n%s", code, second.output())
	}
	n.presence(t, func(i *schema.AgentInfo) bool { return i != nil && i.Instance == info.Instance })
	first.stop()
}

// TestSecondAgentOfTheSameName runs an agent of the same node on another
// machine, or on this one with another run-dir: it does nothing, says why, and
// goes on when the first one ends.
func TestSecondAgentOfTheSameName(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		boot func(first, second *node) error
		end  func(*process)
	}{
		{"another machine, the first ends in order", func(_, _ *node) error { return nil }, (*process).stop},
		{"another machine, the first is killed", func(_, _ *node) error { return nil }, (*process).kill},
		{"the same machine, another run-dir", func(first, second *node) error {
			return os.WriteFile(filepath.Join(second.dir, "boot_id"), []byte("boot-"+filepath.Base(first.dir)), 0o600)
		}, (*process).kill},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, etcdtest.Options{})
			endpoints := strings.Join(etcd.Endpoints(), ",")
			a, b := newMachine(t, etcd, endpoints), newMachine(t, etcd, endpoints)
			if err := tc.boot(a, b); err != nil {
				t.Fatal(err)
			}
			a.startVPP(t)
			first := start(t, a.args...)
			a.ready(t)
			a.put(t, "c1", "p1")
			a.await(t, "c1")
			info := a.presence(t, func(i *schema.AgentInfo) bool { return i != nil && i.Ready })
			was := a.status(t, "c1")

			sim := b.startVPP(t)
			second := start(t, b.args...)
			b.fenced(t, second, info)
			time.Sleep(3 * time.Second) // longer than a lease
			b.fenced(t, second, info)
			untouched(t, "a fenced agent", sim)
			if now := a.status(t, "c1"); now != was {
				t.Errorf("status is %s, was %s: a fenced agent has written it", now, was)
			}
			a.presence(t, func(i *schema.AgentInfo) bool { return i != nil && i.Instance == info.Instance })
			a.ready(t)

			tc.end(first)
			begin := time.Now()
			b.ready(t)
			t.Logf("the second is ready %v after the first one's end", time.Since(begin).Round(time.Millisecond))
			b.presence(t, func(i *schema.AgentInfo) bool { return i != nil && i.Ready && i.PID == second.cmd.Process.Pid })
			b.put(t, "c2", "p2")
			b.await(t, "c2")
		})
	}
}

// TestCutOffAgentComesBack: an agent that was cut off from etcd for longer than
// its lease finds another in its place. It writes nothing any more, and its VPP
// keeps everything, also what was detached meanwhile.
func TestCutOffAgentComesBack(t *testing.T) {
	t.Parallel()
	signal := func(sig syscall.Signal) func(*testing.T, *etcdtest.Relay, *process) {
		return func(t *testing.T, _ *etcdtest.Relay, p *process) {
			t.Helper()
			if err := p.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("the network is cut", func(t *testing.T) {
		t.Parallel()
		cutOff(t, func(_ *testing.T, r *etcdtest.Relay, _ *process) { r.Silence() },
			func(_ *testing.T, r *etcdtest.Relay, _ *process) { r.Resume() })
	})
	// What etcd sends meanwhile waits for it in its sockets.
	t.Run("the process is stopped", func(t *testing.T) {
		t.Parallel()
		cutOff(t, signal(syscall.SIGSTOP), signal(syscall.SIGCONT))
	})
}

func cutOff(t *testing.T, cut, resume func(*testing.T, *etcdtest.Relay, *process)) {
	t.Helper()
	etcd := etcdtest.Start(t, etcdtest.Options{TCP: true})
	relay := etcdtest.NewRelay(t, etcd.Endpoints()[0])
	a, b := newMachine(t, etcd, relay.Endpoint()), newMachine(t, etcd, etcd.Endpoints()[0])
	simA := a.startVPP(t)
	b.startVPP(t)
	first := start(t, a.args...)
	a.ready(t)
	for _, c := range []string{"1", "2"} {
		a.put(t, schema.ContainerID("c"+c), schema.PodID("p"+c))
		a.await(t, schema.ContainerID("c"+c))
	}
	kept := len(holds(t, a))

	cut(t, relay, first)
	second := start(t, b.args...)
	b.ready(t)
	a.put(t, "c3", "p3")
	b.await(t, "c3")
	if _, err := a.client.Delete(t.Context(), a.keys.Host("n1", "c1", "net1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the status of what is gone", func() error {
		if s := b.status(t, "c1"); s != "none" {
			return errors.New(s)
		}
		return nil
	})
	info := b.presence(t, func(i *schema.AgentInfo) bool { return i != nil && i.Ready && i.PID == second.cmd.Process.Pid })
	simA.ResetCalls()
	before := revision(t, a)
	resume(t, relay, first)
	a.fenced(t, first, info)
	a.put(t, "c4", "p4")
	b.await(t, "c4")
	time.Sleep(3 * time.Second)
	untouched(t, "an agent that came back", simA)
	if now := len(holds(t, a)); now != kept {
		t.Errorf("VPP holds %d objects, held %d", now, kept)
	}
	// Written since: c4, its status, and once more the status for its link.
	if n := revision(t, a) - before; n > 3 {
		t.Errorf("%d writes to etcd, want those of the living agent only", n)
	}
	// Nor does it fill a new VPP from what it remembers.
	if err := simA.Restart(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	untouched(t, "a fenced agent's new VPP", simA)
	b.ready(t)
	second.stop()
	a.ready(t)
	a.await(t, "c4")
}

func revision(t *testing.T, n *node) int64 {
	t.Helper()
	resp, err := n.client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.GetRevision()
}

// TestAloneAfterAnOutage: with nobody else there an agent is never fenced: not
// when etcd is away at its start, nor when its lease is lost.
func TestAloneAfterAnOutage(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{})
	n := newMachine(t, etcd, etcd.Endpoints()[0])
	sim := n.startVPP(t)
	etcd.Stop(0)
	p := start(t, n.args...)
	eventually(t, "health without etcd", func() error {
		body, err := n.get(t.Context(), "/readyz")
		if err == nil && (!strings.HasPrefix(body, "503\n") || !strings.Contains(body, "etcd is not available")) {
			err = errors.New(body)
		}
		return err
	})
	untouched(t, "an agent without etcd", sim)
	if err := etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	n.ready(t)
	n.put(t, "c1", "p1")
	n.await(t, "c1")
	info := n.presence(t, func(i *schema.AgentInfo) bool { return i != nil && i.Ready })

	sim.ResetCalls()
	etcd.Stop(0)
	time.Sleep(3 * time.Second)
	if err := etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	leases(t, n) // etcd gives them their time anew: they are taken away
	n.ready(t)
	n.presence(t, func(i *schema.AgentInfo) bool { return i != nil && i.Ready && i.Instance == info.Instance })
	n.put(t, "c2", "p2")
	n.await(t, "c2")
	if out := p.output(); strings.Contains(out, "another agent") {
		t.Errorf("the agent was fenced with nobody else there:\n%s", out)
	}
}

// leases revokes all leases.
func leases(t *testing.T, n *node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	resp, err := n.client.Leases(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range resp.Leases {
		if _, err := n.client.Revoke(ctx, l.ID); err != nil {
			t.Fatal(err)
		}
	}
}
