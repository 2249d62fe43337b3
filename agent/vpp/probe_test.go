package vpp

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestProbeTakesNothing: who is asked whether it listens can send nothing back.
func TestProbeTakesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err = errors.Join(unix.Bind(l, &unix.SockaddrUnix{Name: path}), unix.Listen(l, 1)); err != nil {
		t.Fatal(err)
	}
	file, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(file) }()
	if refused(file) {
		t.Error("a listener is taken for a dead one")
	}
	c, _, err := unix.Accept(l)
	if err = errors.Join(err, unix.Close(c)); err != nil {
		t.Fatal(err)
	}
	fd, err := newProbe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	c, _, err = unix.Accept(l)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(c) }()
	if err = unix.Sendmsg(c, []byte("x"), unix.UnixRights(c), nil, unix.MSG_NOSIGNAL); !errors.Is(err, unix.EPIPE) {
		t.Errorf("a descriptor was sent to the probe: %v", err)
	}
	if err = unix.Close(l); err != nil {
		t.Fatal(err)
	}
	if !refused(file) {
		t.Error("a dead socket is taken for a listener")
	}
}
