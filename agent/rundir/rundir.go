// Package rundir keeps the pods' directories of sockets under the agent's
// run-dir. It makes, lists and removes directories, makes room for sockets and
// settles who may use them; what is in a socket is VPP's business.
//
// A pod may be root in its container and may write into its directory. So nothing
// in that directory is believed: every step is taken from an open directory and
// follows no symbolic link (openat2(2)), what is settled is held open while it is
// looked at, and no removal walks into a mount. Nor is it believed whose it is: a
// pod can give what is in its directory to any user, with any mode. To open, remove
// and take back all that takes CAP_DAC_OVERRIDE and CAP_CHOWN; no other capability
// is needed.
package rundir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

const (
	// DirMode is the mode of a pod's directory.
	DirMode fs.FileMode = 0o750
	// ServingMode is that of a pod that makes a socket itself, in its group.
	ServingMode fs.FileMode = 0o770
	// DefaultSocketMode is the mode of sockets where Config gives none.
	DefaultSocketMode fs.FileMode = 0o660
	// rootMode lets VPP and pods walk through to their directory; nobody else
	// sees which pods there are, or can hold the agent's lock.
	rootMode fs.FileMode = 0o711
	// podsDir is where the pods' directories are.
	podsDir = "pods"
	unset   = -1
)

// Config says where the directories are and who may use what is in them.
type Config struct {
	// RunDir is the agent's directory, an absolute path.
	RunDir string
	// SocketMode is the mode of sockets in octal; empty: DefaultSocketMode.
	SocketMode string
	// SocketGroup is the group of directories and sockets, a name or a number;
	// empty: the agent's, and VPP's.
	SocketGroup string
	// Log is told of what cannot be removed; nil: nobody is.
	Log *logrus.Entry
}

// Driver makes and removes the pods' directories. Safe for concurrent use.
type Driver struct {
	run, pods string
	mode      fs.FileMode
	gid       int // unset: as it is
	trash     *trash

	mu sync.Mutex
	// serving are the pods that make a socket themselves.
	serving map[string]bool
}

// New checks cfg and makes the run-dir.
func New(cfg Config) (*Driver, error) {
	d := &Driver{
		run: cfg.RunDir, pods: filepath.Join(cfg.RunDir, podsDir), mode: DefaultSocketMode, gid: unset,
		serving: map[string]bool{},
	}
	if cfg.SocketMode != "" {
		m, err := strconv.ParseUint(cfg.SocketMode, 8, 9)
		if err != nil {
			return nil, fmt.Errorf("socketMode %q is not an octal mode up to 0777", cfg.SocketMode)
		}
		d.mode = fs.FileMode(m)
	}
	if cfg.SocketGroup != "" {
		gid, err := groupID(cfg.SocketGroup)
		if err != nil {
			return nil, err
		}
		d.gid = gid
	}
	if cfg.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		cfg.Log = logrus.NewEntry(quiet)
	}
	d.trash = newTrash(d.open, cfg.Log)
	pods, err := d.open()
	if err != nil {
		return nil, err
	}
	return d, pods.Close()
}

// Close waits for the removal that is under way to stop. What is left of it the
// next agent removes.
func (d *Driver) Close() error {
	d.trash.close()
	return nil
}

func groupID(name string) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("socketGroup: %w", err)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return 0, fmt.Errorf("socketGroup %s: id %q is no number", name, g.Gid)
	}
	return gid, nil
}

// open opens the directory of the pods' directories anew: it may have vanished
// and come back since the last time.
func (d *Driver) open() (*os.File, error) {
	if err := os.MkdirAll(d.run, rootMode); err != nil {
		return nil, fmt.Errorf("run-dir: %w", err)
	}
	run, err := os.OpenFile(d.run, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("run-dir: %w", err)
	}
	defer func() { _ = run.Close() }()
	if err = trusted(run); err != nil {
		return nil, err
	}
	if err = unix.Mkdirat(fd(run), podsDir, uint32(rootMode)); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("run-dir: make %s: %w", d.pods, err)
	}
	pods, err := openDir(run, podsDir, 0)
	if err != nil {
		return nil, fmt.Errorf("run-dir: %s: %w", d.pods, err)
	}
	if err := settleDir(pods, rootMode, unset); err != nil {
		_ = pods.Close()
		return nil, fmt.Errorf("run-dir: %s: %w", d.pods, err)
	}
	return pods, nil
}

