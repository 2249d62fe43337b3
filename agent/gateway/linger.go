package gateway

import (
	"errors"
	"io"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/schema"
)

// A pod may send descriptors along with its bytes (SCM_RIGHTS, unix(7)). Nobody
// here takes them, so the kernel drops them in the thread that reads the bytes, or
// throws them away by the last close of the socket, and of a listener that has
// them in its backlog. Where that was the last reference to a socket with
// SO_LINGER whose peer does not read, the thread then waits for as long as the pod
// has asked for, be it years.
//
// Linux lets a socket refuse descriptors since 6.16 (refuseRights). For those
// before, whatever may drop one is done by nobody but the connection's or the
// listener's own goroutine, is cut short (brief), and takes up a place of its pod
// until it has ended (take).

// lingers is how long a pod's descriptors may hold a thread.
const lingers = 50 * time.Millisecond

// refuseRights has the kernel refuse descriptors that are sent to a Unix socket,
// and to all that are accepted from it: the sender gets EPERM. It says whether the
// kernel does: Linux knows how since 6.16.
func refuseRights(fd uintptr) bool {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0) == nil
}

// brief does call in a thread that signals call back from waiting for a lingering
// socket (sk_stream_wait_close in net/core/stream.c). Go takes a SIGURG for a
// spurious one, and goes on. Where the kernel refuses descriptors there is nothing
// to wait for.
func (g *Gateway) brief(call func()) {
	if g.refuses.Load() {
		call()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self, thread := unix.Getpid(), unix.Gettid()
	over := make(chan struct{})
	late := time.AfterFunc(g.lingers, func() {
		again := time.NewTicker(g.lingers)
		defer again.Stop()
		for {
			_ = unix.Tgkill(self, thread, unix.SIGURG)
			select {
			case <-over:
				return
			case <-again.C:
			}
		}
	})
	call()
	late.Stop()
	close(over)
}

// take takes one of a pod's places, for a listener or a connection. They are more
// than its connections, for those that are refused, and are the same when its
// socket is made anew: a pod can have that by removing the file.
func (g *Gateway) take(id schema.PodID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.places[id] > 2*g.cfg.Limits.Connections {
		return false
	}
	g.places[id]++
	return true
}

// place waits for a place for the next connection, until the listener is closed.
func (l *listener) place() bool {
	for !l.g.take(l.p.id) {
		select {
		case <-l.ctx.Done():
			return false
		case <-time.After(lingers):
		}
	}
	return true
}

// give gives it back.
func (g *Gateway) give(id schema.PodID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.places[id]--; g.places[id] == 0 {
		delete(g.places, id)
	}
}

// Close ends the connection and waits for nothing. Its place is free when the
// kernel is done with it.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		// Who waits in a read or in a write is let go.
		_ = c.CloseRead()
		_ = c.CloseWrite()
		c.release()
		go func() {
			c.using.Lock() // the last one to let go of a descriptor closes it
			defer c.using.Unlock()
			c.g.brief(func() { _ = c.UnixConn.Close() }) // nobody is left to be told
			c.p.remove(c)
			c.g.metrics.connections.Dec()
			c.g.give(c.p.id)
		}()
	})
	return nil
}

// Write is UnixConn's. It ends a connection that is not read.
func (c *conn) Write(b []byte) (int, error) {
	c.using.RLock()
	defer c.using.RUnlock()
	if err := c.SetWriteDeadline(time.Now().Add(c.g.cfg.Limits.Untaken)); err != nil {
		return 0, err
	}
	n, err := c.UnixConn.Write(b)
	if err != nil {
		_ = c.Close() // grpc closes it when reading fails, and waits for that
	}
	return n, err
}

// read is UnixConn's Read, in brief.
func (c *conn) read(b []byte) (int, error) {
	c.using.RLock()
	defer c.using.RUnlock()
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		c.g.brief(func() { n, failed = unix.Read(int(fd), b) })
		return !errors.Is(failed, unix.EAGAIN)
	})
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, &net.OpError{Op: "read", Net: "unix", Err: failed}
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Close ends the socket for new connections, and waits for nothing.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.cancel()
		// Who connects is refused, and who waits in an accept, or comes to it later, is
		// let go: an accept that does not block is not told of a shutdown (EAGAIN).
		if raw, err := l.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
		_ = l.SetDeadline(time.Unix(1, 0))
		go func() {
			l.using.Lock()
			defer l.using.Unlock()
			l.g.brief(func() { _ = l.UnixListener.Close() })
			l.g.give(l.p.id)
		}()
	})
	return nil
}
