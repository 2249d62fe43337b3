package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// podDir is the directory of a pod's sockets on the host.
func (n node) podDir(p pod) string { return filepath.Join(n.RunDir, "pods", p.UID) }

// listen serves a socket of a type until the test ends.
func listen(t *testing.T, path string, kind, backlog int) error {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, backlog))
}

// fill leaves no room in a listener's queue.
func fill(t *testing.T, path string, kind int) error {
	t.Helper()
	for range 16 {
		fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); errors.Is(err, unix.EAGAIN) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return errors.New("the queue does not get full")
}

// TestPlantedBeforeVPPServes: a pod that is root, with its directory mounted for
// writing, puts things where the host's VPP is about to serve its socket. VPP
// follows a link there, refuses what is no dead socket, and waits for ever for a
// stream listener whose queue is full (src/vppinfra/socket.c, clib_socket_init).
// The agent makes room first: the pod gets its interface, and nothing else is
// touched.
func TestPlantedBeforeVPPServes(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	memif := n.network(t, memifs[0])
	vhost := n.network(t, network{name: "planted-vhost", host: `{"engine": "vpp", "iftype": "vhostuser", "netType": "none"}`})
	before := c.state(t, n)
	outside := t.TempDir()
	treasure := filepath.Join(outside, "treasure")
	if err := os.WriteFile(treasure, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	live, err := net.Listen("unix", filepath.Join(outside, "live"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = live.Close() })
	for i, tc := range []struct {
		name  string
		plant func(path string) error
	}{
		{"link to a file", func(path string) error { return os.Symlink(treasure, path) }},
		{"link to a live socket", func(path string) error { return os.Symlink(live.Addr().String(), path) }},
		{"link to VPP's API socket", func(path string) error { return os.Symlink(n.VPP.APISocket, path) }},
		{"link that dangles", func(path string) error { return os.Symlink(filepath.Join(outside, "new"), path) }},
		{"file", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		{"FIFO", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		{"directory", func(path string) error { return os.MkdirAll(filepath.Join(path, "a"), 0o700) }},
		{"live listener", func(path string) error { return listen(t, path, unix.SOCK_SEQPACKET, 8) }},
		{"stream listener that takes nobody", func(path string) error {
			return errors.Join(listen(t, path, unix.SOCK_STREAM, 0), fill(t, path, unix.SOCK_STREAM))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := n.pod(t, fmt.Sprintf("planted-%d", i))
			dir := n.podDir(p)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"net1.memif", "net2.vhost"} {
				if err := tc.plant(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			p.add(t, memif, "net1")
			p.add(t, vhost, "net2")
			for _, name := range []string{"net1.memif", "net2.vhost"} {
				st, err := os.Lstat(filepath.Join(dir, name))
				if err != nil || st.Mode().Type() != os.ModeSocket || st.Mode().Perm() != 0o660 {
					t.Errorf("%s: %v, %v: want VPP's socket with mode 0660", name, st, err)
				}
			}
			if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o750 {
				t.Errorf("the pod's directory: %v, %v: want mode 0750", st, err)
			}
			p.del(t, vhost, "net2")
			p.del(t, memif, "net1")
		})
	}
	if st, err := os.Stat(treasure); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("outside: %v, %v: want it untouched", st, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 2 {
		t.Errorf("outside: %v, %v: want nothing new", entries, err)
	}
	c.requireState(t, n, before)
}

// TestPodsSocketIsALink: where the pod serves, a link in its socket's place is
// refused, and the ADD says so.
func TestPodsSocketIsALink(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	list := n.network(t, network{
		name: "linked", host: `{"engine": "vpp", "iftype": "memif", "netType": "none", "memif": {"role": "slave", "mode": "ethernet"}}`,
		extra: `"timeout": "2s", `,
	})
	p, victim := n.pod(t, "linked"), n.pod(t, "victim")
	victim.add(t, n.network(t, memifs[0]), "net1")
	dir := n.podDir(p)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(n.podDir(victim), "net1.memif"), filepath.Join(dir, "net1.memif")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(timeout(t), list, "net1"); err == nil || !strings.Contains(err.Error(), "no socket of its own") {
		t.Errorf("ADD: %v, want that it says what the pod has put there", err)
	}
	p.del(t, list, "net1")
	victim.del(t, n.network(t, memifs[0]), "net1")
}
