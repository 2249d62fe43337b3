package vpp

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// unlinkStale removes a socket's file under the socket root if a connect is
// refused. It asks instead of going by the role of our own end: the file of the
// other side's listener must stay, and so must one that we serve again.
func (v *VPP) unlinkStale(path string) {
	if !v.ourSocket(path) {
		return
	}
	if err := unlinkRefused(v.cfg.SocketRoot, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.log.WithField("err", err).WithFields(logrus.Fields{"kind": "socket", "id": path}).Warn("stale socket file stays")
	}
}

// unlinkRefused removes a socket below root on which nobody listens. A pod may be
// root in its directory, and put a link or another socket there at any moment: so
// below root nothing is followed, and the socket that was asked is the one that is
// removed.
func unlinkRefused(root, path string) error {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	top, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(top) }()
	dir, err := openBeneath(top, filepath.Dir(rel), unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	name := filepath.Base(rel)
	file, err := openBeneath(dir, name, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(file) }()
	var asked, now unix.Stat_t
	if err = unix.Fstat(file, &asked); err != nil {
		return err
	}
	if asked.Mode&unix.S_IFMT != unix.S_IFSOCK || !refused(file) {
		return nil
	}
	if err = unix.Fstatat(dir, name, &now, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if now.Dev != asked.Dev || now.Ino != asked.Ino {
		return nil
	}
	return unix.Unlinkat(dir, name, 0)
}

// openBeneath holds what stands at a name below dir (O_PATH): a symbolic link
// itself, or ELOOP where one is on the way.
func openBeneath(dir int, name string, flags uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(dir, name, &how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) { // EAGAIN: renamed on the way
			return fd, err
		}
	}
}

// refused says whether nobody listens on a socket file, which is open (O_PATH):
// the name under /proc leads to it and nowhere else (proc(5)). memif's sockets are
// of type seqpacket and vhost-user's of type stream; the kernel refuses the wrong
// type of a live one with EPROTOTYPE, and both types of a dead one with
// ECONNREFUSED.
func refused(file int) bool {
	fd, err := newProbe()
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	name := "/proc/self/fd/" + strconv.Itoa(file)
	return errors.Is(unix.Connect(fd, &unix.SockaddrUnix{Name: name}), unix.ECONNREFUSED)
}

// newProbe is a socket that nothing can be sent to. The listener may be a pod, and
// fast enough to send a descriptor whose close never ends (SO_LINGER).
func newProbe() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Shutdown(fd, unix.SHUT_RD); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
