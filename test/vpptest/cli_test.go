package vpptest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

func showCLI(t *testing.T, v *vpptest.VPP, cmds ...string) {
	t.Helper()
	if !v.Real {
		return
	}
	for _, c := range cmds {
		out, _ := exec.Command(filepath.Join(filepath.Dir(os.Getenv("VPP")), "vppctl"), "-s", filepath.Join(v.Dir, "cli.sock"), c).CombinedOutput()
		t.Logf("# %s\n%s", c, out)
	}
}
