// Package sockfile gives the files of a simulated VPP's sockets the modes that a
// VPP's have. VPP sets its umask for the time of the bind, and so follows no link
// that a pod puts in the file's place; a program with other threads cannot, and
// holds the file open instead. Binding and removing are not its affair.
package sockfile

import (
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"
)

// Chmod gives the socket at path its mode. What else stands there is an error,
// and is left alone.
func Chmod(path string, mode fs.FileMode) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mode of %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("mode of %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("mode of %s: somebody has replaced the socket", path)
	}
	// fchmod(2) does not take O_PATH; this leads to the open file (proc(5)).
	if err = unix.Fchmodat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), uint32(mode), 0); err != nil {
		return fmt.Errorf("mode of %s: %w", path, err)
	}
	return nil
}
