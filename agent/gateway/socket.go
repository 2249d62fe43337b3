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
	done chan struct{}
}

// listener accepts a pod's connections at the pace that the limits allow.
type listener struct {
	*net.UnixListener
	g      *Gateway
	p      *pod
	ctx    context.Context // ends with the socket
	cancel context.CancelFunc
}

// Accept returns the next connection that is within the limits. The others are
// closed at once.
func (l *listener) Accept() (net.Conn, error) {
	for {
		if err := l.p.accepts.Wait(l.ctx); err != nil {
			return nil, net.ErrClosed
		}
		raw, err := l.UnixListener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, p: l.p, g: l.g, closed: make(chan struct{})}
		if l.p.add(c, l.g.cfg.Limits.Connections) {
			l.g.metrics.connections.Inc()
			return c, nil
		}
		l.g.metrics.limited.WithLabelValues("connections").Inc()
		_ = raw.Close() // it was told nothing yet
	}
}

// Close ends the socket for new connections.
func (l *listener) Close() error {
	l.cancel()
	return l.UnixListener.Close()
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

// bind makes the socket's file in dir and listens. It fails where something
// stands in its place, and follows no link (unix(7), EADDRINUSE). The name goes
// through the directory's descriptor, so that neither a changed path nor a long
// run-dir matters.
func bind(ctx context.Context, dir *os.Root) (*net.UnixListener, unix.Stat_t, error) {
	var st unix.Stat_t
	handle, err := dir.Open(".")
	if err != nil {
		return nil, st, err
	}
	defer func() { _ = handle.Close() }()
	fd := int(handle.Fd())
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var mode error
		// The mode of the descriptor is the file's, less the umask.
		control := c.Control(func(fd uintptr) { mode = unix.Fchmod(int(fd), bindMode) })
		return errors.Join(control, mode)
	}}
	l, err := cfg.Listen(ctx, "unix", filepath.Join("/proc/self/fd", strconv.Itoa(fd), schema.GatewaySocket))
	if err != nil {
		return nil, st, err
	}
	ul, ok := l.(*net.UnixListener)
	if !ok {
		return nil, st, fmt.Errorf("a unix socket's listener is a %T", l)
	}
	ul.SetUnlinkOnClose(false) // the descriptor is another file's by then
	if err = fileOf(fd, &st); err != nil {
		_ = ul.Close()
		return nil, st, err
	}
	return ul, st, nil
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
