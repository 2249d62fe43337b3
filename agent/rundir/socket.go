package rundir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/schema"
)

// Settle gives a socket that was just made its mode and group. It follows
// nothing that stands in the socket's place.
func (d *Driver) Settle(socket string) error {
	dir, name, err := d.within(socket)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	f, err := openIn(dir, name, unix.O_PATH, 0)
	if err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	defer func() { _ = f.Close() }()
	if err := settleSocket(f, d.mode, d.gid); err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	return nil
}

// Clear makes room for a socket that the host is about to serve: whatever stands
// in its place goes, without being followed. VPP's memif would follow a symbolic
// link there, and wait for ever for a listener that takes no connection
// (stat and connect in src/vppinfra/socket.c).
func (d *Driver) Clear(ctx context.Context, socket string) error {
	dir, name, err := d.within(socket)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	err = unix.Unlinkat(fd(dir), name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("socket %s: remove what is in its place: %w", socket, err)
	}
	pods, err := d.open()
	if err != nil {
		return err
	}
	defer func() { _ = pods.Close() }()
	if err := d.trash.take(ctx, pods, dir, name); err != nil {
		return fmt.Errorf("socket %s: remove what is in its place: %w", socket, err)
	}
	return nil
}

// PodServes is for a socket that the pod makes and the host connects to: its
// directory can then be written by its group, so that a pod which is not root
// can make it. What stands in the socket's place must be a socket: a link would
// lead the host's VPP, which is root, to another one.
func (d *Driver) PodServes(socket string) error {
	dir, name, err := d.within(socket)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	d.Learn(socket)
	if err = settleDir(dir, ServingMode, d.gid); err != nil {
		return fmt.Errorf("directory of socket %s: %w", socket, err)
	}
	f, err := openIn(dir, name, unix.O_PATH, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	defer func() { _ = f.Close() }()
	st, err := stat(f)
	if err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || st.Nlink != 1 {
		return fmt.Errorf("socket %s: what the pod has put there is no socket of its own", socket)
	}
	return nil
}

// Learn says that a socket is one that its pod makes: its directory, where it is
// one of ours, is wanted so from now on.
func (d *Driver) Learn(socket string) {
	dir := filepath.Dir(socket)
	pod := filepath.Base(dir)
	if filepath.Join(d.pods, pod) != dir || schema.PodID(pod).Validate() != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serving[pod] = true
}

// within opens the pod's directory of a socket, whoever the pod has given it to,
// and gives the socket's name in it.
func (d *Driver) within(socket string) (dir *os.File, name string, err error) {
	path, name := filepath.Split(socket)
	pod := filepath.Base(path)
	if filepath.Join(d.pods, pod, name) != socket || schema.PodID(pod).Validate() != nil {
		return nil, "", fmt.Errorf("socket %s is not in a pod's directory under %s", socket, d.pods)
	}
	if name != schema.GatewaySocket {
		if err = schema.CheckSocketName("socket", name); err != nil {
			return nil, "", err
		}
	}
	pods, err := d.open()
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = pods.Close() }()
	if dir, err = openDir(pods, pod, 0); err != nil {
		return nil, "", fmt.Errorf("socket %s: %w", socket, err)
	}
	if err = claim(dir); err != nil {
		_ = dir.Close()
		return nil, "", fmt.Errorf("directory of socket %s: owner: %w", socket, err)
	}
	return dir, name, nil
}
