package vpptest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startTimeout is how long a real VPP may take to serve its API socket.
const startTimeout = 30 * time.Second

// startup runs a VPP without hugepages, DPDK and root, in about 135 MB. The API
// trace, which would keep secrets, is off where nothing turns it on.
const startup = `unix {
  nodaemon
  nosyslog
  nocolor
  nobanner
  cli-no-pager
  log @DIR@/vpp.log
  runtime-dir @DIR@
  cli-listen @DIR@/cli.sock
  poll-sleep-usec 100
}
api-segment { prefix @PREFIX@ }
socksvr { socket-name @DIR@/api.sock }
statseg {
  socket-name @DIR@/stats.sock
  size 32m
  page-size 4k
}
memory {
  main-heap-size 256M
  main-heap-page-size 4k
}
buffers {
  buffers-per-numa 11300
  default data-size 2048
  page-size 4k
}
plugins {
  plugin default { disable }
  plugin memif_plugin.so { enable }
  plugin vhost_plugin.so { enable }
  plugin af_packet_plugin.so { enable }
  plugin ping_plugin.so { enable }
  plugin vxlan_plugin.so { enable }
}
`

// instances tells the VPPs of one test binary apart in /dev/shm.
var instances atomic.Uint32

// process is a real VPP.
type process struct {
	program, dir, prefix string

	cmd  *exec.Cmd
	done chan error
}

func newProcess(program, dir string) (*process, error) {
	p := &process{
		program: program, dir: dir,
		prefix: fmt.Sprintf("vppt%d-%d", os.Getpid(), instances.Add(1)),
	}
	conf := strings.NewReplacer("@DIR@", dir, "@PREFIX@", p.prefix).Replace(startup)
	return p, os.WriteFile(filepath.Join(dir, "startup.conf"), []byte(conf), 0o600)
}

func (p *process) start() error {
	socket := filepath.Join(p.dir, "api.sock")
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	out, err := os.OpenFile(filepath.Join(p.dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	p.cmd = exec.Command(p.program, "-c", filepath.Join(p.dir, "startup.conf"))
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// The end of the test, however it comes, ends VPP.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	p.done = done
	go func(cmd *exec.Cmd) { done <- cmd.Wait() }(p.cmd)

	deadline := time.Now().Add(startTimeout)
	for {
		if _, err := os.Stat(socket); err == nil {
			return p.spread()
		}
		select {
		case err := <-done:
			p.cmd = nil
			return fmt.Errorf("%s ended at its start: %w\n%s", p.program, err, p.log())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("%s has no API socket after %v", p.program, startTimeout), p.kill())
		}
	}
}

// spread lets VPP run on all processors: each pins its main thread to the one
// it started on, and several would share it.
func (p *process) spread() error {
	var all unix.CPUSet
	for cpu := range runtime.NumCPU() {
		all.Set(cpu)
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.cmd.Process.Pid))
	if err != nil {
		return err
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &all); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

func (p *process) kill() error { return p.end(syscall.SIGKILL) }

func (p *process) freeze() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

func (p *process) thaw() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

func (p *process) close() error { return p.end(syscall.SIGTERM) }

// end ends VPP and removes the shared memory that a killed one leaves.
func (p *process) end(sig syscall.Signal) error {
	if p.cmd == nil {
		return nil
	}
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		err = errors.Join(fmt.Errorf("VPP %d did not end on %v", p.cmd.Process.Pid, sig), p.cmd.Process.Kill())
		<-p.done
	}
	p.cmd = nil
	left, globErr := filepath.Glob("/dev/shm/" + p.prefix + "-*")
	err = errors.Join(err, globErr)
	for _, f := range left {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// maxLog is how much of VPP's output a failed test shows.
const maxLog = 4000

func (p *process) log() string {
	var all bytes.Buffer
	for _, f := range []string{"out", "vpp.log"} {
		b, err := os.ReadFile(filepath.Join(p.dir, f))
		if err == nil {
			all.Write(b)
		}
	}
	return string(all.Bytes()[max(0, all.Len()-maxLog):])
}
