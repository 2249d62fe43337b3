package rundir

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/privileged"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 60 s", what)
		}
	}
}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

// pod makes a pod's directory.
func pod(t *testing.T, d *Driver, name string) model.Directory {
	t.Helper()
	dir := model.Directory{Path: filepath.Join(d.pods, name)}
	must(t, d.Put(t.Context(), dir, nil))
	return dir
}

// treasure is a file that nobody may touch.
func treasure(t *testing.T, dir string) (untouched func()) {
	t.Helper()
	path := filepath.Join(dir, "treasure")
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	return func() {
		t.Helper()
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 || int(st.Sys().(*syscall.Stat_t).Gid) != os.Getegid() {
			t.Errorf("outside: %v, %v: want it untouched", st, err)
		}
	}
}

// plants are what a pod that is root can put in the place of its socket.
func plants(outside string) map[string]func(path string) error {
	return map[string]func(path string) error{
		"a link to a file":       func(path string) error { return os.Symlink(filepath.Join(outside, "treasure"), path) },
		"a link to a directory":  func(path string) error { return os.Symlink(outside, path) },
		"a link to itself":       func(path string) error { return os.Symlink(path, path) },
		"a link that dangles":    func(path string) error { return os.Symlink(outside+"/new", path) },
		"a file":                 func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
		"a FIFO":                 func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a directory":            func(path string) error { return os.Mkdir(path, 0o700) },
		"a directory with files": func(path string) error { return os.MkdirAll(path+"/a/b", 0o700) },
	}
}

// TestPlantedInPlaceOfTheSocket: none of it is followed or given a mode, and it
// makes room for the host's socket.
func TestPlantedInPlaceOfTheSocket(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	untouched := treasure(t, outside)
	d, _ := setup(t, Config{SocketMode: "0666"})
	t.Cleanup(func() { _ = d.Close() })
	dir := pod(t, d, "p1")
	socket := filepath.Join(dir.Path, "net1.memif")
	for name, plant := range plants(outside) {
		must(t, plant(socket))
		if err := d.Settle(socket); err == nil {
			t.Errorf("%s was settled", name)
		}
		if err := d.PodServes(socket); err == nil {
			t.Errorf("%s was taken for a socket to connect to", name)
		}
		if err := d.Clear(t.Context(), socket); err != nil {
			t.Errorf("%s does not go: %v", name, err)
		}
		if !gone(socket) {
			t.Fatalf("%s is still there", name)
		}
	}
	must(t, d.Clear(t.Context(), socket)) // nothing there
	untouched()
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside: %v, %v: want nothing new", entries, err)
	}
}

// TestPlantedInPlaceOfTheDirectory: not even what has the name of a pod is
// followed, whoever could have put it there.
func TestPlantedInPlaceOfTheDirectory(t *testing.T) {
	t.Parallel()
	d, pods := setup(t, Config{SocketMode: "0666"})
	outside := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(outside, "s"))
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	must(t, os.Chmod(filepath.Join(outside, "s"), 0o600))
	link := filepath.Join(pods, "p1")
	must(t, os.Symlink(outside, link))
	for what, err := range map[string]error{
		"put": d.Put(t.Context(), model.Directory{Path: link}, nil), "settle": d.Settle(link + "/s"),
		"clear": d.Clear(t.Context(), link+"/s"), "the pod's socket": d.PodServes(link + "/s"),
	} {
		if err == nil {
			t.Errorf("%s: the link was followed", what)
		}
	}
	if st, err := os.Stat(filepath.Join(outside, "s")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("outside: %v, %v: want it untouched", st, err)
	}
	// Nor is the directory of all pods a link.
	must(t, os.Remove(link))
	must(t, os.Remove(pods))
	must(t, os.Symlink(outside, pods))
	if err := d.Put(t.Context(), model.Directory{Path: link}, nil); err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Errorf("pods is a link: %v", err)
	}
}

