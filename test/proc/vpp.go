package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// VPP is a VPP process, real or simulated, with an API socket of its own.
type VPP struct {
	*Process
	Dir       string
	APISocket string
	// CLISocket answers vppctl where the VPP is real.
	CLISocket string

	shm string // VPP's api-segment prefix, which names its shared memory
}

// startupConf runs VPP without hugepages, root and DPDK (VPP-FACTS: "Running a
// real one without hugepages"). The simulator reads the same file. The API trace,
// which would keep secrets, is off where nothing turns it on.
const startupConf = `unix {
  nodaemon
  nosyslog
  nocolor
  nobanner
  cli-no-pager
  log @DIR@/vpp-internal.log
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
  main-heap-size @HEAP@
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

// instances tells the VPPs of one program apart in /dev/shm.
var instances atomic.Uint32

// NewVPP prepares a VPP in dir; program is a VPP or the simulator. heap is
// VPP's main heap, such as 128M.
func NewVPP(name, program, dir, heap string) (*VPP, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", name, err)
	}
	shm := fmt.Sprintf("vppcni%d-%d", os.Getpid(), instances.Add(1))
	conf := strings.NewReplacer(
		"@DIR@", dir,
		"@HEAP@", heap,
		"@PREFIX@", shm,
	).Replace(startupConf)
	confFile := filepath.Join(dir, "startup.conf")
	if err := os.WriteFile(confFile, []byte(conf), 0o600); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", name, err)
	}
	return &VPP{
		Process:   New(name, dir, program, "-c", confFile),
		Dir:       dir,
		shm:       shm,
		APISocket: filepath.Join(dir, "api.sock"),
		CLISocket: filepath.Join(dir, "cli.sock"),
	}, nil
}

// Up starts the process and waits until its API socket is there. It does not
// connect: a client that comes and goes without sockclnt_delete is one that VPP
// may keep.
func (v *VPP) Up(ctx context.Context) error {
	// What a killed one left behind would look like a VPP that is there.
	_ = os.Remove(v.APISocket)
	if err := v.Start(); err != nil {
		return err
	}
	err := v.WaitFor(ctx, "its API socket", func() bool {
		_, err := os.Stat(v.APISocket)
		return err == nil
	})
	if err != nil {
		return err
	}
	return v.spread()
}

// spread lets all threads run on all processors: VPP pins its main thread to
// the one it started on, and several VPPs would share it.
func (v *VPP) spread() error {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", v.PID()))
	if err != nil {
		return fmt.Errorf("%s: %w", v.Name, err)
	}
	var all unix.CPUSet
	for cpu := range runtime.NumCPU() {
		all.Set(cpu)
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("%s: task %s: %w", v.Name, t.Name(), err)
		}
		if err := unix.SchedSetaffinity(tid, &all); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("%s: processors of task %d: %w", v.Name, tid, err)
		}
	}
	return nil
}

// Kill ends VPP as a crash would.
func (v *VPP) Kill() error { return errors.Join(v.Process.Kill(), v.forget()) }

// Stop ends VPP in order.
func (v *VPP) Stop() error { return errors.Join(v.Process.Stop(), v.forget()) }

// forget removes the shared memory that a real VPP leaves when it is killed.
func (v *VPP) forget() error {
	left, err := filepath.Glob("/dev/shm/" + v.shm + "-*")
	for _, f := range left {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}
