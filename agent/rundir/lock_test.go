package rundir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLock(t *testing.T) {
	t.Parallel()
	run := t.TempDir()
	dir := filepath.Join(run, "pods")
	if _, err := NewLock(run); err == nil {
		t.Error("a directory that is not there was locked")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	first, err := NewLock(run)
	if err != nil {
		t.Fatal(err)
	}
	taken := func(when string) {
		t.Helper()
		if _, err = NewLock(run); err == nil || !strings.Contains(err.Error(), "is an agent running already?") {
			t.Errorf("%s: %v, want that another agent has it", when, err)
		}
	}
	taken("locked")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("in the directory: %v, %v: want no file of the lock", entries, err)
	}

	// The directory goes and comes back: the lock goes along.
	if err = os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err = first.Keep(); err != nil {
		t.Errorf("keep while it is missing: %v", err)
	}
	if err = os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err = first.Keep(); err != nil {
			t.Errorf("keep: %v", err)
		}
	}
	taken("made anew")

	for range 2 {
		if err = first.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	second, err := NewLock(run)
	if err != nil {
		t.Errorf("after the first one's end: %v", err)
	} else if err := second.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