// TestSettleIsNotRaced swaps the socket for a link to another pod's file, and for
// that file itself, all the time.
func TestSettleIsNotRaced(t *testing.T) {
	t.Parallel()
	d, _ := setup(t, Config{SocketMode: "0666"})
	mine, other := pod(t, d, "p1"), pod(t, d, "p2")
	untouched := treasure(t, other.Path)
	socket, swapped := filepath.Join(mine.Path, "s"), filepath.Join(mine.Path, "swapped")
	l, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	must(t, os.Symlink("../p2/treasure", swapped))
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			_ = unix.Renameat2(unix.AT_FDCWD, socket, unix.AT_FDCWD, swapped, unix.RENAME_EXCHANGE)
		}
	}()
	settled, refused := 0, 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if d.Settle(socket) == nil {
			settled++
		} else {
			refused++
		}
	}
	stop.Store(true)
	<-done
	untouched()
	if settled == 0 || refused == 0 {
		t.Errorf("settled %d times, refused %d times: the two never met", settled, refused)
	}
}

// TestSettleHoldsTheSocket: what stands at the name when the mode is given is not
// what gets it; the socket that was looked at is.
func TestSettleHoldsTheSocket(t *testing.T) {
	t.Parallel()
	d, _ := setup(t, Config{})
	dir := pod(t, d, "p1")
	untouched := treasure(t, dir.Path)
	socket := filepath.Join(dir.Path, "s")
	l, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	in, err := os.Open(dir.Path)
	must(t, err)
	defer func() { _ = in.Close() }()
	f, err := openIn(in, "s", unix.O_PATH, 0)
	must(t, err)
	defer func() { _ = f.Close() }()
	moved := filepath.Join(dir.Path, "moved")
	must(t, os.Rename(socket, moved))
	must(t, os.Symlink("treasure", socket))
	must(t, settleSocket(f, 0o606, unset))
	untouched()
	if st, err := os.Stat(moved); err != nil || st.Mode().Perm() != 0o606 {
		t.Errorf("the socket: %v, %v: want its new mode", st, err)
	}
}

// TestSecondName: a socket that has another name as well is not settled.
func TestSecondName(t *testing.T) {
	t.Parallel()
	d, _ := setup(t, Config{SocketMode: "0666"})
	dir := pod(t, d, "p1")
	socket := filepath.Join(dir.Path, "s")
	l, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	must(t, os.Chmod(socket, 0o600))
	must(t, os.Link(socket, filepath.Join(dir.Path, "again")))
	if err := d.Settle(socket); err == nil {
		t.Error("it was settled")
	}
	if err := d.PodServes(socket); err == nil {
		t.Error("it was taken for the pod's own")
	}
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want it untouched", st, err)
	}
}

// deep makes a directory with so many below one another.
func deep(t *testing.T, dir string, levels int) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range levels {
		must(t, unix.Mkdirat(at, "d", 0o700))
		next, err := unix.Openat(at, "d", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		must(t, unix.Close(at))
		at = next
	}
	must(t, unix.Close(at))
}

