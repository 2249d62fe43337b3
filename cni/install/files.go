package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vpp-cni/vpp-cni/schema/failpoint"
)

const (
	// tempPrefix begins the names of what is not finished. Runtimes read
	// configurations by their names' ends, which these have not.
	tempPrefix = ".vpp-cni-install-"
	dirMode    = 0o755
	lockWait   = 30 * time.Second
	lockPoll   = 50 * time.Millisecond
)

// source opens what is to be written, as often as it is read.
type source func() (io.ReadCloser, error)

func bytesOf(b []byte) source {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func fileOf(path string) source {
	return func() (io.ReadCloser, error) { return os.Open(path) } //nolint:gosec // the operator names the file
}

// inDir runs do while no other installer works in dir, which is there
// afterwards, and without what a killed one left in it.
func (w *work) inDir(dir string, do func() error) (err error) {
	if _, err = os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		w.say("made", dir, "")
		if w.dryRun {
			return do()
		}
		if err = os.MkdirAll(dir, dirMode); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if w.dryRun {
		return do()
	}
	d, err := lock(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := clean(dir); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return d.Sync()
}

// lock takes dir's lock, which ends with the file.
func lock(dir string) (*os.File, error) {
	d, err := os.Open(dir) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(lockPoll) {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			_ = d.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
	}
}

// clean removes what a killed installer left in dir.
func clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// put makes path a file with mode and content, and says so. point names the step
// for tests that kill it.
func (w *work) put(point, path string, mode fs.FileMode, content source) error {
	same, err := equal(path, mode, content)
	if err != nil {
		return fmt.Errorf("install %s: %w", path, err)
	}
	if same {
		w.say("unchanged", path, "")
		return nil
	}
	if w.dryRun {
		w.say("installed", path, "")
		return nil
	}
	temp := tempName(path)
	if err := write(temp, mode, content); err != nil {
		return fmt.Errorf("install %s: %w", path, errors.Join(err, removeQuietly(temp)))
	}
	failpoint.Hit("install-written-" + point)
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("install %s: %w", path, errors.Join(err, removeQuietly(temp)))
	}
	failpoint.Hit("install-renamed-" + point)
	w.say("installed", path, "")
	return nil
}

// tempName is beside path; the directory's lock makes it ours.
func tempName(path string) string {
	return filepath.Join(filepath.Dir(path), tempPrefix+filepath.Base(path)+".tmp")
}

func removeQuietly(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil // a file system that is read-only would say so first
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("then, cleaning up: %w", err)
	}
	return nil
}

// write makes a new file and waits until it is on disk.
func write(path string, mode fs.FileMode, content source) (err error) {
	in, err := content()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // a name of ours in a directory that the operator names
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := own(out.Name()); err != nil {
		return err
	}
	if err := out.Chmod(mode); err != nil { // after the owner: chown takes bits away; and past the umask
		return err
	}
	return out.Sync()
}

// own gives path to root where root asks: a directory with the set-group bit
// would give it another group.
func own(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, 0, 0)
}

// equal says whether path is a file with this mode, owner and content already.
func equal(path string, mode fs.FileMode, content source) (bool, error) {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if st.IsDir() {
		return false, errors.New("a directory is in its place")
	}
	if st.Mode() != mode || !owned(st) {
		return false, nil
	}
	want, err := content()
	if err != nil {
		return false, err
	}
	defer func() { _ = want.Close() }()
	have, err := os.Open(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return false, err
	}
	defer func() { _ = have.Close() }()
	return sameBytes(want, have)
}

func owned(st fs.FileInfo) bool {
	if os.Geteuid() != 0 {
		return true
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && sys.Uid == 0 && sys.Gid == 0
}

// sameBytes compares two streams without holding them: the plugin is large.
func sameBytes(a, b io.Reader) (bool, error) {
	const block = 64 << 10
	x, y := make([]byte, block), make([]byte, block)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		endA, endB := isEnd(errA), isEnd(errB)
		if endA && endB {
			return true, nil
		}
		if errA != nil && !endA {
			return false, errA
		}
		if errB != nil && !endB {
			return false, errB
		}
	}
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// link makes path a symbolic link to target, in one step.
func (w *work) link(point, path, target string) error {
	if have, err := os.Readlink(path); err == nil && have == target {
		w.say("unchanged", path, "")
		return nil
	}
	if w.dryRun {
		w.say("installed", path, "")
		return nil
	}
	temp := tempName(path)
	if err := os.Symlink(target, temp); err != nil {
		return fmt.Errorf("install %s: %w", path, err)
	}
	failpoint.Hit("install-written-" + point)
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("install %s: %w", path, errors.Join(err, removeQuietly(temp)))
	}
	failpoint.Hit("install-renamed-" + point)
	w.say("installed", path, "")
	return nil
}
