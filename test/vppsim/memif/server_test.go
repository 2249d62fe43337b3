package memif

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestListen(t *testing.T) {
	dir := t.TempDir()
	live := filepath.Join(dir, "live.sock")
	listen(t, live)
	dead := filepath.Join(dir, "dead.sock")
	s, err := Listen(dead)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"new", filepath.Join(dir, "new.sock"), ""},
		{"left by a dead listener", dead, ""},
		{"a live listener", live, "active listener"},
		{"another file", file, "already exists"},
		{"missing directory", filepath.Join(dir, "none", "x.sock"), "no such file"},
		{"path of 108 characters", "/" + strings.Repeat("x", 107), "invalid argument"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Listen(tt.path)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				var st os.FileInfo
				st, err = os.Stat(tt.path)
				if err != nil || st.Mode() != os.ModeSocket|0o775 {
					t.Errorf("mode %v, %v", st.Mode(), err)
				}
				s.Close()
				if _, err = os.Stat(tt.path); err != nil {
					t.Errorf("the socket file is gone: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestListenIsNotRaced: who may write in the directory puts a link in the place of
// each socket that is made. What it leads to keeps its mode.
func TestListenIsNotRaced(t *testing.T) {
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
	for end := time.Now().Add(time.Second); time.Now().Before(end); _ = os.Remove(path) {
		_ = os.Symlink(outside, link)
		if s, err := Listen(path); err == nil {
			s.Close()
		}
	}
	stop.Store(true)
	<-done
	if st, err := os.Stat(outside); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("outside: %v, %v: want it untouched", st, err)
	}
}
