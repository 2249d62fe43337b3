package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vpp-cni/vpp-cni/test/privileged"
)

// TestNetworkLog: the plugin is root, and whoever writes a network configuration
// names its log.
func TestNetworkLog(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	under, outside := filepath.Join(base, "log"), filepath.Join(base, "etc")
	for _, dir := range []string{under, outside, filepath.Join(under, "sub")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	treasure := filepath.Join(outside, "treasure.log")
	put := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put(treasure, 0o600)
	in := func(name string) string { return filepath.Join(under, name) }
	put(in("old.log"), 0o600)
	put(in("open.log"), 0o666)
	put(in("container.log"), 0o640) // as containerd makes those of containers
	put(in("setuid.log"), 0o600|os.ModeSetuid)
	put(in("two.log"), 0o600)
	put(in("secure"), 0o600)
	must(os.Link(in("two.log"), filepath.Join(outside, "two")))
	must(os.Symlink(treasure, in("link.log")))
	must(os.Symlink(filepath.Join(outside, "new.log"), in("dangling.log")))
	must(os.Symlink(outside, in("dir")))
	must(os.Mkdir(in("directory.log"), 0o755))
	must(syscall.Mkfifo(in("fifo.log"), 0o600))
	// Somebody reads the FIFO: opening it succeeds.
	must(syscall.Mkfifo(in("read.log"), 0o600))
	reader, err := os.OpenFile(in("read.log"), os.O_RDWR, 0)
	must(err)
	defer func() { _ = reader.Close() }()

	for path, want := range map[string]bool{
		in("new.log"):             true,
		in("sub/new.log"):         true,
		in("old.log"):             true,
		in("open.log"):            false,
		in("container.log"):       false,
		in("setuid.log"):          false,
		in("two.log"):             false,
		in("secure"):              false,
		in("link.log"):            false,
		in("dangling.log"):        false,
		in("dir/treasure.log"):    false,
		in("dir/made.log"):        false,
		in("directory.log"):       false,
		in("fifo.log"):            false,
		in("read.log"):            false,
		in("missing/new.log"):     false,
		in("../etc/treasure.log"): false,
		treasure:                  false,
		"treasure.log":            false,
		"/dev/null":               false,
	} {
		f, err := logConf{file: path, under: under}.open()
		if (err == nil) != want {
			t.Errorf("%s: %v, want it opened: %t", path, err, want)
		}
		if err == nil {
			_, err = f.WriteString("line\n")
			must(err)
			must(f.Close())
		}
	}
	if st, err := os.Stat(in("new.log")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("a new log: %v, %v: want mode 0600", st, err)
	}
	if data, err := os.ReadFile(in("old.log")); err != nil || string(data) != "before\nline\n" {
		t.Errorf("an old log: %q, %v: want the line behind what was there", data, err)
	}
	if data, err := os.ReadFile(treasure); err != nil || string(data) != "before\n" {
		t.Errorf("outside: %q, %v: want it untouched", data, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 2 {
		t.Errorf("outside: %v, %v: want nothing new", entries, err)
	}
}

// TestLogDirIsMade: only the directory itself, and only for a log in it.
func TestLogDirIsMade(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	under := filepath.Join(base, "vpp-cni")
	for _, file := range []string{filepath.Join(base, "out.log"), filepath.Join(under, "no-ending")} {
		if _, err := (logConf{file: file, under: under}).open(); err == nil {
			t.Errorf("%s was opened", file)
		}
	}
	if _, err := os.Lstat(under); err == nil {
		t.Error("a log elsewhere makes the directory")
	}
	for range 2 {
		f, err := logConf{file: filepath.Join(under, "net.log"), under: under}.open()
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	if st, err := os.Lstat(under); err != nil || st.Mode() != os.ModeDir|0o750 {
		t.Errorf("the directory: %v, %v: want mode 0750", st, err)
	}
	deep := filepath.Join(base, "a", "b")
	if _, err := (logConf{file: filepath.Join(deep, "net.log"), under: deep}).open(); err == nil {
		t.Error("what leads to the directory is made too")
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(filepath.Join(base, "planted"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := (logConf{file: filepath.Join(link, "net.log"), under: link}).open(); err == nil {
		t.Error("a directory is made where a link leads to")
	}
}

// TestLogOfSomebodyElse: who owns a log reads what is written into it, and writes
// what others read.
func TestLogOfSomebodyElse(t *testing.T) {
	t.Parallel()
	privileged.Require(t, "to give a file away")
	under := t.TempDir()
	path := filepath.Join(under, "theirs.log")
	if err := errors.Join(os.WriteFile(path, []byte("before\n"), 0o600), os.Chown(path, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	if f, err := (logConf{file: path, under: under}).open(); err == nil {
		_ = f.Close()
		t.Error("another user's file is written to")
	}
}

// TestOperatorsLog may lie anywhere, yet no link or FIFO is followed.
func TestOperatorsLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "plugin")
	f, err := logConf{file: file}.open()
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := os.Symlink(file, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "fifo"} {
		if _, err := (logConf{file: filepath.Join(dir, name)}).open(); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	// What cannot be opened costs no call.
	l, closer := newLog(logConf{file: filepath.Join(dir, "link"), level: "info"})
	if l.Out != os.Stderr || closer.Close() != nil {
		t.Error("the log is not standard error")
	}
	if !strings.HasPrefix(file, "/") {
		t.Fatal("test needs an absolute path")
	}
}
