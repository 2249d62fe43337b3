package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// shared is what the process tests have in common: the built programs and one
// real etcd, in which each test has a prefix of its own.
type shared struct {
	bin  string // directory of vpp-cni, killable, userspace, host-local and static
	etcd *etcdtest.Cluster
	cli  *clientv3.Client
}

var programs shared

func TestMain(m *testing.M) {
	flag.Parse()
	if fuzzing() == "" { // the tests mostly wait for the plugin's processes
		if err := flag.Set("test.parallel", "6"); err != nil {
			os.Exit(setupFailed(err))
		}
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cni-test")
	if err != nil {
		return setupFailed(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs.bin = filepath.Join(dir, "bin")
	// Each of a fuzz target's processes comes through here: no target runs the
	// programs, and one needs etcd.
	if fuzzing() == "" {
		if err = build(programs.bin); err != nil {
			return setupFailed(err)
		}
	} else if !strings.Contains(fuzzing(), "FuzzCall") {
		return m.Run()
	}
	if err = os.Mkdir(filepath.Join(dir, "etcd"), 0o700); err != nil {
		return setupFailed(err)
	}
	if programs.etcd, err = etcdtest.New(filepath.Join(dir, "etcd"), etcdtest.Options{}); err != nil {
		return setupFailed(err)
	}
	defer programs.etcd.Close()
	if programs.cli, err = programs.etcd.Client(); err != nil {
		return setupFailed(err)
	}
	defer func() { _ = programs.cli.Close() }()
	return m.Run()
}

// fuzzing is what this process is to fuzz (-fuzz), empty for nothing.
func fuzzing() string { return flag.Lookup("test.fuzz").Value.String() }

func setupFailed(err error) int {
	fmt.Fprintln(os.Stderr, "set up:", err)
	return 1
}

// killable is the plugin with failpoints.
const killable = "vpp-cni-failpoints"

// build makes the plugin with and without failpoints, with the race detector
// where the tests have it, and the real IPAM plugins.
func build(bin string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for name, pkg := range map[string]string{
		"vpp-cni":    ".",
		killable:     ".",
		"host-local": "github.com/containernetworking/plugins/plugins/ipam/host-local",
		"static":     "github.com/containernetworking/plugins/plugins/ipam/static",
	} {
		args := []string{"build", "-o", filepath.Join(bin, name)}
		if pkg == "." && raceEnabled {
			args = append(args, "-race")
		}
		if name == killable {
			args = append(args, "-tags", "failpoints")
		}
		if out, err := exec.CommandContext(ctx, "go", append(args, pkg)...).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return os.Symlink("vpp-cni", filepath.Join(bin, "userspace"))
}
