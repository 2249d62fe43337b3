package sockfile_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/vpp-cni/vpp-cni/test/vppsim/sockfile"
)

// TestChmod: the socket gets its mode, and nothing that a link in its place leads
// to.
func TestChmod(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket, link, file := filepath.Join(dir, "s"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := errors.Join(os.Chmod(socket, 0o600), os.Symlink("s", link), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, file, filepath.Join(dir, "missing")} {
		if err := sockfile.Chmod(path, 0o666); err == nil {
			t.Errorf("%s was given a mode", path)
		}
	}
	mode := func(path string) fs.FileMode {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Mode().Perm()
	}
	if mode(socket) != 0o600 || mode(file) != 0o600 {
		t.Errorf("modes %v and %v: want them untouched", mode(socket), mode(file))
	}
	if err := sockfile.Chmod(socket, 0o775); err != nil || mode(socket) != 0o775 {
		t.Errorf("the socket: %v, mode %v", err, mode(socket))
	}
}
