package vpptest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.fd.io/govpp/binapi/memclnt"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// eventTime is how long VPP may take to send an event, and linkTime for a memif
// to connect: a slave tries every 3 s.
const (
	eventTime = 2 * time.Second
	linkTime  = 6 * time.Second
)

func waitLink(t *testing.T, d *vpp.VPP, up bool) {
	t.Helper()
	vpptest.Eventually(t, linkTime, func() error {
		if err := d.RefreshInterfaces(deadline(t)); err != nil {
			return err
		}
		if s, _ := d.Interface(tagMemif); s.LinkUp != up {
			return fmt.Errorf("link is %v, want %v", s.LinkUp, up)
		}
		return nil
	})
}

// neverLinks watches a memif for as long as a slave needs for a second try.
func neverLinks(t *testing.T, d *vpp.VPP) {
	t.Helper()
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := d.RefreshInterfaces(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if s, _ := d.Interface(tagMemif); s.LinkUp {
			t.Fatal("the memif linked with the wrong secret")
		}
	}
}

// next is the next event of a kind; others are passed over.
func next(t *testing.T, d *vpp.VPP, kind vpp.EventKind) vpp.Event {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case e := <-d.Events():
			if e.Kind == kind {
				return e
			}
		case <-limit:
			t.Fatalf("no event %q", kind)
		}
	}
}

// pidOf is the PID that VPP tells over the API.
func pidOf(t *testing.T, v *vpptest.VPP) uint32 {
	t.Helper()
	r := must(memclnt.NewServiceClient(raw(t, v)).ControlPing(deadline(t), &memclnt.ControlPing{}))(t)
	return r.VpePID
}

// An agent that starts with no memory finds everything, and has nothing to do.
func TestAgentRestart(t *testing.T) {
	v := vpptest.Start(t)
	d, stop := v.StartDriver(t)
	m := model.Memif{Tag: tagMemif, Socket: v.Socket(t, "p", "net1"), Master: true, MAC: macA, Secret: model.NewSecret("s")}
	lo := model.Loopback{Tag: tagLoop}
	objs := []model.Object{
		model.Table{VRF: 4},
		model.Table{VRF: 4, V6: true},
		lo,
		model.Socket{Path: m.Socket},
		m,
		model.InterfaceTable{Interface: lo.ID(), VRF: 4},
		model.InterfaceTable{Interface: lo.ID(), VRF: 4, V6: true},
		model.InterfaceTable{Interface: m.ID(), VRF: 4},
		model.InterfaceTable{Interface: m.ID(), VRF: 4, V6: true},
		model.MTU{Interface: m.ID(), Bytes: 1450},
		model.Address{Interface: lo.ID(), Prefix: pfx("10.1.0.1/32"), VRF: 4},
		model.Address{Interface: lo.ID(), Prefix: pfx("fd01::1/128"), VRF: 4},
		model.Unnumbered{Interface: m.ID(), Lender: lo.ID()},
		model.AdminUp{Interface: lo.ID()},
		model.AdminUp{Interface: m.ID()},
		model.Route{VRF: 4, Prefix: pfx("10.1.0.2/32"), Interface: m.ID()},
		model.Route{VRF: 4, Prefix: pfx("fd01::2/128"), Interface: m.ID()},
	}
	vpptest.Put(t, d, objs...)
	same(t, d, objs...)
	stop()

	again := v.Driver(t)
	if sim := v.Simulator(); sim != nil {
		for end := time.Now().Add(10 * time.Second); sim.Calls()["sockclnt_delete"] == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the agent before did not take its leave")
			}
		}
		sim.ResetCalls()
	}
	same(t, again, objs...)
	onlyReads(t, v)
	for _, o := range objs { // the engine would not put what is there; nor does it harm
		if err := again.Put(deadline(t), o, o); err != nil {
			t.Error(err)
		}
	}
	same(t, again, objs...)
	if s, ok := again.Interface(tagMemif); !ok || s.Name != "memif1/0" || s.MTU != 1450 || s.MAC != macA || !s.AdminUp {
		t.Errorf("the memif's state is %+v, %v", s, ok)
	}
}

