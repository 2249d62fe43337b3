package daemon_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

var errOther = errors.New("another agent has this node")

// untouched fails where VPP or etcd was written to within a while.
func (b *bench) untouched(since int64) {
	b.t.Helper()
	time.Sleep(300 * time.Millisecond)
	if diff := cmp.Diff(map[string]int{}, b.written()); diff != "" {
		b.t.Errorf("writes to VPP (-want +got):\n%s", diff)
	}
	if now := b.revision(); now != since {
		b.t.Errorf("%d writes to etcd, want none", now-since)
	}
}

func TestFencedFromTheStart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.fence = errOther
	states := make(chan daemon.State, 100)
	b.start(func(c *daemon.Config) {
		c.Audit = 50 * time.Millisecond
		c.OnState = func(s daemon.State) { states <- s }
	})
	b.eventually("etcd", func() error { return b.daemon.State().Etcd })
	b.eventually("VPP", func() error { return b.daemon.State().VPP.Err })
	b.written()
	rev := b.put("c1", host("p1"))
	b.untouched(rev)
	if err := b.daemon.State().Ready(); !errors.Is(err, errOther) {
		t.Errorf("state %v, want the fence", err)
	}
	if code, body := get(t, b.daemon.Handler(b.daemon.Checks), "/readyz"); code == 200 {
		t.Errorf("readyz: %d %s", code, body)
	}

	b.daemon.SetFenced(nil)
	b.await("c1", rev, "Ready/Applied")
	b.ready()
	b.daemon.SetFenced(errOther)
	b.eventually("the fence to be told", func() error {
		for told := (daemon.State{}); ; {
			select {
			case told = <-states:
				continue
			default:
			}
			if told.Pass == nil {
				return errors.New("not told")
			}
			if !errors.Is(told.Fenced, errOther) {
				return fmt.Errorf("state %+v", told)
			}
			return nil
		}
	})
}

// TestFenceForgetsWhatWasQueued: Pending waits for an etcd that is away. When
// the agent is fenced meanwhile it must never be written: the other agent's word
// stands.
func TestFenceForgetsWhatWasQueued(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	time.Sleep(500 * time.Millisecond) // the watch has heard that etcd answers progress requests
	b.etcd.Stop(0)
	b.sim.Kill()
	b.eventually("the end of VPP", func() error {
		if b.daemon.State().VPP.Err == nil {
			return errors.New("not noticed")
		}
		return nil
	})
	time.Sleep(200 * time.Millisecond) // a write is on its way
	b.daemon.SetFenced(errOther)
	if err := b.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	b.eventually("etcd", func() error { return b.daemon.State().Etcd })
	b.written()
	b.untouched(b.revision())
	if s, err := b.status("c1"); err != nil || describe(s) != "Ready/Applied" || s.writes != 1 {
		t.Errorf("status %s, %v: want the one that was there", describe(s), err)
	}
	b.daemon.SetFenced(nil)
	b.await("c1", 0, "Pending/VPPDown")
}

// TestFenceEndsWithAFreshLook: what the other one did meanwhile to VPP and to
// statuses is found.
func TestFenceEndsWithAFreshLook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	for _, c := range []string{"c1", "c2", "c3"} {
		b.put(c, host("p-"+c))
		b.await(c, 0, "Ready/Applied")
	}
	time.Sleep(100 * time.Millisecond)
	b.daemon.SetFenced(errOther)
	operator := b.driver(b.sim.APISocket(), filepath.Join(b.runDir, "pods"))
	objects, err := operator.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.ID() == (model.ID{Kind: model.KindMemif, Name: "vpp-cni/net1/c1"}) {
			err = errors.Join(err, operator.Delete(t.Context(), o))
		}
	}
	value, encErr := schema.Encode(schema.InterfaceStatus{State: schema.Pending, Reason: schema.ReasonRetrying})
	_, putErr := b.client.Put(t.Context(), b.keys.HostStatus(node, "c2", "net1"), string(value))
	if err = errors.Join(err, encErr, putErr); err != nil {
		t.Fatal(err)
	}
	b.written()
	b.del("c3")
	b.untouched(b.revision())

	b.daemon.SetFenced(nil)
	b.await("c1", 0, "Ready/Applied")
	b.await("c2", 0, "Ready/Applied")
	b.awaitGone("c3")
	b.ready()
	b.eventually("VPP to be as desired", func() error {
		_, body := get(t, b.daemon.Handler(b.daemon.Checks), "/verify")
		if want := fmt.Sprintf(`{"node":"n1","vppPID":%d,"inSync":true,"drift":[],"pending":[]}`+"\n", b.sim.PID()); body != want {
			return fmt.Errorf("verify: %s", body)
		}
		return nil
	})
}

// TestFenceBreaksOffAPass: a pass over many attachments with a slow VPP does not
// go on to its end. What was handed over to VPP before is carried out, or undone.
func TestFenceBreaksOffAPass(t *testing.T) {
	t.Parallel()
	const n = 600
	b := newBench(t)
	b.startVPP()
	for i := range n {
		b.put(fmt.Sprint("c", i), host(fmt.Sprint("p", i)))
	}
	b.sim.Delay("memif_create_v2", 5*time.Millisecond)
	b.start()
	b.eventually("the pass", func() error {
		if b.sim.Calls()["memif_create_v2"] < 10 {
			return errors.New("not begun")
		}
		return nil
	})
	b.daemon.SetFenced(errOther)
	calls := b.sim.Calls()["memif_create_v2"]
	b.eventually("the end of what was under way", func() error {
		before := calls
		time.Sleep(500 * time.Millisecond)
		if calls = b.sim.Calls()["memif_create_v2"]; calls != before {
			return errors.New("it goes on")
		}
		return nil
	})
	if calls > n/2 {
		t.Errorf("%d of %d interfaces made, want those that were under way", calls, n)
	}
	b.sim.ClearFaults()
	b.written()
	b.untouched(b.revision())
	b.daemon.SetFenced(nil)
	b.statuses(n)
}
