package vpptest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// faulty is a simulator with a driver and a crowd whose sockets are there.
func faulty(t *testing.T, n int) (*vpptest.VPP, *vppsim.Sim, *vpp.VPP, crowd) {
	t.Helper()
	v := vpptest.Start(t)
	sim := v.Simulator()
	if sim == nil {
		t.Skip("a real VPP cannot be told to refuse a call")
	}
	d, _ := v.StartDriverWith(t, vpp.Config{CallTimeout: 500 * time.Millisecond})
	c := newCrowd(t, v, n)
	for _, phase := range c.phases()[:2] {
		if failed := putAll(t, d, phase); len(failed) != 0 {
			t.Fatal(failed)
		}
	}
	return v, sim, d, c
}

// What VPP refuses once is put by itself, and nothing else suffers from it.
func TestPutAllRefusedOnce(t *testing.T) {
	for _, msg := range []string{"memif_create_v2", "sw_interface_tag_add_del", "sw_interface_set_l2_bridge", "sw_interface_set_flags"} {
		t.Run(msg, func(t *testing.T) {
			v, sim, d, c := faulty(t, 10)
			sim.Refuse(msg, -1, 1)
			c.put(t, d)
			same(t, d, c.all()...)
			count(t, "untagged", untagged(t, v), 0)
			count(t, "calls", sim.Calls()[msg], 11)
		})
	}
}

// A memif whose tag is refused, or not answered, is taken away again.
func TestPutAllWithoutTags(t *testing.T) {
	for name, fault := range map[string]func(*vppsim.Sim){
		"refused":      func(s *vppsim.Sim) { s.Refuse("sw_interface_tag_add_del", -1, -1) },
		"not answered": func(s *vppsim.Sim) { s.Ignore("sw_interface_tag_add_del") },
	} {
		t.Run(name, func(t *testing.T) {
			v, sim, d, c := faulty(t, 10)
			fault(sim)
			failed := putAll(t, d, c.memifs)
			count(t, "failed", len(failed), 10)
			for n, err := range failed {
				if down := errors.Is(err, vpp.ErrDown); down != (name == "not answered") {
					t.Errorf("number %d: %v", n, err)
				}
			}
			sim.ClearFaults()
			count(t, "interfaces", len(interfacesOf(t, raw(t, v))), 1)
			c.put(t, d)
			same(t, d, c.all()...)
		})
	}
}

// What VPP does not answer is not tried again in the same batch, and nothing of
// it stands in the way of the next.
func TestPutAllNotAnswered(t *testing.T) {
	v, sim, d, c := faulty(t, 10)
	more := newCrowd(t, v, 20)
	for _, phase := range []struct {
		msg     string
		objects []model.Object
	}{
		{"memif_socket_filename_add_del_v2", more.sockets[10:]},
		{"memif_create_v2", c.memifs},
		{"sw_interface_set_l2_bridge", c.members},
		{"sw_interface_set_flags", c.ups},
	} {
		sim.ResetCalls()
		sim.Ignore(phase.msg)
		for n, err := range putAll(t, d, phase.objects) {
			if !errors.Is(err, vpp.ErrDown) {
				t.Errorf("%s, number %d: %v", phase.msg, n, err)
			}
		}
		count(t, phase.msg, sim.Calls()[phase.msg], 10)
		sim.ClearFaults()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		for n, err := range d.PutAll(ctx, phase.objects, make([]model.Object, 10)) {
			if err != nil {
				t.Errorf("%s again, number %d: %v", phase.msg, n, err)
			}
		}
		cancel()
	}
}

// VPP may die under a batch: all of it is down, and nothing is tried again.
func TestPutAllOnDyingVPP(t *testing.T) {
	_, sim, d, c := faulty(t, 50)
	sim.ResetCalls()
	sim.DieOn("sw_interface_tag_add_del")
	for n, err := range putAll(t, d, c.memifs) {
		if !errors.Is(err, vpp.ErrDown) {
			t.Errorf("number %d: %v", n, err)
		}
	}
	if n := sim.Calls()["memif_create_v2"]; n != 50 {
		t.Errorf("%d creates, want 50", n)
	}
}

// While memifs are made and tagged no admin state is changed, and the other way
// round: VPP dies of it (VPP-FACTS.md).
func TestPutAllKeepsFlipsFromCreates(t *testing.T) {
	_, sim, d, c := faulty(t, 40)
	half := len(c.memifs) / 2
	for _, phase := range [][]model.Object{c.memifs[:half], c.members[:half]} {
		if failed := putAll(t, d, phase); len(failed) != 0 {
			t.Fatal(failed)
		}
	}
	sim.ResetCalls()
	sim.Delay("memif_create_v2", 5*time.Millisecond)
	ended := make(chan map[int]error, 2)
	go func() { ended <- putAll(t, d, c.memifs[half:]) }()
	for sim.Calls()["memif_create_v2"] == 0 {
		time.Sleep(time.Millisecond)
	}
	go func() { ended <- putAll(t, d, c.ups[:half]) }()
	for {
		calls := sim.Calls()
		if calls["sw_interface_set_flags"] > 0 {
			if n := calls["sw_interface_tag_add_del"]; n != half {
				t.Errorf("an admin state was changed when %d of %d memifs were made and tagged", n, half)
			}
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	for range 2 {
		for n, err := range <-ended {
			t.Errorf("number %d: %v", n, err)
		}
	}
}

// No dump shows a memif of a batch without its tag.
func TestPutAllBesideDumps(t *testing.T) {
	_, sim, d, c := faulty(t, 60)
	sim.Delay("sw_interface_tag_add_del", time.Millisecond)
	ended := make(chan map[int]error, 1)
	go func() { ended <- putAll(t, d, c.memifs) }()
	for {
		select {
		case failed := <-ended:
			count(t, "failed", len(failed), 0)
			return
		default:
		}
		for id := range dump(t, d) {
			if model.Leftover(id) {
				t.Fatalf("%s is listed while it is made", id)
			}
		}
	}
}

// A pass that is broken off leaves no memif without its tag.
func TestPutAllBrokenOff(t *testing.T) {
	v, sim, d, c := faulty(t, 30)
	sim.Delay("memif_create_v2", 5*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sim.ResetCalls()
	go func() {
		for sim.Calls()["memif_create_v2"] < 5 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	errs := d.PutAll(ctx, c.memifs, make([]model.Object, len(c.memifs)))
	if ctx.Err() == nil {
		t.Fatal("it was not broken off")
	}
	sim.ClearFaults()
	count(t, "untagged", untagged(t, v), 0)
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		}
	}
	count(t, "interfaces", len(interfacesOf(t, raw(t, v))), made+1)

	// One that is broken off beforehand begins nothing.
	sim.ResetCalls()
	for n, err := range d.PutAll(ctx, c.members, make([]model.Object, len(c.members))) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("number %d: %v", n, err)
		}
	}
	count(t, "calls", sim.Calls()["sw_interface_set_l2_bridge"], 0)
}