// onlyReads checks that the simulator got no call that changes anything since
// its counters were reset. A real VPP counts no calls.
func onlyReads(t *testing.T, v *vpptest.VPP) {
	t.Helper()
	if v.Simulator() == nil {
		return
	}
	calls := v.Simulator().Calls()
	for message, n := range calls {
		if !strings.HasSuffix(message, "_dump") && message != "control_ping" && message != "sw_interface_get_table" {
			t.Errorf("%s was called %d times by an agent with nothing to do", message, n)
		}
	}
	if calls["sw_interface_dump"] == 0 {
		t.Errorf("the counters saw no dump: %v", calls)
	}
}

// A VPP that comes back is another one, and has nothing.
func TestVPPRestart(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	first := next(t, d, vpp.EventConnected)
	if !first.NewVPP || first.PID != pidOf(t, v) || first.Version != "25.10-release" {
		t.Errorf("connected: %+v", first)
	}
	objs := attachment(v.Socket(t, "p", "net1"), tagMemif)
	vpptest.Put(t, d, objs...)
	v.Kill(t)
	if e := next(t, d, vpp.EventDisconnected); !errors.Is(e.Err, vpp.ErrDown) {
		t.Errorf("disconnected: %+v", e)
	}
	if err := d.Put(deadline(t), objs[0], nil); !errors.Is(err, vpp.ErrDown) || vpp.Terminal(err) {
		t.Errorf("put while VPP is away: %v, want ErrDown, to be tried again", err)
	}
	if _, err := d.Dump(deadline(t)); !errors.Is(err, vpp.ErrDown) {
		t.Errorf("dump while VPP is away: %v, want ErrDown", err)
	}
	if _, ok := d.Interface(tagMemif); ok {
		t.Error("the driver still believes in interfaces of a VPP that is gone")
	}
	v.Restart(t)
	second := next(t, d, vpp.EventConnected)
	if !second.NewVPP || second.PID == first.PID {
		t.Errorf("connected after a restart: %+v, first %+v", second, first)
	}
	same(t, d)
	vpptest.Put(t, d, objs...)
	same(t, d, objs...)
}

// The connection may break while VPP lives on: then it is the same VPP.
func TestSameVPP(t *testing.T) {
	v := vpptest.Start(t)
	d, stop := v.StartDriver(t)
	first := next(t, d, vpp.EventConnected)
	stop()
	again := v.Driver(t)
	if e := next(t, again, vpp.EventConnected); e.PID != first.PID {
		t.Errorf("PID %d, was %d", e.PID, first.PID)
	}
}

// Calls under way when VPP dies end soon, not by their deadline.
func TestKilledDuringCalls(t *testing.T) {
	v := vpptest.Start(t)
	d, _ := v.StartDriverWith(t, vpp.Config{CallTimeout: 30 * time.Second})
	v.Freeze(t)
	failed := make(chan error, 8)
	for n := range 8 {
		go func() {
			failed <- d.Put(context.Background(), model.BridgeDomain{DomainID: uint32(n + 1)}, nil)
		}()
	}
	time.Sleep(50 * time.Millisecond)
	v.Kill(t)
	limit := time.After(3 * time.Second)
	for range 8 {
		select {
		case err := <-failed:
			if !errors.Is(err, vpp.ErrDown) {
				t.Errorf("call on a dying VPP: %v, want ErrDown", err)
			}
		case <-limit:
			t.Fatal("calls still wait 3 s after VPP died")
		}
	}
}

