package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/vpp-cni/vpp-cni/schema/failpoint"
)

const configName = "config.yaml"

// uninstall removes what install has put on the node, the network configuration
// first: a runtime that does not see it does not start the plugin.
func (w *work) uninstall() error {
	for _, dir := range []struct {
		path string
		do   func() error
	}{{w.confDir, w.unconfigure}, {w.etcDir, w.forget}, {w.binDir, w.unlink}} {
		if _, err := os.Stat(dir.path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := w.inDir(dir.path, dir.do); err != nil {
			return err
		}
	}
	return w.removeIfEmpty(w.etcDir)
}

// unconfigure removes the network configuration, and tells of others that need
// the plugin.
func (w *work) unconfigure() error {
	name := filepath.Base(w.conflist)
	if err := w.removeIf(filepath.Join(w.confDir, name), ourConflist, "no plugin in it is vpp-cni's"); err != nil {
		return err
	}
	failpoint.Hit("uninstall-conflist")
	entries, err := os.ReadDir(w.confDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(w.confDir, e.Name())
		if e.Name() == name || !configuration(e.Name()) {
			continue
		}
		if data, err := readSmall(path); err == nil && usesUs(data) {
			w.say("left", path, "it needs vpp-cni, and --conflist does not name it")
		}
	}
	return nil
}

// forget removes the node's configuration and the certificates.
func (w *work) forget() error {
	if err := w.removeIf(filepath.Join(w.etcDir, configName), ourConfig, "install did not write it"); err != nil {
		return err
	}
	failpoint.Hit("uninstall-config")
	link := filepath.Join(w.etcDir, setLink)
	if st, err := os.Lstat(link); err == nil {
		if !setOf(link, st) {
			w.say("left", link, "install did not write it")
		} else if err := w.remove(link); err != nil {
			return err
		}
	}
	return w.removeSets("")
}

// unlink removes the plugin, its second name first.
func (w *work) unlink() error {
	if err := w.removeIf(filepath.Join(w.binDir, userspaceName), ourUserspace, "it is another program"); err != nil {
		return err
	}
	failpoint.Hit("uninstall-userspace")
	return w.removeIf(filepath.Join(w.binDir, pluginName), ourProgram, "it is another program")
}

// removeIf removes path where it is ours; what is not there is done.
func (w *work) removeIf(path string, ours func(string) (bool, error), why string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ok, err := ours(path)
	if err != nil {
		return fmt.Errorf("uninstall %s: %w", path, err)
	}
	if !ok {
		w.say("left", path, why)
		return nil
	}
	return w.remove(path)
}

func (w *work) remove(path string) error {
	w.say("removed", path, "")
	if w.dryRun {
		return nil
	}
	return os.Remove(path)
}

func (w *work) removeAll(path string) error {
	w.say("removed", path, "")
	if w.dryRun {
		return nil
	}
	return os.RemoveAll(path)
}

// removeIfEmpty removes a directory that nobody else uses.
func (w *work) removeIfEmpty(dir string) error {
	if w.dryRun {
		return nil
	}
	err := os.Remove(dir)
	switch {
	case err == nil:
		w.say("removed", dir, "")
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.EROFS):
		return nil // a mount point is its owner's
	}
	return err
}
