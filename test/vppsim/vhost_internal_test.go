package vppsim

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// TestVhostListenIsNotRaced: who may write in the directory puts a link in the
// place of each socket that is made. What it leads to keeps its mode.
func TestVhostListenIsNotRaced(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "file")
	path, link := filepath.Join(dir, "s"), filepath.Join(dir, "link")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			if st, err := os.Lstat(path); err == nil && st.Mode().Type() == os.ModeSocket {
				_ = os.Rename(link, path)
			}
		}
	}()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		_ = os.Symlink(outside, link)
		if l, err := listenVhost(path); err == nil {
			_ = l.Close()
		}
	}
	stop.Store(true)
	<-done
	if st, err := os.Stat(outside); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("outside: %v, %v: want it untouched", st, err)
	}
}
