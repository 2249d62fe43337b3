package kubernetes_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/test/kubernetes/cluster"
)

// binEnv names the directory of the built programs; the Makefile sets it.
const binEnv = "KUBERNETES_BIN"

// TestMain moves the tests into namespaces of their own. Where they cannot run it
// says why, and in CI that is a failure.
func TestMain(m *testing.M) {
	if os.Getenv(binEnv) == "" {
		fmt.Println("THE TESTS ON KUBERNETES DO NOT RUN: make test-kubernetes BUILDS WHAT THEY NEED AND RUNS THEM")
		os.Exit(0)
	}
	if reason := unfit(); reason != "" {
		fmt.Println("THE TESTS ON KUBERNETES DO NOT RUN: " + strings.ToUpper(reason))
		if os.Getenv("CI") != "" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if cluster.Machine.Inside() {
		os.Exit(m.Run())
	}
	status, err := cluster.Machine.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/kubernetes:", err)
	}
	os.Exit(status)
}

// unfit is why this machine cannot run the tests; empty: it can.
func unfit() string {
	if os.Geteuid() != 0 {
		return "a kubelet and containerd need root"
	}
	for _, p := range []string{"containerd", "ctr", "runc", "ip", "openssl"} {
		if _, err := exec.LookPath(p); err != nil {
			return p + " is not installed"
		}
	}
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		return "there are no cgroups: " + err.Error()
	}
	return ""
}

// bin is a built program.
func bin(name string) string { return filepath.Join(os.Getenv(binEnv), name) }
