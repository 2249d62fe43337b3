package file_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema/file"
)

// TestRead: a file that is named makes nobody wait or read without end.
func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	most := bytes.Repeat([]byte("x"), file.Max)
	must(os.WriteFile(in("small"), []byte("small"), 0o600))
	must(os.WriteFile(in("empty"), nil, 0o600))
	must(os.WriteFile(in("most"), most, 0o600))
	must(os.WriteFile(in("large"), append(most, 'x'), 0o600))
	must(os.WriteFile(in("hole"), nil, 0o600))
	must(os.Truncate(in("hole"), 1<<40))
	must(os.Mkdir(in("directory"), 0o700))
	must(syscall.Mkfifo(in("fifo"), 0o600))
	must(syscall.Mkfifo(in("open"), 0o600)) // somebody holds it open and writes nothing
	writer, err := os.OpenFile(in("open"), os.O_RDWR, 0)
	must(err)
	defer func() { _ = writer.Close() }()
	// As Kubernetes mounts a Secret.
	must(os.Mkdir(in("..2026"), 0o700))
	must(os.WriteFile(in("..2026/tls.crt"), []byte("certificate"), 0o600))
	must(os.Symlink("..2026", in("..data")))
	must(os.Symlink("..data/tls.crt", in("tls.crt")))
	must(os.Symlink("/dev/zero", in("zero")))

	for path, want := range map[string]string{
		in("small"):     "",
		in("empty"):     "",
		in("most"):      "",
		in("tls.crt"):   "",
		in("large"):     "at most 1048576 bytes",
		in("hole"):      "at most 1048576 bytes",
		in("directory"): "not a regular file",
		in("fifo"):      "not a regular file",
		in("open"):      "not a regular file",
		in("zero"):      "not a regular file",
		"/dev/zero":     "not a regular file",
		"/dev/tty":      "not a regular file",
		in("missing"):   "no such file",
		// Files of /proc have the size 0.
		"/proc/self/status":               "",
		"/proc/sys/kernel/random/boot_id": "",
	} {
		data, err := read(t, path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if err == nil && (len(data) == 0) != (path == in("empty")) {
			t.Errorf("%s: %d bytes", path, len(data))
		}
	}
	if data, err := read(t, in("tls.crt")); string(data) != "certificate" || err != nil {
		t.Errorf("through links: %q, %v", data, err)
	}
	if _, err := read(t, in("missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	// Which of these can be opened, and how long they are, differs; they end.
	for _, path := range []string{"/proc/kallsyms", "/proc/kmsg", "/proc/kcore", "/proc/self/mem", "/proc/self/pagemap", "/proc/self/fd/0"} {
		if data, err := read(t, path); len(data) > file.Max {
			t.Errorf("%s: %d bytes, %v", path, len(data), err)
		}
	}
}

// read wants an end soon.
func read(t *testing.T, path string) (data []byte, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		data, err = file.Read(path)
	}()
	select {
	case <-done:
		return data, err
	case <-time.After(20 * time.Second):
		t.Fatalf("%s is still being read", path)
		return nil, nil
	}
}
