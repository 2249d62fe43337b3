package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// TestListenFollowsNothing plants things where the socket belongs.
func TestListenFollowsNothing(t *testing.T) {
	t.Parallel()
	treasure := filepath.Join(t.TempDir(), "treasure")
	if err := os.WriteFile(treasure, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(path string) error{
		"a link to a file":    func(path string) error { return os.Symlink(treasure, path) },
		"a link that dangles": func(path string) error { return os.Symlink(treasure+"-new", path) },
		"a file":              func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
		"a directory":         func(path string) error { return os.Mkdir(path, 0o700) },
		"a FIFO":              func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		path := filepath.Join(t.TempDir(), "s")
		if err := plant(path); err != nil {
			t.Fatal(err)
		}
		if l, err := Listen(t.Context(), "unix://"+path); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("%s: %v, want a refusal that says what is wrong", name, err)
			if err == nil {
				_ = l.Close()
			}
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
		if err := settle(path); err == nil {
			t.Errorf("%s was given a socket's mode", name)
		}
	}
	if st, err := os.Stat(treasure); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("outside: %v, %v: want it untouched", st, err)
	}
	// Nor is another's socket given our mode.
	other := filepath.Join(t.TempDir(), "other")
	theirs, err := net.Listen("unix", other)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = theirs.Close() }()
	if err = os.Chmod(other, 0o600); err != nil {
		t.Fatal(err)
	}
	if err = os.Symlink(other, other+"-link"); err != nil {
		t.Fatal(err)
	}
	if err = settle(other + "-link"); err == nil {
		t.Error("a link to another's socket was followed")
	}
	if st, wrong := os.Stat(other); wrong != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("another's socket: %v, %v: want it untouched", st, wrong)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != socketMode {
		t.Errorf("socket %v, %v: want mode %#o", st, err, socketMode)
	}
}

// TestServerIsBounded: a client that asks and does not read the answer costs the
// agent a connection for a while, and no more.
func TestServerIsBounded(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte("x"), 1<<16)
		for {
			if _, err := w.Write(chunk); err != nil {
				ended <- err
				return
			}
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(t.Context(), h, 200*time.Millisecond)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the answer is still being written")
	}
	if real := newServer(t.Context(), h, writeTimeout); real.ReadTimeout == 0 || real.IdleTimeout == 0 || real.MaxHeaderBytes == 0 || writeTimeout <= verifyTimeout {
		t.Errorf("not bounded: %+v", real)
	}
}

// TestConnectionsAreBounded: more clients than there is room for wait, and are
// served when others have gone.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 2*maxConnections)
	go func() {
		for {
			c, failed := l.Accept()
			if failed != nil {
				return
			}
			accepted <- c
		}
	}()
	for range maxConnections + 1 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	first := <-accepted
	for range maxConnections - 1 {
		<-accepted
	}
	select {
	case <-accepted:
		t.Fatalf("more than %d connections at once", maxConnections)
	case <-time.After(100 * time.Millisecond):
	}
	_ = first.Close()
	select {
	case <-accepted:
	case <-time.After(10 * time.Second):
		t.Error("a connection that has ended makes no room")
	}
}

// TestPublicAddressIsSaid: an address that other machines reach is allowed where
// it is asked for, and the log says what that means.
func TestPublicAddressIsSaid(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{"0.0.0.0:0": true, ":0": true, "127.0.0.1:0": false, "localhost:0": false, "unix://" + t.TempDir() + "/s": false} {
		var out bytes.Buffer
		log := logrus.New()
		log.SetOutput(&out)
		ctx, cancel := context.WithCancel(t.Context())
		l, err := Listen(ctx, address)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := Serve(ctx, l, http.NotFoundHandler(), logrus.NewEntry(log)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "level=warning"); got != want {
			t.Errorf("%s: warned %t, want %t: %s", address, got, want, fmt.Sprint(out.String()))
		}
	}
}

// TestListenRefusesRights: nobody passes a descriptor to the process.
func TestListenRefusesRights(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0); err != nil {
		t.Skipf("this kernel has no SO_PASSRIGHTS, which came with Linux 6.16: %v", err)
	}
	if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err = unix.Sendmsg(fd, []byte("G"), unix.UnixRights(fd), nil, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("a descriptor was passed: %v", err)
	}
	if err = unix.Sendmsg(fd, []byte("G"), nil, nil, 0); err != nil {
		t.Errorf("bytes: %v", err)
	}
}