// trusted refuses a run-dir in which others could put things where the agent
// looks for its own.
func trusted(run *os.File) error {
	st, err := stat(run)
	if err != nil {
		return fmt.Errorf("run-dir %s: %w", run.Name(), err)
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("run-dir %s belongs to user %d: it must be root's or the agent's own", run.Name(), st.Uid)
	}
	if st.Mode&0o002 != 0 || st.Mode&0o020 != 0 && st.Gid != 0 && int(st.Gid) != os.Getegid() {
		return fmt.Errorf("run-dir %s can be written by others (mode %#o, group %d): chmod go-w it", run.Name(), st.Mode&0o7777, st.Gid)
	}
	return nil
}

// Kinds is directories.
func (d *Driver) Kinds() []model.Kind { return []model.Kind{model.KindDirectory} }

// Dump lists the directories that are there. What is no directory, or has a name
// that no pod can have, is not ours.
func (d *Driver) Dump(context.Context) ([]model.Object, error) {
	pods, err := d.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = pods.Close() }()
	entries, err := pods.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.pods, err)
	}
	out := make([]model.Object, 0, len(entries))
	for _, e := range entries {
		name := e.Name()
		if name == trashDir {
			d.trash.wake() // left by an agent before this one, or not yet empty
			continue
		}
		if !e.IsDir() || schema.PodID(name).Validate() != nil {
			continue
		}
		ok, err := d.isSettled(pods, name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %s: %w", d.pods, name, err)
		}
		out = append(out, model.Directory{Path: filepath.Join(d.pods, name), Unsettled: !ok})
	}
	return out, nil
}

// Put makes the directory and gives it its mode, owner and group. Nobody gets in
// before it has them.
func (d *Driver) Put(_ context.Context, want, _ model.Object) error {
	name, err := d.name(want)
	if err != nil {
		return err
	}
	pods, err := d.open()
	if err != nil {
		return err
	}
	defer func() { _ = pods.Close() }()
	if err = unix.Mkdirat(fd(pods), name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("put %s: %w", want.ID(), err)
	}
	dir, err := openDir(pods, name, 0)
	if err != nil {
		return fmt.Errorf("put %s: %w", want.ID(), err)
	}
	defer func() { _ = dir.Close() }()
	if err := settleDir(dir, d.dirMode(name), d.gid); err != nil {
		return fmt.Errorf("put %s: %w", want.ID(), err)
	}
	return nil
}

// Delete removes the directory with all that is in it. What a pod has put there
// can be more than can be removed at once: then the directory goes out of the way
// and is emptied beside the other work.
func (d *Driver) Delete(ctx context.Context, have model.Object) error {
	name, err := d.name(have)
	if err != nil {
		return err
	}
	pods, err := d.open()
	if err != nil {
		return err
	}
	defer func() { _ = pods.Close() }()
	if err := d.trash.remove(ctx, pods, name); err != nil {
		return fmt.Errorf("delete %s: %w", have.ID(), err)
	}
	d.mu.Lock()
	delete(d.serving, name)
	d.mu.Unlock()
	return nil
}

// name is a directory's name in the directory of the pods' directories.
func (d *Driver) name(o model.Object) (string, error) {
	dir, ok := o.(model.Directory)
	if !ok {
		return "", fmt.Errorf("%s is no directory", o.ID())
	}
	name := filepath.Base(dir.Path)
	if filepath.Join(d.pods, name) != dir.Path {
		return "", fmt.Errorf("directory %s is not in %s", dir.Path, d.pods)
	}
	if err := schema.PodID(name).Validate(); err != nil {
		return "", fmt.Errorf("directory %s: %w", dir.Path, err)
	}
	return name, nil
}

// dirMode is the mode of a pod's directory.
func (d *Driver) dirMode(name string) fs.FileMode {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.serving[name] {
		return ServingMode
	}
	return DirMode
}

// isSettled says whether a pod's directory has the owner, group and mode that it
// should have. One in which the pod has served a socket may stay so.
func (d *Driver) isSettled(pods *os.File, name string) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(fd(pods), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, err
	}
	mode := fs.FileMode(st.Mode & 0o7777)
	return (mode == d.dirMode(name) || mode == ServingMode) && int(st.Uid) == os.Geteuid() && (d.gid == unset || int(st.Gid) == d.gid), nil
}