// TestHugeTrees: a deep tree and one with many files are out of the way at once,
// other pods' directories are made and removed meanwhile, and few file
// descriptors do.
func TestHugeTrees(t *testing.T) {
	t.Parallel()
	const child = "RUNDIR_HUGE_TREES"
	if os.Getenv(child) == "" {
		// The limit on file descriptors is a process'.
		cmd := exec.Command(os.Args[0], "-test.run=^TestHugeTrees$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}))
	d, pods := setup(t, Config{})
	hostile := pod(t, d, "hostile")
	deep(t, hostile.Path, 2000)
	for i := range 5000 {
		must(t, os.WriteFile(filepath.Join(hostile.Path, "f"+strconv.Itoa(i)), nil, 0o600))
	}
	start := time.Now()
	must(t, d.Delete(t.Context(), hostile))
	if took := time.Since(start); took > time.Second || !gone(hostile.Path) {
		t.Errorf("the delete took %s, directory gone: %t", took, gone(hostile.Path))
	}
	for range 100 {
		start = time.Now()
		must(t, d.Put(t.Context(), hostile, nil))
		must(t, d.Delete(t.Context(), hostile))
		if took := time.Since(start); took > time.Second {
			t.Errorf("another pod waits %s", took)
		}
	}
	eventually(t, "the trash is empty", func() bool { return gone(filepath.Join(pods, trashDir)) })
	t.Logf("all is gone after %s", time.Since(start))
	must(t, d.Close())
}

// TestTrashOfAnEarlierAgent is emptied by the next one.
func TestTrashOfAnEarlierAgent(t *testing.T) {
	t.Parallel()
	d, pods := setup(t, Config{})
	t.Cleanup(func() { _ = d.Close() })
	must(t, os.MkdirAll(filepath.Join(pods, trashDir, "left", "over"), 0o700))
	if names := dump(t, d); len(names) != 0 {
		t.Errorf("the trash is taken for pods: %v", names)
	}
	eventually(t, "the trash is empty", func() bool { return gone(filepath.Join(pods, trashDir)) })
}

// TestMountsAreNotEmptied: what is mounted in a pod's directory, or in its place,
// is not the pod's. It holds nobody else up.
func TestMountsAreNotEmptied(t *testing.T) {
	privileged.Require(t, "to mount")
	t.Parallel()
	d, pods := setup(t, Config{})
	t.Cleanup(func() { _ = d.Close() })
	outside := t.TempDir()
	untouched := treasure(t, outside)
	dir := pod(t, d, "p1")
	inner := filepath.Join(dir.Path, "a", "m")
	must(t, os.MkdirAll(inner, 0o700))
	privileged.Mount(t, outside, inner, "", unix.MS_BIND, "")
	must(t, d.Delete(t.Context(), dir))
	if !gone(dir.Path) {
		t.Error("the directory is still there")
	}
	must(t, d.Put(t.Context(), dir, nil)) // the pod's next sandbox
	must(t, d.Delete(t.Context(), dir))
	eventually(t, "an end of the work", func() bool {
		d.trash.mu.Lock()
		defer d.trash.mu.Unlock()
		return !d.trash.busy && !d.trash.rest.IsZero()
	})
	untouched()
	// When nothing is mounted any more, the rest goes too.
	mounted := filepath.Join(pods, trashDir)
	_ = filepath.WalkDir(mounted, func(path string, e os.DirEntry, _ error) error {
		if e != nil && e.Name() == "treasure" {
			privileged.Unmount(t, filepath.Dir(path))
		}
		return nil
	})
	d.trash.mu.Lock()
	d.trash.rest = time.Time{}
	d.trash.mu.Unlock()
	dump(t, d)
	eventually(t, "the trash is empty", func() bool { return gone(mounted) })
	untouched()

	own := pod(t, d, "p2")
	privileged.Mount(t, outside, own.Path, "", unix.MS_BIND, "")
	if err := d.Delete(t.Context(), own); err == nil || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("a mount in place of the directory: %v, want an error that says so", err)
	}
	untouched()
}

// TestImmutableFileHoldsNobodyUp: a pod with CAP_LINUX_IMMUTABLE leaves a file
// that not even root can remove.
func TestImmutableFileHoldsNobodyUp(t *testing.T) {
	privileged.Require(t, "to set a file's attribute")
	t.Parallel()
	d, pods := setup(t, Config{})
	t.Cleanup(func() { _ = d.Close() })
	dir := pod(t, d, "p1")
	f, err := os.Create(filepath.Join(dir.Path, "stays"))
	must(t, err)
	defer func() { _ = f.Close() }()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, unix.STATX_ATTR_IMMUTABLE); err != nil {
		t.Skipf("this file system has no immutable files: %v", err)
	}
	defer func() { _ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0) }()
	must(t, d.Delete(t.Context(), dir))
	must(t, d.Put(t.Context(), dir, nil))
	if entries, err := os.ReadDir(dir.Path); err != nil || len(entries) != 0 {
		t.Errorf("the next sandbox finds %v, %v", entries, err)
	}
	must(t, d.Delete(t.Context(), dir))
	eventually(t, "an end of the work", func() bool {
		d.trash.mu.Lock()
		defer d.trash.mu.Unlock()
		return !d.trash.busy && !d.trash.rest.IsZero()
	})
	must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0))
	d.trash.mu.Lock()
	d.trash.rest = time.Time{}
	d.trash.mu.Unlock()
	dump(t, d)
	eventually(t, "the trash is empty", func() bool { return gone(filepath.Join(pods, trashDir)) })
}

