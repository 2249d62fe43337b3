package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dying is how long the kernel may take to end what was killed.
const dying = 10 * time.Second

// PowerOff ends everything on the node at once, as a loss of power does: no
// program gets to say good-bye. What is in memory on a node is gone: mounts,
// cgroups, and all in /run.
func (c *Cluster) PowerOff() error {
	if err := errors.Join(c.Kubelet.Kill(), c.Containerd.Kill(), killPods()); err != nil {
		return err
	}
	for end := time.Now().Add(dying); ; time.Sleep(50 * time.Millisecond) {
		err := Machine.RemoveCgroups()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return err
		}
	}
	return emptyRun()
}

// PowerOn starts containerd and the kubelet again, as a boot does: a kubelet ends
// where there is no runtime yet.
func (c *Cluster) PowerOn(ctx context.Context) error {
	if err := c.Containerd.Start(); err != nil {
		return err
	}
	if err := c.Containerd.Serves(ctx); err != nil {
		return err
	}
	for {
		if err := c.Kubelet.Start(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(3 * time.Second):
			if c.Kubelet.Running() {
				return nil
			}
		}
	}
}

// killPods ends containerd's shims, which survive containerd on purpose, and all
// processes in the pods' cgroups.
func killPods() error {
	var pids []string
	for _, pattern := range Machine.Cgroups {
		tops, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, top := range tops {
			err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.Name() == "cgroup.procs" {
					text, _ := os.ReadFile(path)
					pids = append(pids, strings.Fields(string(text))...)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	shims, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, file := range shims {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "containerd-shim") {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	for _, p := range pids {
		if pid, err := strconv.Atoi(p); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return nil
}

// emptyRun takes away what a boot begins without: the pods' mounts, and all in
// /run but what this package keeps there in place of a disk.
func emptyRun() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 1 && !strings.HasPrefix(f[1], StateDir) && (strings.HasPrefix(f[1], "/run/") || strings.HasPrefix(f[1], "/var/lib/kubelet/")) {
			if err = unix.Unmount(f[1], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("unmount %s: %w", f[1], err)
			}
		}
	}
	entries, err := os.ReadDir("/run")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if path := filepath.Join("/run", e.Name()); path != StateDir {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(errs...)
}
