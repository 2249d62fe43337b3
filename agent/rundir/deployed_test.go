package rundir

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/privileged"
)

// Root with all capabilities can do with a pod's directory what the agent that is
// delivered cannot. So here a process does the agent's part that has what the unit
// and the manifests leave it, and no more.

// deployedRun tells that process its run-dir.
const deployedRun = "RUNDIR_AS_DEPLOYED"

// as starts this test program with capabilities, all of which the agent has.
func as(t *testing.T, caps []string, env string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append(args, "-test.v")...)
	cmd.Env = append(os.Environ(), env)
	var out []byte
	err := privileged.Bound(t, caps, func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	return string(out), err
}

// needPrivileges are the tests that plant what the agent's capabilities do not
// suffice to plant.
const needPrivileges = "^(TestAsDeployed|TestHostileAsDeployed|TestMountsAreNotEmptied|TestImmutableFileHoldsNobodyUp|TestFullDisk|TestWhoGetsIn)$"

// TestHostileAsDeployed runs the other tests of this package once more.
func TestHostileAsDeployed(t *testing.T) {
	privileged.Require(t, "to drop capabilities")
	t.Parallel()
	out, err := as(t, privileged.Deployed(t), "GORACE=", "-test.skip="+needPrivileges)
	if err != nil || !strings.Contains(out, "--- PASS: TestHugeTrees") || !strings.Contains(out, "--- PASS: TestOwnerAndModeComeBack") {
		t.Errorf("%v:\n%s", err, out)
	}
}

const podUser, otherUser = 12345, 12346

// leave is what a pod has left in its directory, or made of it. It is root there,
// with CAP_CHOWN and the users it wants.
var leave = map[string]func(dir string) []error{
	"its directory is another user's": func(dir string) []error {
		return []error{os.WriteFile(dir+"/f", nil, 0o600), os.Chmod(dir, 0o700), os.Chown(dir, podUser, podUser)}
	},
	"its directory lets nobody in": func(dir string) []error {
		return []error{os.WriteFile(dir+"/f", nil, 0o600), os.Chmod(dir, 0)}
	},
	"a full directory of another user's": func(dir string) []error {
		return foreign(dir+"/x", 0o700, podUser, podUser)
	},
	"a tree of several users": func(dir string) []error {
		return append(foreign(dir+"/x/y/z", 0, podUser, otherUser),
			os.Chmod(dir+"/x/y", 0o100), os.Chown(dir+"/x/y", otherUser, 0), os.Chmod(dir+"/x", 0), os.Chown(dir+"/x", podUser, podUser))
	},
	"sticky bits": func(dir string) []error {
		errs := foreign(dir+"/x", os.ModeSticky|0o777, podUser, otherUser)
		errs = append(errs, foreign(dir+"/x/y", os.ModeSticky|0o700, otherUser, podUser)...)
		return append(errs, foreign(dir, os.ModeSticky|0o777, podUser, otherUser)...)
	},
}

// foreign makes a directory of owner with files of another user's.
func foreign(dir string, mode os.FileMode, owner, files int) []error {
	errs := []error{os.MkdirAll(dir, 0o700)}
	for i := range few + 2 { // more than goes at once
		name := filepath.Join(dir, fmt.Sprint("f", i))
		errs = append(errs, os.WriteFile(name, make([]byte, 512), 0o600), os.Chown(name, files, files))
	}
	name := filepath.Join(dir, "net1.memif")
	return append(errs, os.WriteFile(name, nil, 0o600), os.Chown(name, files, files), os.Chown(dir, owner, owner), os.Chmod(dir, mode))
}

// TestAsDeployed: whatever a pod has made of its directory, it is put back, its
// sockets have room, and it can be removed. Each of the agent's capabilities is
// needed for it, and they suffice.
func TestAsDeployed(t *testing.T) {
	if run := os.Getenv(deployedRun); run != "" {
		actAsDeployed(t, run)
		return
	}
	privileged.Require(t, "to give files away and drop capabilities")
	t.Parallel()
	caps := privileged.Deployed(t)
	for what, plant := range leave {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if out, err := tryAsDeployed(t, caps, plant); err != nil {
				t.Errorf("with %v: %v:\n%s", caps, err, out)
			}
		})
	}
	for _, c := range caps {
		t.Run("without "+c, func(t *testing.T) {
			t.Parallel()
			less := slices.DeleteFunc(slices.Clone(caps), func(other string) bool { return other == c })
			for _, plant := range leave {
				if _, err := tryAsDeployed(t, less, plant); err != nil {
					return
				}
			}
			t.Errorf("nothing fails without %s: then the agent should not have it", c)
		})
	}
}

// tryAsDeployed plants in one directory for each thing that the agent does.
func tryAsDeployed(t *testing.T, caps []string, plant func(dir string) []error) (string, error) {
	t.Helper()
	d, _ := setup(t, Config{})
	for _, does := range []string{"put", "clear", "delete"} {
		for _, err := range plant(pod(t, d, does).Path) {
			must(t, err)
		}
	}
	return as(t, caps, deployedRun+"="+d.run, "-test.run=^TestAsDeployed$")
}

// actAsDeployed is the agent's part.
func actAsDeployed(t *testing.T, run string) {
	t.Helper()
	d, err := New(Config{RunDir: run})
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	at := func(name string) model.Directory { return model.Directory{Path: filepath.Join(d.pods, name)} }
	if names := dump(t, d); len(names) != 3 {
		t.Fatalf("found %v", names)
	}
	must(t, d.Put(t.Context(), at("put"), nil))
	if names, err := os.ReadDir(at("put").Path); err != nil || len(names) == 0 {
		t.Errorf("what was put back: %v, %v", names, err)
	}
	socket := filepath.Join(at("clear").Path, "net1.memif")
	must(t, d.Clear(t.Context(), socket))
	if !gone(socket) {
		t.Error("what stands in the socket's place is still there")
	}
	must(t, unix.Mknod(socket, unix.S_IFSOCK|0o600, 0))
	must(t, d.Settle(socket))
	must(t, d.PodServes(socket))
	for _, name := range []string{"delete", "clear", "put"} {
		must(t, d.Delete(t.Context(), at(name)))
		if !gone(at(name).Path) {
			t.Errorf("the directory %s is still there", name)
		}
	}
	eventually(t, "the trash is empty, or cannot be emptied", func() bool {
		d.trash.mu.Lock()
		defer d.trash.mu.Unlock()
		return !d.trash.busy
	})
	must(t, d.trash.work()) // of what came while it was about to end
	if !gone(filepath.Join(d.pods, trashDir)) {
		t.Error("the trash is not empty")
	}
}
