package gateway_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

func (w *world) dump() []string {
	w.t.Helper()
	objects, err := w.gw.Dump(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, o := range objects {
		out = append(out, filepath.Base(filepath.Dir(o.ID().Name)))
	}
	return out
}

// answers says whether somebody serves etcd's API at path.
func (w *world) answers(path string) bool {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
	defer cancel()
	_, err := etcdserverpb.NewKVClient(dial(w.t, path)).Range(ctx, &etcdserverpb.RangeRequest{Key: []byte("x")})
	return err == nil
}

// TestSocketsLife: a socket is there from Put to Delete, its connections end with
// it, one that vanished is not listed, and an agent that starts anew takes over
// what the one before has left.
func TestSocketsLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	path := w.open(myPod)
	w.open("p2")
	if got := w.dump(); !slices.Equal(got, []string{"p1", "p2"}) {
		t.Errorf("listed: %v", got)
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v: want 0660", st.Mode(), err)
	}
	conn := dial(t, path)
	stream := newWatcher(t, conn)
	stream.controlled(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: &etcdserverpb.WatchCreateRequest{RangeEnd: []byte{0}}}})

	if err = os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := w.dump(); !slices.Equal(got, []string{"p2"}) {
		t.Errorf("listed with its file gone: %v", got)
	}
	w.open(myPod)
	if !w.answers(path) {
		t.Error("no answer at the socket that was made anew")
	}
	for range 2 { // twice is once
		if err = w.gw.Delete(t.Context(), w.socket("p2")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = os.Lstat(w.socket("p2").Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file after Delete: %v", err)
	}
	eventually(t, "the end of the stream", func() bool {
		stream.mu.Lock()
		defer stream.mu.Unlock()
		return stream.err != nil
	})

	w.stop()
	if w.answers(path) {
		t.Error("an answer without an agent")
	}
	w.start(gateway.Limits{})
	if got := w.dump(); !slices.Equal(got, []string{"p1"}) {
		t.Errorf("taken over: %v", got)
	}
	if !w.answers(path) {
		t.Error("no answer at the socket that was taken over")
	}
	// A directory that is gone has no socket, and nobody is served on it.
	if err = os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if got := w.dump(); len(got) != 0 {
		t.Errorf("listed with the directory gone: %v", got)
	}
}

// TestPlanted: whatever a pod puts in the place of the socket, or of its
// directory, is not followed.
func TestPlanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	outside := filepath.Join(w.runDir, "outside")
	if err := errors.Join(os.Mkdir(outside, 0o700), os.WriteFile(filepath.Join(outside, "treasure"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(path string) error{
		"link to a file":    func(path string) error { return os.Symlink(filepath.Join(outside, "treasure"), path) },
		"link that dangles": func(path string) error { return os.Symlink(filepath.Join(outside, "new"), path) },
		"file":              func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"FIFO":              func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":         func(path string) error { return os.MkdirAll(filepath.Join(path, "a", "b"), 0o700) },
		"socket of somebody": func(path string) error {
			l, err := net.Listen("unix", path)
			t.Cleanup(func() { _ = l.Close() })
			return err
		},
	} {
		pod := schema.PodID(strings.ReplaceAll(name, " ", "-"))
		o := w.socket(pod)
		if err := errors.Join(w.dirs.Put(t.Context(), model.Directory{Path: filepath.Dir(o.Path)}, nil), plant(o.Path)); err != nil {
			t.Fatal(err)
		}
		if err := w.gw.Put(t.Context(), o, nil); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if st, err := os.Lstat(o.Path); err != nil || st.Mode().Type() != os.ModeSocket || !w.answers(o.Path) {
			t.Errorf("%s: %v, %v: want the gateway's socket", name, st, err)
		}
		// What takes the socket's place later is not removed as if it were it.
		if err := errors.Join(os.Remove(o.Path), plant(o.Path)); err != nil {
			t.Fatal(err)
		}
		if err := w.gw.Delete(t.Context(), o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(o.Path); err != nil {
			t.Errorf("%s: what took the socket's place is gone: %v", name, err)
		}
	}
	if st, err := os.Stat(filepath.Join(outside, "treasure")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("outside: %v, %v", st, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside: %v, %v: want nothing new", entries, err)
	}
	if err := errors.Join(os.Symlink(outside, filepath.Join(w.runDir, "pods", "linked")), os.Symlink("FIFO", filepath.Join(w.runDir, "pods", "neighbour"))); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"linked", "neighbour"} {
		// The gateway itself refuses it, and not only who makes room for the socket.
		err := w.gw.Put(t.Context(), model.GatewaySocket{Path: filepath.Join(w.runDir, "pods", link, schema.GatewaySocket)}, nil)
		if err == nil || !strings.Contains(err.Error(), "directory of pod "+link) {
			t.Errorf("a link in place of a pod's directory: %v", err)
		}
	}
	for _, bad := range []string{
		filepath.Join(w.runDir, "pods", "..", schema.GatewaySocket),
		filepath.Join(w.runDir, "pods", "p1", "other.sock"), filepath.Join(outside, schema.GatewaySocket), "etcd.sock",
	} {
		if err := w.gw.Put(t.Context(), model.GatewaySocket{Path: bad}, nil); err == nil {
			t.Errorf("put %s: it was made", bad)
		}
	}
}

// TestBindMode: a socket is nobody else's from its first moment on, whatever the
// umask.
func TestBindMode(t *testing.T) { //nolint:paralleltest // the umask is the process's
	w := newWorld(t, gateway.Limits{})
	w.gw.Close()
	seen := os.FileMode(0)
	dirs := watching{Dirs: w.dirs, settle: func(path string) {
		if st, err := os.Lstat(path); err == nil {
			seen = st.Mode().Perm()
		}
	}}
	gw := gateway.New(gateway.Config{RunDir: w.runDir, Dirs: dirs, Tree: w.store.Subtree(""), Log: w.log})
	defer gw.Close()
	o := w.socket(myPod)
	if err := w.dirs.Put(t.Context(), model.Directory{Path: filepath.Dir(o.Path)}, nil); err != nil {
		t.Fatal(err)
	}
	old := unix.Umask(0)
	err := gw.Put(t.Context(), o, nil)
	unix.Umask(old)
	if err != nil || seen != 0o600 {
		t.Errorf("mode %v before it is settled, %v: want 0600", seen, err)
	}
}

// watching looks at a socket before it is settled.
type watching struct {
	gateway.Dirs
	settle func(string)
}

func (d watching) Settle(path string) error {
	d.settle(path)
	return d.Dirs.Settle(path)
}

// TestLongPath: a run-dir whose sockets' paths are too long to bind does not
// matter: the pod sees its directory elsewhere.
func TestLongPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	pod := schema.PodID(strings.Repeat("a", 64))
	w.runDir = filepath.Join(w.runDir, strings.Repeat("d", 60))
	w.stop()
	w.remake()
	path := w.open(pod)
	if len(path) < 110 {
		t.Fatalf("%d characters are not too long", len(path))
	}
	mount := filepath.Join(filepath.Dir(filepath.Dir(w.runDir)), "gwlink"+filepath.Base(filepath.Dir(w.runDir)))
	if err := os.Symlink(filepath.Dir(path), mount); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(mount) })
	if !w.answers(filepath.Join(mount, schema.GatewaySocket)) {
		t.Error("no answer")
	}
}
