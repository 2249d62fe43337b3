package gateway_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
	"github.com/vpp-cni/vpp-cni/schema"
)

// never is longer than any of these tests.
const never = time.Hour

// lingering is a TCP socket whose last close waits for a minute, or until release:
// its peer does not read.
func lingering(t *testing.T) (fd int, release func()) {
	t.Helper()
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { _ = unix.Close(l) })
	t.Cleanup(release)
	err = errors.Join(
		unix.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096),
		unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(l, 1),
	)
	if err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10), unix.Connect(fd, at), unix.SetNonblock(fd, true)); err != nil {
		t.Fatal(err)
	}
	for full := 0; full < 10; {
		if _, err = unix.Write(fd, make([]byte, 64<<10)); err != nil {
			full++
			time.Sleep(time.Millisecond)
		}
	}
	if err = errors.Join(unix.SetNonblock(fd, false), unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 60})); err != nil {
		t.Fatal(err)
	}
	return fd, release
}

// plain is a connection of a pod that says what it is told to.
func plain(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// pass passes the last reference to a lingering socket on a new connection, which
// it returns. Whom the gateway is too fast for waits for its own socket, and tries
// again: connections that wait to be accepted (spend) are for that.
func pass(t *testing.T, path string) int {
	t.Helper()
	for range 5 {
		tcp, release := lingering(t)
		c := plain(t, path)
		err := unix.Sendmsg(c, []byte(http2.ClientPreface), unix.UnixRights(tcp), nil, unix.MSG_NOSIGNAL)
		if errors.Is(err, unix.EPIPE) { // it was refused already
			release()
			_, _ = unix.Close(tcp), unix.Close(c)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan error, 1)
		go func() { closed <- unix.Close(tcp) }()
		select {
		case err := <-closed:
			if err != nil {
				t.Fatal(err)
			}
			return c
		case <-time.After(time.Second):
			release()
			<-closed
			_ = unix.Close(c)
		}
	}
	t.Fatal("the gateway is always faster than the pod")
	return -1
}

// spend uses up what may be accepted at once: the next connection waits.
func spend(t *testing.T, path string, n int) {
	t.Helper()
	for range n {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if err = c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// quick wants something to be done within a few seconds.
func quick(t *testing.T, what string, do func() error) {
	t.Helper()
	begin := time.Now()
	if err := do(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("%s took %s", what, took)
	}
}

// TestRights: whoever passes a descriptor is told that it is not taken, and bytes
// are.
func TestRights(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
	_ = unix.Close(fd)
	if err != nil {
		t.Skipf("this kernel has no SO_PASSRIGHTS, which came with Linux 6.16: %v", err)
	}
	w := newWorld(t, gateway.Limits{Accepts: 2})
	path := w.open(myPod)
	for _, where := range []string{"accepted", "in the backlog"} {
		c := plain(t, path)
		if err := unix.Sendmsg(c, []byte("P"), unix.UnixRights(0), nil, 0); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: a descriptor was passed: %v", where, err)
		}
		if err := unix.Sendmsg(c, []byte("P"), nil, nil, 0); err != nil {
			t.Errorf("%s: bytes: %v", where, err)
		}
		_ = unix.Close(c)
		spend(t, path, 6)
	}
}

// TestLinger: what a pod has passed to a gateway that cannot refuse it holds up
// neither the end of its socket nor that of the gateway, wherever it is dropped.
func TestLinger(t *testing.T) {
	t.Parallel()
	for name, attack := range map[string]func(t *testing.T, path string){
		"read": func(t *testing.T, path string) {
			t.Helper()
			spend(t, path, 8)
			pass(t, path)
			time.Sleep(2500 * time.Millisecond)
		},
		"refused": func(t *testing.T, path string) {
			t.Helper()
			plain(t, path)
			plain(t, path)
			spend(t, path, 8)
			pass(t, path)
			time.Sleep(2500 * time.Millisecond)
		},
		"in the backlog": func(t *testing.T, path string) {
			t.Helper()
			spend(t, path, 14)
			pass(t, path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gateway.Limits{Connections: 2, Accepts: 2})
			w.gw.TakeRights(never)
			path := w.open(myPod)
			attack(t, path)
			quick(t, "delete", func() error { return w.gw.Delete(t.Context(), w.socket(myPod)) })
			if n := w.gw.Places(myPod); n == 0 {
				t.Error("nothing lingers: this test tests nothing")
			}
			quick(t, "put", func() error { // again, while there is no place
				eventually(t, "a socket", func() bool { return w.gw.Put(t.Context(), w.socket(myPod), nil) == nil })
				return nil
			})
			if !w.answers(path) {
				t.Error("no answer at the socket that was made anew")
			}
			attack(t, path)
			quick(t, "close", func() error { w.gw.Close(); return nil })
		})
	}
}

// TestLingerEnds: the kernel is called back from waiting for what a pod has passed.
func TestLingerEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{Accepts: 10})
	w.gw.TakeRights(10 * time.Millisecond)
	path := w.open(myPod)
	spend(t, path, 35)
	for range 20 {
		pass(t, path)
	}
	eventually(t, "an answer", func() bool { return w.answers(path) })
	spend(t, path, 50)
	pass(t, path) // to the backlog
	if err := w.gw.Delete(t.Context(), w.socket(myPod)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all places free", func() bool { return w.gw.Places(myPod) == 0 })
}

