// Package file reads the files that configurations name. The plugin and the agent
// are root, and a network configuration may be anybody's: no such file makes them
// wait, or read without end. Who may name which file is for others to say.
package file

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// Max is the largest file in bytes that Read takes.
const Max = 1 << 20

// Read reads a regular file of up to Max bytes. Links are followed: Kubernetes
// rotates what it mounts by changing them. Errors name the file and tell nothing
// of what is in it.
func Read(path string) ([]byte, error) {
	// Some devices act on being opened alone, a watchdog for one. What cannot be
	// looked at cannot be opened, and that error says more.
	if st, err := os.Stat(path); err == nil {
		if err := check(path, st); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0) //nolint:gosec // somebody names the file: see above
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err = check(path, st); err != nil {
		return nil, err
	}
	// A file may grow, and those of /proc have no size. A read at an offset is an
	// error where it would wait, as that of /proc/kmsg would.
	data, err := io.ReadAll(io.NewSectionReader(f, 0, Max+1))
	if err != nil {
		return nil, err
	}
	if len(data) > Max {
		return nil, tooLarge(path)
	}
	return data, nil
}

func check(path string, st os.FileInfo) error {
	switch {
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case st.Size() > Max:
		return tooLarge(path)
	default:
		return nil
	}
}

func tooLarge(path string) error {
	return fmt.Errorf("%s is too large: at most %d bytes are allowed", path, Max)
}