// TestFullDisk: a pod has filled the run-dir. Others are told so, every directory
// can be removed, and with room again all goes on.
func TestFullDisk(t *testing.T) {
	privileged.Require(t, "to mount a small tmpfs")
	t.Parallel()
	for what, limit := range map[string]string{"bytes": "size=64k", "files": "nr_inodes=40"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			run := t.TempDir()
			privileged.Mount(t, "tmpfs", run, "tmpfs", 0, limit+",mode=0711")
			d, err := New(Config{RunDir: run})
			must(t, err)
			t.Cleanup(func() { _ = d.Close() })
			hostile, victim := pod(t, d, "hostile"), pod(t, d, "victim")
			must(t, os.MkdirAll(filepath.Join(hostile.Path, "a", "b"), 0o700))
			must(t, os.WriteFile(filepath.Join(victim.Path, "s"), nil, 0o600))
			for i := 0; ; i++ {
				name := filepath.Join(hostile.Path, "a", strconv.Itoa(i))
				if err = os.WriteFile(name, make([]byte, 4096), 0o600); err != nil {
					break
				}
			}
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			fresh := model.Directory{Path: filepath.Join(d.pods, "fresh")}
			if err := d.Put(t.Context(), fresh, nil); what == "files" && !errors.Is(err, unix.ENOSPC) {
				t.Errorf("a new pod: %v, want an error that says the disk is full", err)
			}
			if _, err := d.Dump(t.Context()); err != nil {
				t.Errorf("the directories cannot be listed: %v", err)
			}
			must(t, d.Delete(t.Context(), hostile)) // first: there is no room even for the trash
			must(t, d.Delete(t.Context(), victim))
			eventually(t, "room again", func() bool { return d.Put(t.Context(), fresh, nil) == nil })
			eventually(t, "the trash is empty", func() bool { return gone(filepath.Join(d.pods, trashDir)) })
		})
	}
}

