package vpptest

import (
	"context"
	"syscall"
	"time"

	"github.com/vpp-cni/vpp-cni/test/proc"
)

// startTimeout is how long a real VPP may take to serve its API socket.
const startTimeout = 30 * time.Second

// logLines is how much of VPP's output a failed test shows.
const logLines = 60

// process is a real VPP.
type process struct{ vpp *proc.VPP }

func newProcess(program, dir string) (*process, error) {
	v, err := proc.NewVPP("vpp", program, dir, "256M")
	return &process{v}, err
}

func (p *process) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return p.vpp.Up(ctx)
}

func (p *process) kill() error { return p.vpp.Kill() }

func (p *process) freeze() error { return p.vpp.Signal(syscall.SIGSTOP) }

func (p *process) thaw() error { return p.vpp.Signal(syscall.SIGCONT) }

func (p *process) close() error { return p.vpp.Stop() }

func (p *process) log() string { return p.vpp.LogTail(logLines) }
