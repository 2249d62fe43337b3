package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// logConf says where the plugin's log goes.
type logConf struct {
	// file is empty for standard error.
	file string
	// under is the directory that the file must be in, where a network
	// configuration names it, made if it is missing; empty: the operator has named
	// the file.
	under string
	level string
}

// The modes of what the plugin makes for networks' own logs: logDir and the files.
// A file of any other mode is somebody's.
const (
	logDirMode  = 0o750
	logFileMode = 0o600
)

// logEnding is what the name of a network's own log ends in: what else lies
// beside it is somebody's.
const logEnding = ".log"

// newLog opens the plugin's log: the file, or standard error where no file is
// given or it cannot be opened. Standard output is the protocol's. The level
// has been checked by the configuration.
func newLog(c logConf) (*logrus.Logger, io.Closer) {
	l := logrus.New()
	l.SetOutput(os.Stderr)
	l.SetLevel(logLevel(c.level))
	l.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	if c.file == "" {
		return l, io.NopCloser(nil)
	}
	f, err := c.open()
	if err != nil {
		l.WithField("err", fmt.Errorf("logFile %s: %w", c.file, err)).Warn("log file cannot be opened, logging to standard error")
		return l, io.NopCloser(nil)
	}
	l.SetOutput(f)
	return l, f
}

// open opens the file for appending, or makes it. It is written as root: a link
// or a FIFO in its place is not followed, and a file with a second name, or one
// that others write, is left alone.
func (c logConf) open() (*os.File, error) {
	dir, name, resolve := "/", strings.TrimPrefix(c.file, "/"), uint64(0)
	if c.under != "" {
		rel, err := filepath.Rel(c.under, c.file)
		if err != nil || !filepath.IsLocal(rel) || !strings.HasSuffix(rel, logEnding) {
			return nil, fmt.Errorf("a network's log must be a file *%s under %s (logDir of the node's file)", logEnding, c.under)
		}
		dir, name, resolve = c.under, rel, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS
	}
	d, err := openDir(dir)
	if c.under != "" && errors.Is(err, fs.ErrNotExist) {
		_ = os.Mkdir(dir, logDirMode) // whether it is there now is seen next
		d, err = openDir(dir)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	how := unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Mode:    logFileMode,
		Resolve: resolve,
	}
	fd, err := unix.Openat2(int(d.Fd()), name, &how)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), c.file)
	if err := c.check(fd); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func openDir(dir string) (*os.File, error) {
	return os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0) //nolint:gosec // the operator names the directory
}

func (c logConf) check(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("what is there is no regular file")
	case st.Nlink != 1:
		return fmt.Errorf("the file has %d names", st.Nlink)
	case c.under != "" && (int(st.Uid) != os.Geteuid() || st.Mode&0o7777 != logFileMode):
		return fmt.Errorf("the file is user %d's, mode %#o: it must be the plugin's own, mode %#o as it makes them", st.Uid, st.Mode&0o7777, logFileMode)
	}
	return nil
}

// logLevel reads logrus' level names and the Userspace CNI's verbose.
func logLevel(s string) logrus.Level {
	if s == "verbose" {
		return logrus.TraceLevel
	}
	level, err := logrus.ParseLevel(s)
	if err != nil {
		return logrus.InfoLevel
	}
	return level
}
