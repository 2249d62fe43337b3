// Package rundir keeps the pods' directories of sockets under the agent's
// run-dir. It makes, lists and removes directories and settles who may use a
// socket; what is in a socket is VPP's business.
package rundir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

const (
	// DirMode is the mode of a pod's directory.
	DirMode fs.FileMode = 0o750
	// rootMode lets VPP and pods walk through to their directory.
	rootMode fs.FileMode = 0o755
	// podsDir is where the pods' directories are.
	podsDir = "pods"
	unset   = -1
)

// Config says where the directories are and who may use what is in them.
type Config struct {
	// RunDir is the agent's directory, an absolute path.
	RunDir string
	// SocketMode is the mode of sockets in octal; empty: as VPP makes them.
	SocketMode string
	// SocketGroup is the group of directories and sockets, a name or a number;
	// empty: the agent's, and VPP's.
	SocketGroup string
}

// Driver makes and removes the pods' directories. Every step is taken inside
// the run-dir (os.Root): a symbolic link that somebody has put there leads
// nowhere else.
type Driver struct {
	pods string
	mode fs.FileMode // 0: as VPP makes them
	gid  int         // unset: as it is
}

// New checks cfg and makes the run-dir.
func New(cfg Config) (*Driver, error) {
	d := &Driver{pods: filepath.Join(cfg.RunDir, podsDir), gid: unset}
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
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	return d, root.Close()
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
func (d *Driver) open() (*os.Root, error) {
	if err := os.MkdirAll(d.pods, rootMode); err != nil {
		return nil, fmt.Errorf("run-dir: %w", err)
	}
	root, err := os.OpenRoot(d.pods)
	if err != nil {
		return nil, fmt.Errorf("run-dir: %w", err)
	}
	return root, nil
}

// Kinds is directories.
func (d *Driver) Kinds() []model.Kind { return []model.Kind{model.KindDirectory} }

// Dump lists the directories that are there. What is no directory, or has a name
// that no pod can have, is not ours.
func (d *Driver) Dump(context.Context) ([]model.Object, error) {
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.pods, err)
	}
	out := make([]model.Object, 0, len(entries))
	for _, e := range entries {
		if e.IsDir() && schema.PodID(e.Name()).Validate() == nil {
			out = append(out, model.Directory{Path: filepath.Join(d.pods, e.Name())})
		}
	}
	return out, nil
}

// Put makes the directory and gives it its mode and group.
func (d *Driver) Put(_ context.Context, want, _ model.Object) error {
	name, err := d.name(want)
	if err != nil {
		return err
	}
	root, err := d.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err = root.Mkdir(name, DirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("put %s: %w", want.ID(), err)
	}
	st, err := root.Lstat(name)
	if err != nil {
		return fmt.Errorf("put %s: %w", want.ID(), err)
	}
	if !st.IsDir() {
		return fmt.Errorf("put %s: what is there is no directory", want.ID())
	}
	if err := root.Chmod(name, DirMode); err != nil { // Mkdir's mode went through the umask
		return fmt.Errorf("put %s: %w", want.ID(), err)
	}
	return d.own(root, name)
}

// Delete removes the directory with all that is in it.
func (d *Driver) Delete(_ context.Context, have model.Object) error {
	name, err := d.name(have)
	if err != nil {
		return err
	}
	root, err := d.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.RemoveAll(name); err != nil {
		return fmt.Errorf("delete %s: %w", have.ID(), err)
	}
	return nil
}

// Settle gives a socket that VPP has made its mode and group.
func (d *Driver) Settle(socket string) error {
	if d.mode == 0 && d.gid == unset {
		return nil
	}
	name, err := filepath.Rel(d.pods, socket)
	if err != nil || !filepath.IsLocal(name) {
		return fmt.Errorf("socket %s is not under %s", socket, d.pods)
	}
	root, err := d.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	st, err := root.Lstat(name)
	if err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("socket %s: what is there is no socket", socket)
	}
	if d.mode != 0 {
		if err := root.Chmod(name, d.mode); err != nil {
			return fmt.Errorf("socket %s: %w", socket, err)
		}
	}
	return d.own(root, name)
}

func (d *Driver) own(root *os.Root, name string) error {
	if d.gid == unset {
		return nil
	}
	if err := root.Lchown(name, unset, d.gid); err != nil {
		return fmt.Errorf("group of %s: %w", filepath.Join(d.pods, name), err)
	}
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
