//go:build !failpoints

package failpoint_test

import (
	"os/exec"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema/failpoint"
)

// TestNothingHappens: a program without the tag has no points, whatever the
// environment says.
func TestNothingHappens(t *testing.T) {
	t.Setenv("VPP_CNI_FAILPOINTS", "a=kill")
	failpoint.Hit("a")
	if failpoint.On {
		t.Error("a program without the tag says it has failpoints")
	}
	if n := testing.AllocsPerRun(100, func() { failpoint.Hit("a") }); n != 0 {
		t.Errorf("%v allocations a hit, want none", n)
	}
}

// TestWithTheTag runs this package's other tests.
func TestWithTheTag(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "-tags", "failpoints", "-count=1", ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
