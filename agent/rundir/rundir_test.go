package rundir

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

func setup(t *testing.T, cfg Config) (*Driver, string) {
	t.Helper()
	cfg.RunDir = filepath.Join(t.TempDir(), "run")
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d, filepath.Join(cfg.RunDir, "pods")
}

func dump(t *testing.T, d *Driver) []string {
	t.Helper()
	objects, err := d.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, o := range objects {
		names = append(names, filepath.Base(o.ID().Name))
	}
	return names
}

func TestPutDumpDelete(t *testing.T) {
	t.Parallel()
	d, pods := setup(t, Config{SocketGroup: strconv.Itoa(os.Getgid())})
	dir := model.Directory{Path: filepath.Join(pods, "p1")}
	for range 2 { // twice is once
		if err := d.Put(t.Context(), dir, nil); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(dir.Path); err != nil || st.Mode().Perm() != DirMode {
		t.Errorf("directory %v, %v: want mode %v", st, err, DirMode)
	}
	if diff := cmp.Diff([]string{"p1"}, dump(t, d)); diff != "" {
		t.Errorf("dump (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(filepath.Join(dir.Path, "left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Delete(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{}, dump(t, d)); diff != "" {
		t.Errorf("after the delete (-want +got):\n%s", diff)
	}
}

func TestVanishedRunDirComesBack(t *testing.T) {
	t.Parallel()
	d, pods := setup(t, Config{})
	if err := os.RemoveAll(filepath.Dir(pods)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{}, dump(t, d)); diff != "" {
		t.Errorf("dump (-want +got):\n%s", diff)
	}
	if err := d.Put(t.Context(), model.Directory{Path: filepath.Join(pods, "p1")}, nil); err != nil {
		t.Fatal(err)
	}
}

// TestLinks plants symbolic links where directories and sockets belong.
func TestLinks(t *testing.T) {
	t.Parallel()
	d, pods := setup(t, Config{SocketMode: "0666"})
	outside := t.TempDir()
	treasure := filepath.Join(outside, "treasure")
	if err := os.WriteFile(treasure, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(pods, "p1")); err != nil {
		t.Fatal(err)
	}
	dir := model.Directory{Path: filepath.Join(pods, "p1")}
	if diff := cmp.Diff([]string{}, dump(t, d)); diff != "" {
		t.Errorf("a link is listed (-want +got):\n%s", diff)
	}
	if err := d.Put(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Errorf("put over a link: %v, want a refusal", err)
	}
	if err := d.Delete(t.Context(), dir); err != nil {
		t.Errorf("delete of a link: %v", err)
	}
	if _, err := os.Lstat(dir.Path); !os.IsNotExist(err) {
		t.Errorf("the link is still there: %v", err)
	}

	dir.Path = filepath.Join(pods, "p2")
	if err := d.Put(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"file": treasure, "dir": outside} {
		if err := os.Symlink(target, filepath.Join(dir.Path, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file", "dir", "dir/treasure"} {
		if err := d.Settle(filepath.Join(dir.Path, name)); err == nil {
			t.Errorf("settle of %s: no error", name)
		}
	}
	if err := d.Delete(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(treasure); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("outside: %v, %v: want it untouched", st, err)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	d, pods := setup(t, Config{SocketMode: "0666", SocketGroup: strconv.Itoa(os.Getgid())})
	dir := model.Directory{Path: filepath.Join(pods, "p1")}
	if err := d.Put(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir.Path, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := d.Settle(path); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("socket %v, %v: want mode 0666", st, err)
	}
	if err := d.Settle("/etc/passwd"); err == nil {
		t.Error("a path outside is settled")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	d, pods := setup(t, Config{})
	for _, path := range []string{"/etc", pods, filepath.Join(pods, ".."), filepath.Join(pods, "a", "b"), pods + "/../x", pods + "/-x"} {
		if err := d.Delete(t.Context(), model.Directory{Path: path}); err == nil {
			t.Errorf("delete of %s: no error", path)
		}
		if err := d.Put(t.Context(), model.Directory{Path: path}, nil); err == nil {
			t.Errorf("put of %s: no error", path)
		}
	}
	if _, err := New(Config{RunDir: t.TempDir(), SocketMode: "888"}); err == nil {
		t.Error("mode 888: no error")
	}
	if _, err := New(Config{RunDir: t.TempDir(), SocketGroup: "no such group"}); err == nil {
		t.Error("unknown group: no error")
	}
}
