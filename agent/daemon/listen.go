package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"
)

const (
	// socketMode lets the group of the agent ask, and nobody else.
	socketMode = 0o660
	// maxConnections is how many may ask at once; more wait. The plugin's CHECKs
	// are the most.
	maxConnections = 128
)

// Listen listens at unix:///path or host:port. A socket file that an earlier
// process has left behind is replaced, one that somebody answers on is an error.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	path, ok := strings.CutPrefix(address, "unix://")
	if !ok {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("listen at %s: %w", address, err)
		}
		return netutil.LimitListener(l, maxConnections), nil
	}
	if err := clearSocket(ctx, path); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	lc.Control = refuseRights
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	if err := settle(path); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	return netutil.LimitListener(l, maxConnections), nil
}

// refuseRights has the kernel refuse descriptors that are sent along with a
// request: the last close of a socket among them could hold this process up
// (SO_LINGER). Linux knows how since 6.16; what it says before is of no use.
func refuseRights(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
	})
}

// clearSocket makes room for a socket.
func clearSocket(ctx context.Context, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil { //nolint:gosec // pods look up their own directory below it
		return err
	}
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSocket {
		return errors.New("there is something that is no socket")
	}
	dialer := net.Dialer{Timeout: probeTimeout}
	if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
		return errors.New("another process answers there: is an agent running already?")
	}
	return os.Remove(path)
}

// settle gives the socket that was just made its mode. It is held open
// meanwhile: what somebody puts in its place is not followed.
func settle(path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != os.Geteuid() {
		return errors.New("somebody has replaced the socket")
	}
	return unix.Fchmodat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), socketMode, 0)
}