// TestWhoGetsIn: the pod's user by its group, and nobody else; others do not even
// see which pods there are, nor can they hold the agent's lock.
func TestWhoGetsIn(t *testing.T) {
	privileged.Require(t, "to be another user")
	t.Parallel()
	const group, user, other = 54321, 12345, 12346
	base, err := os.MkdirTemp("", "who") //nolint:usetesting // others cannot walk through a test's own directory
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	must(t, os.Chmod(base, 0o755))
	d, err := New(Config{RunDir: filepath.Join(base, "run"), SocketGroup: strconv.Itoa(group)})
	must(t, err)
	dir := pod(t, d, "p1")
	socket := filepath.Join(dir.Path, "net1.memif")
	l, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	must(t, os.Chmod(socket, 0o775)) // as VPP leaves it
	must(t, d.Settle(socket))
	connect := func() error {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	create := func() error { return os.WriteFile(filepath.Join(dir.Path, "own"), nil, 0o600) }
	look := func() error { _, err := os.Lstat(socket); return err }
	list := func() error { _, err := os.ReadDir(d.pods); return err }
	lock := func() error {
		for _, path := range []string{d.pods, d.run} {
			if f, err := os.Open(path); err == nil {
				_ = f.Close()
				return nil
			}
		}
		return os.ErrPermission
	}
	for _, tc := range []struct {
		name   string
		uid    int
		groups []int
		do     func() error
		want   bool
	}{
		{"the pod connects", user, []int{group}, connect, true},
		{"the pod makes nothing", user, []int{group}, create, false},
		{"another user connects", other, nil, connect, false},
		{"another user makes something", other, nil, create, false},
		{"another user looks into the pod's directory", other, nil, look, false},
		{"the pod lists the pods", user, []int{group}, list, false},
		{"the pod locks", user, []int{group}, lock, false},
		{"another user locks", other, nil, lock, false},
	} {
		if err := privileged.As(t, tc.uid, tc.uid, tc.groups, tc.do); (err == nil) != tc.want {
			t.Errorf("%s: %v, want it allowed: %t", tc.name, err, tc.want)
		}
	}
	// Each of the two keeps others out, also without the other.
	for path, want := range map[string]os.FileMode{dir.Path: 0o750, socket: 0o660, d.pods: 0o711} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want || path != d.pods && st.Sys().(*syscall.Stat_t).Gid != group {
			t.Errorf("%s: %v, %v: want mode %#o and the group", path, st, err, want)
		}
	}
	// Where the pod makes the socket, its group may write in the directory.
	must(t, d.PodServes(filepath.Join(dir.Path, "net2.memif")))
	if err := privileged.As(t, user, user, []int{group}, create); err != nil {
		t.Errorf("the pod cannot make its socket: %v", err)
	}
	if err := privileged.As(t, other, other, nil, create); err == nil {
		t.Error("another user makes something in the pod's directory")
	}
}

// TestOwnerAndModeComeBack: a directory that the kubelet has made, or somebody
// has changed, is found and settled.
func TestOwnerAndModeComeBack(t *testing.T) {
	privileged.Require(t, "to give files away")
	t.Parallel()
	d, pods := setup(t, Config{SocketGroup: "54321"})
	path := filepath.Join(pods, "p1")
	must(t, os.Mkdir(path, 0o755))
	must(t, os.Chown(path, 12345, 12345))
	find := func() model.Directory {
		t.Helper()
		objects, err := d.Dump(t.Context())
		must(t, err)
		if len(objects) != 1 {
			t.Fatalf("found %v", objects)
		}
		return objects[0].(model.Directory)
	}
	have := find()
	if !have.Unsettled {
		t.Error("it passes for settled")
	}
	must(t, d.Put(t.Context(), model.Directory{Path: path}, have))
	st, err := os.Stat(path)
	must(t, err)
	if sys := st.Sys().(*syscall.Stat_t); sys.Uid != 0 || sys.Gid != 54321 || st.Mode().Perm() != DirMode {
		t.Errorf("user %d, group %d, mode %v", sys.Uid, sys.Gid, st.Mode())
	}
	if find().Unsettled {
		t.Error("it does not pass for settled")
	}
	// An agent that has started anew learns from VPP that the pod serves.
	d.Learn(filepath.Join(path, "net1.memif"))
	if have = find(); !have.Unsettled {
		t.Error("the pod cannot make its socket, and it passes for settled")
	}
	must(t, d.Put(t.Context(), model.Directory{Path: path}, have))
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != ServingMode || find().Unsettled {
		t.Errorf("%v, %v: want mode %v", st, err, ServingMode)
	}
}

// TestRunDirOfOthers: a run-dir in which others can put things is refused.
func TestRunDirOfOthers(t *testing.T) {
	t.Parallel()
	run := t.TempDir()
	must(t, os.Chmod(run, 0o777|os.ModeSticky))
	if _, err := New(Config{RunDir: run}); err == nil || !strings.Contains(err.Error(), "written by others") {
		t.Errorf("%v, want a refusal", err)
	}
	if os.Geteuid() == 0 {
		must(t, os.Chmod(run, 0o755))
		must(t, os.Chown(run, 12345, 12345))
		if _, err := New(Config{RunDir: run}); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
			t.Errorf("%v, want a refusal", err)
		}
	}
}
