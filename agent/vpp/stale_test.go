package vpp

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/test/privileged"
)

// serve listens on a socket and counts who connects.
func serve(t *testing.T, network, path string) *atomic.Int64 {
	t.Helper()
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	var came atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return &came
}

// abandon leaves a socket's file on which nobody listens.
func abandon(t *testing.T, network, path string) {
	t.Helper()
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
}

// podDir makes a socket root with a pod's directory in it.
func podDir(t *testing.T) (root, pod string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "pods")
	pod = filepath.Join(root, "p1")
	if err := os.MkdirAll(pod, 0o755); err != nil {
		t.Fatal(err)
	}
	return root, pod
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// TestStaleSockets: of what may stand in a socket's place only a socket that
// nobody serves goes.
func TestStaleSockets(t *testing.T) {
	for _, tc := range []struct {
		name  string
		plant func(t *testing.T, path string) // in the place of the socket
		stays bool
	}{
		{"memif, dead", func(t *testing.T, path string) { t.Helper(); abandon(t, "unixpacket", path) }, false},
		{"vhost-user, dead", func(t *testing.T, path string) { t.Helper(); abandon(t, "unix", path) }, false},
		{"memif, served", func(t *testing.T, path string) { t.Helper(); serve(t, "unixpacket", path) }, true},
		{"vhost-user, served", func(t *testing.T, path string) { t.Helper(); serve(t, "unix", path) }, true},
		{"a link", func(t *testing.T, path string) {
			t.Helper()
			abandon(t, "unixpacket", path+".dead")
			if err := os.Symlink(path+".dead", path); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a file", func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root, pod := podDir(t)
			path := filepath.Join(pod, "net1.memif")
			tc.plant(t, path)
			v := New(Config{SocketRoot: root})
			v.unlinkStale(path)
			if there(path) != tc.stays {
				t.Errorf("it stays: %t, want %t", there(path), tc.stays)
			}
			v.unlinkStale(filepath.Join(pod, "missing"))
			v.unlinkStale(filepath.Join(root, "p2", "missing"))
		})
	}
}

// TestStaleBelowTheRoot: the root is the operator's, and may stand behind a link
// or be mounted read-only. Of what is below it no directory is followed.
func TestStaleBelowTheRoot(t *testing.T) {
	root, pod := podDir(t)
	path := filepath.Join(pod, "net1.memif")
	abandon(t, "unixpacket", path)
	behind := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, behind); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("p1", filepath.Join(root, "p2")); err != nil {
		t.Fatal(err)
	}
	if err := unlinkRefused(root, filepath.Join(root, "p2", "net1.memif")); err == nil || !there(path) {
		t.Errorf("the pod's directory is a link: %v, socket there: %t; want an error and the socket", err, there(path))
	}
	if err := unlinkRefused(behind, filepath.Join(behind, "p1", "net1.memif")); err != nil || there(path) {
		t.Errorf("the root is behind a link: %v, socket there: %t; want it gone", err, there(path))
	}
	// In a pod the socket stands in the root itself.
	abandon(t, "unixpacket", path)
	if err := unlinkRefused(pod, path); err != nil || there(path) {
		t.Errorf("the pod's own: %v, socket there: %t; want it gone", err, there(path))
	}
}

// TestStaleOnReadOnlyMount: a pod may have its directory read-only.
func TestStaleOnReadOnlyMount(t *testing.T) {
	privileged.Require(t, "to mount")
	_, pod := podDir(t)
	abandon(t, "unixpacket", filepath.Join(pod, "net1.memif"))
	mounted := t.TempDir()
	privileged.Mount(t, pod, mounted, "", unix.MS_BIND, "")
	if err := unix.Mount("", mounted, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(mounted, "net1.memif")
	if err := unlinkRefused(mounted, path); !errors.Is(err, unix.EROFS) || !there(path) {
		t.Errorf("%v, socket there: %t; want %v and the socket", err, there(path), unix.EROFS)
	}
}

// TestStaleSocketIsNotRaced: a pod swaps its socket for links to sockets of the
// host all the time. None of those is ever connected to, or removed.
func TestStaleSocketIsNotRaced(t *testing.T) {
	root, pod := podDir(t)
	outside := t.TempDir()
	victim, dead := filepath.Join(outside, "victim"), filepath.Join(outside, "dead")
	came := serve(t, "unixpacket", victim)
	abandon(t, "unixpacket", dead)
	path := filepath.Join(pod, "net1.memif")
	own := serve(t, "unixpacket", path)
	links := []string{filepath.Join(pod, "a"), filepath.Join(pod, "b")}
	for i, to := range []string{victim, dead} {
		if err := os.Symlink(to, links[i]); err != nil {
			t.Fatal(err)
		}
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			for range 2 { // there, and back
				_ = unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, links[i%2], unix.RENAME_EXCHANGE)
			}
		}
	}()
	v := New(Config{SocketRoot: root})
	calls := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); calls++ {
		v.unlinkStale(path)
	}
	stop.Store(true)
	<-done
	if came.Load() > 0 || !there(victim) || !there(dead) {
		t.Errorf("%d calls: %d connections to a socket outside, it is there: %t, the dead one: %t",
			calls, came.Load(), there(victim), there(dead))
	}
	if own.Load() == 0 {
		t.Errorf("%d calls never met the pod's own socket", calls)
	}
}

// TestStaleHoldsTheSocket: what is asked is the socket that was looked at, not
// what stands at its name by then.
func TestStaleHoldsTheSocket(t *testing.T) {
	_, pod := podDir(t)
	victim := filepath.Join(t.TempDir(), "victim")
	came := serve(t, "unixpacket", victim)
	path := filepath.Join(pod, "net1.memif")
	abandon(t, "unixpacket", path)
	dir, err := unix.Open(pod, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(dir) }()
	file, err := openBeneath(dir, "net1.memif", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(file) }()
	if err = errors.Join(os.Rename(path, path+".moved"), os.Symlink(victim, path)); err != nil {
		t.Fatal(err)
	}
	if !refused(file) || came.Load() > 0 {
		t.Errorf("the dead socket is not taken for one, or %d connections went to the one that a link leads to", came.Load())
	}
}