// A VPP that hangs is not left: every connection that goes away without a word
// brings it nearer to hanging for good.
func TestHangingVPP(t *testing.T) {
	v := vpptest.Start(t)
	d, _ := v.StartDriverWith(t, vpp.Config{CallTimeout: time.Second})
	vpptest.Put(t, d, model.BridgeDomain{DomainID: 1})
	v.Freeze(t)
	begin := time.Now()
	err := d.Put(context.Background(), model.BridgeDomain{DomainID: 2}, nil)
	if took := time.Since(begin); !errors.Is(err, vpp.ErrDown) || took > 3*time.Second {
		t.Errorf("call on a hanging VPP: %v after %v, want ErrDown after 1 s", err, took)
	}
	vpptest.Eventually(t, 5*time.Second, func() error { // then calls fail at once
		begin := time.Now()
		err := d.Put(context.Background(), model.BridgeDomain{DomainID: 3}, nil)
		if took := time.Since(begin); !errors.Is(err, vpp.ErrDown) || took > 100*time.Millisecond {
			return fmt.Errorf("%w after %v", err, took)
		}
		if d.Info().Connected {
			return errors.New("the driver says that VPP is well")
		}
		return nil
	})
	v.Thaw(t)
	vpptest.Eventually(t, 5*time.Second, func() error {
		if !d.Info().Connected {
			return fmt.Errorf("not connected: %w", d.Info().Err)
		}
		return d.Put(context.Background(), model.BridgeDomain{DomainID: 4}, nil)
	})
	// The late answers were nobody else's.
	conn := raw(t, v)
	if got := bridges(t, conn); got[1] == nil || got[4] == nil {
		t.Errorf("bridge domains 1 and 4 are not both there: %v", got)
	}
	if _, err := d.Dump(deadline(t)); err != nil {
		t.Error(err)
	}
}

// Every operation runs beside every other.
func TestManyAtOnce(t *testing.T) {
	const pods, workers = 200, 32
	v := vpptest.Start(t)
	d := v.Driver(t)
	all := make([][]model.Object, pods)
	for n := range all {
		all[n] = attachment(v.Socket(t, fmt.Sprint(n), "net1"), model.Tag(fmt.Sprintf("vpp-cni/net1/%d", n)))
	}
	vpptest.Put(t, d, all[0][0])
	work := func(phase string, op func(pod []model.Object) error) {
		t.Helper()
		begin := time.Now()
		jobs := make(chan []model.Object)
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for pod := range jobs {
					if err := op(pod); err != nil {
						t.Errorf("%s: %v", phase, err)
					}
				}
			})
		}
		for _, pod := range all {
			jobs <- pod
		}
		close(jobs)
		wg.Wait()
		t.Logf("%s: %d in %v, %v each", phase, pods, time.Since(begin), time.Since(begin)/pods)
	}
	ctx := t.Context()
	work("put", func(pod []model.Object) error {
		for _, o := range pod {
			if err := d.Put(ctx, o, nil); err != nil {
				return err
			}
		}
		_, err := d.Dump(ctx) // nothing is seen half made
		return err
	})
	want := []model.Object{all[0][0]}
	for _, pod := range all {
		want = append(want, pod[1:]...)
	}
	same(t, d, want...)
	work("delete", func(pod []model.Object) error {
		for n := len(pod) - 1; n > 0; n-- {
			if err := d.Delete(ctx, pod[n]); err != nil {
				return err
			}
		}
		return nil
	})
	same(t, d, all[0][0])
	if n := len(interfacesOf(t, raw(t, v))); n != 1 {
		t.Errorf("%d interfaces are left, want local0 alone", n)
	}
}

// Link and admin state of what others change come with the events.
func TestEvents(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	conn := raw(t, v)
	objs := attachment(v.Socket(t, "p", "net1"), tagMemif)
	vpptest.Put(t, d, objs...)
	time.Sleep(200 * time.Millisecond)
	drain(d)
	s, _ := d.Interface(tagMemif)
	e := env{t, deadline(t), conn, d}
	for _, deed := range []func(){
		func() { e.admin(tagMemif, false) },
		func() { e.admin(tagMemif, true) },
		func() { delMemif(t, conn, index(s.SwIfIndex)) },
	} {
		deed()
		next(t, d, vpp.EventInterfacesChanged)
	}
	if err := d.RefreshInterfaces(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if s, ok := d.Interface(tagMemif); ok {
		t.Errorf("the deleted memif is still known: %+v", s)
	}
}

func drain(d *vpp.VPP) {
	for {
		select {
		case <-d.Events():
		case <-time.After(50 * time.Millisecond):
			return
		}
	}
}
