// Package vpptest hands a test a VPP: the simulator in the test's process, or a
// real one that it starts itself where the environment variable VPP names a
// program (VPP=/usr/bin/vpp). It holds the contract suite, which runs unchanged
// on both. It is not for running agents and the plugin as processes: that is
// package lab.
package vpptest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

// VPP is a VPP that ends with its test and leaves nothing behind.
type VPP struct {
	// Dir is VPP's runtime directory, short enough for sockets below it.
	Dir       string
	APISocket string
	// Real says that it is not the simulator.
	Real bool

	life life
}

// life is a VPP that can die and come back on the same API socket.
type life interface {
	// start begins a life and returns when the API socket is there.
	start() error
	// kill ends the life as a crash would.
	kill() error
	// freeze lets the life hang until thaw: connections stay, nothing is
	// answered.
	freeze() error
	thaw() error
	// close ends everything in order.
	close() error
	// log is the end of what the VPP wrote, for a failed test.
	log() string
}

// Start starts a VPP. What it logged is shown if the test fails.
func Start(tb testing.TB) *VPP {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "vppt") //nolint:usetesting // TempDir is too long for socket paths
	if err != nil {
		tb.Fatalf("directory of a VPP: %v", err)
	}
	v := &VPP{Dir: dir, APISocket: filepath.Join(dir, "api.sock")}
	vpp.QuietGoVPP()
	if program := os.Getenv("VPP"); program != "" {
		v.Real = true
		v.life, err = newProcess(program, dir)
	} else {
		v.life = &simulator{socket: v.APISocket}
	}
	if err == nil {
		err = v.life.start()
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		tb.Fatalf("start VPP: %v", err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the VPP in %s said:\n%s", dir, v.life.log())
		}
		if err := v.life.close(); err != nil {
			tb.Errorf("end VPP: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("remove VPP's directory: %v", err)
		}
	})
	return v
}

// Simulator is the simulator behind v, nil for a real VPP.
func (v *VPP) Simulator() *vppsim.Sim {
	if s, ok := v.life.(*simulator); ok {
		return s.sim
	}
	return nil
}

// Kill ends VPP as a crash would: its connections break without a word.
func (v *VPP) Kill(tb testing.TB) {
	tb.Helper()
	if err := v.life.kill(); err != nil {
		tb.Fatalf("kill VPP: %v", err)
	}
}

// Restart kills VPP if it lives, and starts an empty one on the same API socket.
func (v *VPP) Restart(tb testing.TB) {
	tb.Helper()
	v.Kill(tb)
	if err := v.life.start(); err != nil {
		tb.Fatalf("start VPP again: %v", err)
	}
}

// Freeze lets VPP hang: connections stay, nothing is answered until Thaw.
func (v *VPP) Freeze(tb testing.TB) {
	tb.Helper()
	if err := v.life.freeze(); err != nil {
		tb.Fatalf("freeze VPP: %v", err)
	}
}

// Thaw lets VPP go on.
func (v *VPP) Thaw(tb testing.TB) {
	tb.Helper()
	if err := v.life.thaw(); err != nil {
		tb.Fatalf("thaw VPP: %v", err)
	}
}

// Eventually waits until what holds, and fails the test with its last error if
// it never does within the time.
func Eventually(tb testing.TB, within time.Duration, what func() error) {
	tb.Helper()
	deadline := time.Now().Add(within)
	for {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not within %v: %v", within, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// simulator is a vppsim in the test's process.
type simulator struct {
	socket string
	sim    *vppsim.Sim
}

func (s *simulator) start() error {
	if s.sim != nil {
		return s.sim.Restart()
	}
	sim, err := vppsim.Start(vppsim.Config{APISocket: s.socket})
	if err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	s.sim = sim
	return nil
}

func (s *simulator) kill() error {
	s.sim.Kill()
	return nil
}

func (s *simulator) freeze() error {
	s.sim.Hang()
	return nil
}

func (s *simulator) thaw() error {
	s.sim.Resume()
	return nil
}

func (s *simulator) close() error {
	s.sim.Resume()
	s.sim.Close()
	return nil
}

func (s *simulator) log() string { return "(the simulator logs nothing)" }
