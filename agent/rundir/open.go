package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// beneath keeps a look-up in the directory that it starts from, whatever
// symbolic links stand on the way.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

func fd(f *os.File) int { return int(f.Fd()) }

// openIn opens name in dir. A symbolic link in it is ELOOP.
func openIn(dir *os.File, name string, flags int, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW), Resolve: beneath | resolve} //nolint:gosec // flags are no negative number
	for {
		n, err := unix.Openat2(fd(dir), name, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(n), name), nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN): // renamed on the way
		default:
			return nil, err
		}
	}
}

// openDir opens a directory.
func openDir(dir *os.File, name string, resolve uint64) (*os.File, error) {
	f, err := openIn(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, resolve)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("what is there is no directory: %w", err)
	}
	return f, err
}

func stat(f *os.File) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd(f), &st)
	return st, err
}

// claim makes a directory the agent's own. Where a directory has the sticky bit
// only its owner may remove what is another's, and a pod can have any user's.
func claim(dir *os.File) error {
	st, err := stat(dir)
	if err != nil || int(st.Uid) == os.Geteuid() {
		return err
	}
	return unix.Fchown(fd(dir), os.Geteuid(), unset)
}

// settleDir makes a directory the agent's, of a group (unset: any), with a mode.
func settleDir(dir *os.File, mode fs.FileMode, gid int) error {
	st, err := stat(dir)
	if err != nil {
		return err
	}
	if int(st.Uid) != os.Geteuid() || gid != unset && int(st.Gid) != gid {
		if err := unix.Fchown(fd(dir), os.Geteuid(), gid); err != nil {
			return fmt.Errorf("owner and group: %w", err)
		}
	}
	if fs.FileMode(st.Mode&0o7777) == mode {
		return nil
	}
	return unix.Fchmod(fd(dir), uint32(mode))
}

// settleSocket gives an open socket (O_PATH) its group (unset: any) and mode.
func settleSocket(f *os.File, mode fs.FileMode, gid int) error {
	st, err := stat(f)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errors.New("what is there is no socket")
	}
	if st.Nlink != 1 {
		return fmt.Errorf("the socket has %d names: another one leads to it too", st.Nlink)
	}
	if gid != unset && int(st.Gid) != gid {
		if err := unix.Fchownat(fd(f), "", unset, gid, unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("group: %w", err)
		}
	}
	if fs.FileMode(st.Mode&0o7777) == mode {
		return nil
	}
	// fchmod(2) does not take O_PATH; this leads to the open file and nowhere
	// else (proc(5)).
	return unix.Fchmodat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd(f)), uint32(mode), 0)
}