// TestLingerThreads: what nobody can call back from its wait takes no more threads
// than the pod has places, also when its socket is made anew, and nobody else's.
func TestLingerThreads(t *testing.T) { //nolint:paralleltest // it counts the process's threads
	w := newWorld(t, gateway.Limits{Connections: 2, Accepts: 10})
	w.gw.TakeRights(never)
	path := w.open(myPod)
	if other := w.open("p2"); !w.answers(other) {
		t.Fatal("no answer to another pod")
	}
	before := threads(t)
	for range 4 {
		if err := w.gw.Put(t.Context(), w.socket(myPod), nil); err != nil {
			t.Log(err)
			break
		}
		spend(t, path, 35)
		for range 20 {
			c := pass(t, path)
			defer func() { _ = unix.Close(c) }()
		}
		time.Sleep(3 * time.Second)
		// The pod removes the file, the audit finds out and makes it anew.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	t.Logf("%d threads before, %d after", before, threads(t))
	if n := threads(t) - before; n > 30 {
		t.Errorf("%d threads more than before 80 connections, 2 of them allowed", n)
	}
	if n := w.gw.Places(myPod); n > 5 {
		t.Errorf("%d places are taken, of 5", n)
	}
	if !w.answers(w.socket("p2").Path) {
		t.Error("no answer to another pod")
	}
	quick(t, "close", func() error { w.gw.Close(); return nil })
}

func threads(t *testing.T) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}

// TestAcceptFails: a socket that can accept no more ends with its connections, and
// is opened again.
func TestAcceptFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	path := w.open(myPod)
	stream := newWatcher(t, dial(t, path))
	stream.controlled(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: &etcdserverpb.WatchCreateRequest{RangeEnd: []byte{0}}}})
	if err := w.gw.Break(myPod); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the connection", func() bool {
		stream.mu.Lock()
		defer stream.mu.Unlock()
		return stream.err != nil
	})
	if got := w.dump(); len(got) != 1 {
		t.Errorf("listed afterwards: %v, want p1", got)
	}
	eventually(t, "an answer", func() bool { return w.answers(path) })
}

// TestShortLived: a socket that ends just when its listener comes to accept gives
// its place back. An accept that does not block is not told of a shutdown.
func TestShortLived(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	const sockets = 200
	pods := make([]schema.PodID, sockets)
	for i := range pods {
		pods[i] = schema.PodID(fmt.Sprint("short-", i))
		w.open(pods[i])
		time.Sleep(time.Duration(i%20) * 20 * time.Microsecond)
		if err := w.gw.Delete(t.Context(), w.socket(pods[i])); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range pods {
		eventually(t, "the place of "+string(id), func() bool { return w.gw.Places(id) == 0 })
	}
}
