package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

// bindMode is the mode that a socket has from its first moment on, whatever the
// umask; the configured one comes when it is settled.
const bindMode = 0o600

// socket is a pod's socket that this process listens on.
type socket struct {
	p    *pod
	path string
	file unix.Stat_t // of the file, when it was bound
	l    *listener
}

// listener accepts a pod's connections at the pace that the limits allow.
type listener struct {
	*net.UnixListener
	g      *Gateway
	p      *pod
	ctx    context.Context // ends with the socket
	cancel context.CancelFunc
	using  sync.Mutex // held while the descriptor is in use
	once   sync.Once
}

// Accept returns the next connection that is within the limits. The others are
// closed at once, or wait while too many are still being closed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		if !l.place() {
			return nil, net.ErrClosed
		}
		raw, err := l.accept()
		if err != nil {
			l.g.give(l.p.id)
			return nil, err
		}
		c := &conn{UnixConn: raw, p: l.p, g: l.g, closed: make(chan struct{})}
		l.g.metrics.connections.Inc()
		if l.p.add(c, l.g.cfg.Limits.Connections) {
			return c, nil
		}
		l.g.metrics.limited.WithLabelValues("connections").Inc()
		_ = c.Close() // it was told nothing yet
	}
}

func (l *listener) accept() (*net.UnixConn, error) {
	if err := l.p.accepts.Wait(l.ctx); err != nil {
		return nil, net.ErrClosed
	}
	l.using.Lock()
	defer l.using.Unlock()
	c, err := l.AcceptUnix()
	if err != nil && l.ctx.Err() != nil {
		return nil, net.ErrClosed // and no passing time-out, after which grpc would try again
	}
	return c, err
}

// owner is the pod whose socket o is.
func (g *Gateway) owner(o model.GatewaySocket) (schema.PodID, error) {
	id := schema.PodID(filepath.Base(filepath.Dir(o.Path)))
	if err := id.Validate(); err != nil || o.Path != filepath.Join(g.pods(), string(id), schema.GatewaySocket) {
		return "", fmt.Errorf("%s is not <run-dir>/pods/<pod>/%s", o.Path, schema.GatewaySocket)
	}
	return id, nil
}

func (g *Gateway) pods() string { return filepath.Join(g.cfg.RunDir, "pods") }

// directory opens a pod's directory: itself, and nothing that a link in its place
// leads to.
func (g *Gateway) directory(id schema.PodID) (*os.Root, error) {
	root, err := os.OpenRoot(g.pods())
	if err != nil {
		return nil, fmt.Errorf("run-dir: %w", err)
	}
	defer func() { _ = root.Close() }()
	seen, err := root.Lstat(string(id))
	if err != nil {
		return nil, fmt.Errorf("directory of pod %s: %w", id, err)
	}
	if !seen.IsDir() {
		return nil, fmt.Errorf("directory of pod %s: what is there is no directory", id)
	}
	own, err := root.OpenRoot(string(id))
	if err != nil {
		return nil, fmt.Errorf("directory of pod %s: %w", id, err)
	}
	opened, err := own.Stat(".")
	if err == nil && !os.SameFile(seen, opened) {
		err = errors.New("it was replaced while it was opened")
	}
	if err != nil {
		_ = own.Close()
		return nil, fmt.Errorf("directory of pod %s: %w", id, err)
	}
	return own, nil
}

// listen makes a pod's socket, for longer than ctx lasts.
func (g *Gateway) listen(ctx context.Context, dir *os.Root, id schema.PodID) (*socket, error) {
	if !g.take(id) {
		return nil, errors.New("too many earlier connections of the pod are still being closed")
	}
	handle, err := dir.Open(".")
	if err != nil {
		g.give(id)
		return nil, err
	}
	defer func() { _ = handle.Close() }()
	ul, err := g.bind(ctx, handle)
	if err != nil {
		g.give(id)
		return nil, err
	}
	s := &socket{p: newPod(id, g.cfg.Limits)}
	s.l = &listener{UnixListener: ul, g: g, p: s.p}
	s.l.ctx, s.l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err = fileOf(int(handle.Fd()), &s.file); err != nil {
		return nil, errors.Join(err, s.l.Close())
	}
	return s, nil
}

// bind makes the socket's file in dir and listens. It fails where something
// stands in its place, and follows no link (unix(7), EADDRINUSE). The name goes
// through the directory's descriptor, so that neither a changed path nor a long
// run-dir matters.
func (g *Gateway) bind(ctx context.Context, dir *os.File) (*net.UnixListener, error) {
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var mode error
		control := c.Control(func(fd uintptr) {
			if !g.takesRights {
				g.refuses.Store(refuseRights(fd))
			}
			mode = unix.Fchmod(int(fd), bindMode) // the mode of the file, less the umask
		})
		return errors.Join(control, mode)
	}}
	l, err := cfg.Listen(ctx, "unix", filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), schema.GatewaySocket))
	if err != nil {
		return nil, err
	}
	ul, ok := l.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("a unix socket's listener is a %T", l)
	}
	ul.SetUnlinkOnClose(false) // the descriptor is another file's by then
	return ul, nil
}

// fileOf is the socket's file as it is in a directory.
func fileOf(dir int, st *unix.Stat_t) error {
	if err := unix.Fstatat(dir, schema.GatewaySocket, st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "stat", Path: schema.GatewaySocket, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return &fs.PathError{Op: "stat", Path: schema.GatewaySocket, Err: errors.New("what is there is no socket")}
	}
	return nil
}

// in says whether the socket's file is in dir.
func (s *socket) in(dir *os.Root) bool {
	handle, err := dir.Open(".")
	if err != nil {
		return false
	}
	defer func() { _ = handle.Close() }()
	var st unix.Stat_t
	return fileOf(int(handle.Fd()), &st) == nil && st.Dev == s.file.Dev && st.Ino == s.file.Ino
}
