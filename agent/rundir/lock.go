package rundir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Lock is the claim of one agent to a run-dir: an flock on the directory of the
// pods' directories, which ends with the process, however that ends. No file is
// made, and nobody but root can open that directory, so that no other user can
// hold the lock and keep the agent out.
type Lock struct {
	path string

	mu  sync.Mutex
	dir *os.File
}

// NewLock locks the run-dir, which New has made. Another agent that has it is an
// error.
func NewLock(runDir string) (*Lock, error) {
	path := filepath.Join(runDir, podsDir)
	dir, err := lock(path)
	if err != nil {
		return nil, err
	}
	return &Lock{path: path, dir: dir}, nil
}

func lock(path string) (*os.File, error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, fmt.Errorf("run-dir: %w", err)
	}
	err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == nil:
		return dir, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = errors.New("another agent has locked it: is an agent running already?")
	}
	_ = dir.Close()
	return nil, fmt.Errorf("run-dir %s: %w", filepath.Dir(path), err)
}

// Keep locks the directory again where it has been removed and made anew: the
// lock is on the directory, not on its name. One that is missing is not locked.
func (l *Lock) Keep() error {
	now, err := os.Stat(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run-dir: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == nil {
		return nil
	}
	was, err := l.dir.Stat()
	if err != nil {
		return fmt.Errorf("run-dir: %w", err)
	}
	if os.SameFile(was, now) {
		return nil
	}
	dir, err := lock(l.path)
	if err != nil {
		return err
	}
	_ = l.dir.Close()
	l.dir = dir
	return nil
}

// Close gives the run-dir free.
func (l *Lock) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == nil {
		return nil
	}
	err := l.dir.Close()
	l.dir = nil
	return err
}
