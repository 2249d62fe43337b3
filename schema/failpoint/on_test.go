//go:build failpoints

package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain plays the program: with a point named it hits it and ends.
func TestMain(m *testing.M) {
	if name := os.Getenv("HIT"); name != "" {
		start := time.Now()
		Hit(name)
		if time.Since(start) > 150*time.Millisecond {
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// hit runs the program and says how it ended.
func hit(t *testing.T, name, points string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HIT="+name, envPoints+"="+points)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "went on"
	case !errors.As(err, &exit):
		t.Fatal(err)
	case exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return "killed"
	case exit.ExitCode() == 3:
		return "slept"
	case strings.Contains(string(out), "panic: "):
		return "panic"
	}
	return exit.String()
}

func TestHit(t *testing.T) {
	for _, tt := range []struct{ name, points, want string }{
		{"a", "", "went on"},
		{"a", "a=kill", "killed"},
		{"a", "b=kill", "went on"},
		{"a", " b=kill; a=sleep:200ms ;", "slept"},
		{"a", "a=kill%0", "went on"},
		{"a", "a=kill%100", "killed"},
		{"a", "a", "panic"},
		{"a", "a=die", "panic"},
		{"a", "a=kill%101", "panic"},
		{"a", "a=sleep:1", "panic"},
		{"a", "a=kill;a=kill", "panic"},
		{"a", "b=oops", "panic"},
	} {
		if got := hit(t, tt.name, tt.points); got != tt.want {
			t.Errorf("point %s with %q: %s, want %s", tt.name, tt.points, got, tt.want)
		}
	}
}

func TestCasesAreSeeded(t *testing.T) {
	cases := func(seed uint64) (s string, n int) {
		p, err := parse("a=kill%30", seed)
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if p["a"].now() {
				s, n = s+"x", n+1
			} else {
				s += "."
			}
		}
		return s, n
	}
	one, n := cases(1)
	if again, _ := cases(1); again != one {
		t.Error("the same seed gives other cases")
	}
	if other, _ := cases(2); other == one {
		t.Error("another seed gives the same cases")
	}
	if n < 240 || n > 360 {
		t.Errorf("%d of 1000 cases, want about 300", n)
	}
}
