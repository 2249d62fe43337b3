package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/vpp-cni/vpp-cni/schema/failpoint"
)

const (
	// setLink is the name under which config.yaml finds the certificates.
	setLink   = "tls"
	setPrefix = "tls-"
	setDigits = 12
	setMode   = fs.ModeDir | 0o700
	keyMode   = 0o600
)

var setName = regexp.MustCompile(`^tls-[0-9a-f]{12}$`)

// putSet installs certificate, key and CA as one: nobody finds a certificate
// beside another one's key, since a link is swapped from set to set.
func (w *work) putSet(s *set) error {
	link, name := filepath.Join(w.etcDir, setLink), s.name()
	if st, err := os.Lstat(link); err == nil && !setOf(link, st) {
		return fmt.Errorf("install %s: what is there was not installed by vpp-cni: move it away", link)
	}
	dir := filepath.Join(w.etcDir, name)
	whole, err := s.at(dir)
	if err != nil {
		return fmt.Errorf("install %s: %w", dir, err)
	}
	if !whole && !w.dryRun {
		if err := s.write(dir); err != nil {
			return fmt.Errorf("install %s: %w", dir, err)
		}
	}
	if err := w.link("tls", link, name); err != nil {
		return err
	}
	return w.removeSets(name)
}

// at says whether dir holds just this set.
func (s *set) at(dir string) (bool, error) {
	st, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil || st.Mode() != setMode || !owned(st) || len(entries) != len(s.names) {
		return false, err
	}
	for _, n := range s.names {
		if same, err := equal(filepath.Join(dir, n), keyMode, bytesOf(s.data[n])); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// write makes dir hold this set.
func (s *set) write(dir string) error {
	temp := tempName(dir)
	if err := os.Mkdir(temp, setMode.Perm()); err != nil {
		return err
	}
	if err := own(temp); err != nil {
		return err
	}
	for _, n := range s.names {
		if err := write(filepath.Join(temp, n), keyMode, bytesOf(s.data[n])); err != nil {
			return err
		}
	}
	if err := syncDir(temp); err != nil {
		return err
	}
	failpoint.Hit("install-written-set")
	// One with the same name that somebody has changed makes room.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(temp, dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // a directory of ours
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// setOf says whether path is the link to one of our sets.
func setOf(path string, st fs.FileInfo) bool {
	if st.Mode().Type() != fs.ModeSymlink {
		return false
	}
	target, err := os.Readlink(path)
	return err == nil && setName.MatchString(target)
}

// removeSets removes all sets but keep.
func (w *work) removeSets(keep string) error {
	entries, err := os.ReadDir(w.etcDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == keep || !setName.MatchString(e.Name()) {
			continue
		}
		if err := w.removeAll(filepath.Join(w.etcDir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
