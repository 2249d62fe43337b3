// Package node_test installs VPP CNI on a plain node, as deploy/node says, and has
// a real containerd call it over CRI: pods, faults, and taking it away. Kubernetes
// is test/kubernetes' business.
package node_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/test/machine"
)

const (
	// binEnv names the directory of the built programs; the Makefile sets it.
	binEnv = "NODE_BIN"
	// vppEnv names a real VPP for the host; pods have the simulator.
	vppEnv = "VPP"

	nodeName     = "worker-1"
	cgroupParent = "/vpp-cni-node"
)

// ours is the node: nothing of it is seen on the machine that runs the tests.
var ours = machine.Machine{
	Name: "node", HostName: nodeName, Address: "192.0.2.1/24",
	Cgroups: []string{"/sys/fs/cgroup" + cgroupParent, "/sys/fs/cgroup/*" + cgroupParent}, // v2 and v1
}

// TestMain moves the tests to a machine of their own. Where they cannot run it says
// why, and in CI that is a failure.
func TestMain(m *testing.M) {
	if os.Getenv(binEnv) == "" {
		fmt.Println("THE TESTS ON A PLAIN NODE DO NOT RUN: make test-node BUILDS WHAT THEY NEED AND RUNS THEM")
		os.Exit(0)
	}
	if reason := unfit(); reason != "" {
		fmt.Println("THE TESTS ON A PLAIN NODE DO NOT RUN: " + strings.ToUpper(reason))
		if os.Getenv("CI") != "" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if vpp := os.Getenv(vppEnv); vpp != "" { // its plugins are beside it
		ours.Keep = []string{filepath.Dir(filepath.Dir(vpp))}
	}
	if ours.Inside() {
		os.Exit(m.Run())
	}
	status, err := ours.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/node:", err)
	}
	os.Exit(status)
}

// unfit is why this machine cannot run the tests; empty: it can.
func unfit() string {
	if os.Geteuid() != 0 {
		return "containerd needs root"
	}
	for _, p := range []string{"containerd", "ctr", "runc", "ip", "unshare", "nsenter", "systemctl", "systemd-sysusers", "/usr/lib/systemd/systemd", "logrotate"} {
		if _, err := exec.LookPath(p); err != nil {
			return p + " is not installed: systemd, containerd, runc, iproute2, logrotate and util-linux are needed"
		}
	}
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		return "there are no cgroups: " + err.Error()
	}
	return ""
}

// bin is a built program.
func bin(name string) string { return filepath.Join(os.Getenv(binEnv), name) }
