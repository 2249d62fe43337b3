package install_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema/config"
	"github.com/vpp-cni/vpp-cni/test/privileged"
)

// installed is the tree after an install with everything.
const installed = `-rwxr-xr-x bin/vpp-cni 
Lrwxrwxrwx bin/userspace vpp-cni
-rw------- net.d/10-vpp-cni.conflist "{\"cniVersion\": \"1.0.0\", \"name\": \"vpp\", \"plugins\": [\n  {\"type\": \"vpp-cni\", \"host\": {\"engine\": \"vpp\", \"netType\": \"bridge\"}, \"ipam\": {\"type\": \"host-local\", \"subnet\": \"10.1.0.0/24\"}}\n]}\n"
-rw-r--r-- etc/config.yaml "# Written by vpp-cni install: edits are lost, and vpp-cni uninstall removes the file.\netcd:\n  endpoints: [\"http://10.0.0.1:2379\"]\n\nnode: \"worker-1\"\n"
Lrwxrwxrwx etc/tls tls-SET
drwx------ etc/tls-SET 
-rw------- etc/tls-SET/ca.crt "first ca.crt"
-rw------- etc/tls-SET/tls.crt "first tls.crt"
-rw------- etc/tls-SET/tls.key "first tls.key"
`

// wantTree fails the test unless the node holds want, in whatever order.
func (n *node) wantTree(want string) {
	n.t.Helper()
	have := n.tree()
	if target, err := os.Readlink(filepath.Join(n.etc, "tls")); err == nil {
		have = strings.ReplaceAll(have, strings.TrimPrefix(target, "tls-"), "SET")
	}
	if d := cmp.Diff(sorted(want), sorted(have)); d != "" {
		n.t.Errorf("-want +have\n%s", d)
	}
}

func sorted(s string) []string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	slices.Sort(lines)
	return lines
}

func TestInstallAndUninstall(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	dry := n.run(n.all("--dry-run")...)
	n.wantTree("")
	if want := strings.Count(dry, "would install "); want != 5 {
		t.Errorf("a dry run says\n%s, want 5 files that would be installed", dry)
	}
	got := n.run(n.all()...)
	n.wantTree(installed)
	const said = "installed bin/vpp-cni\ninstalled bin/userspace\ninstalled etc/tls\ninstalled etc/config.yaml\ninstalled net.d/10-vpp-cni.conflist\n"
	if got != said {
		t.Errorf("said\n%s, want\n%s", got, said)
	}
	if f, err := config.Load(filepath.Join(n.etc, "config.yaml")); err != nil || f.Node != "worker-1" || f.Etcd.Endpoints[0] != "http://10.0.0.1:2379" {
		t.Errorf("config.yaml is read as %+v, %v", f, err)
	}
	before := stamps(t, n)
	if got, want := n.run(n.all()...), strings.ReplaceAll(said, "installed", "unchanged"); got != want {
		t.Errorf("the second time it said\n%s, want\n%s", got, want)
	}
	if d := cmp.Diff(before, stamps(t, n)); d != "" {
		t.Errorf("the second time wrote something: -before +after\n%s", d)
	}

	n.run("uninstall", "--dry-run")
	n.wantTree(installed)
	const gone = "removed net.d/10-vpp-cni.conflist\nremoved etc/config.yaml\nremoved etc/tls\nremoved etc/tls-SET\nremoved bin/userspace\nremoved bin/vpp-cni\nremoved etc\n"
	set, err := os.Readlink(filepath.Join(n.etc, "tls"))
	n.ok(err)
	if got := strings.ReplaceAll(n.run("uninstall"), set, "tls-SET"); got != gone {
		t.Errorf("uninstall said\n%s, want\n%s", got, gone)
	}
	n.wantTree("")
	if got := n.run("uninstall"); got != "" {
		t.Errorf("uninstall of nothing said %q", got)
	}
}

// stamps are the inodes and times of what is installed.
func stamps(t *testing.T, n *node) map[string]syscall.Timespec {
	t.Helper()
	out := map[string]syscall.Timespec{}
	for _, p := range []string{"bin/vpp-cni", "bin/userspace", "net.d/10-vpp-cni.conflist", "etc/config.yaml", "etc/tls", "etc/tls/tls.key"} {
		var st syscall.Stat_t
		n.ok(syscall.Lstat(filepath.Join(filepath.Dir(n.bin), p), &st))
		out[p] = st.Ctim
	}
	return out
}

// TestModesAndContentAreMended: what somebody has changed by hand is put right,
// and a file in the place of another kind too.
func TestModesAndContentAreMended(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(n *node) error{
		"mode of the program":  func(n *node) error { return os.Chmod(filepath.Join(n.bin, "vpp-cni"), 0o644) },
		"set-uid bit":          func(n *node) error { return os.Chmod(filepath.Join(n.bin, "vpp-cni"), 0o755|os.ModeSetuid) },
		"mode of the conflist": func(n *node) error { return os.Chmod(filepath.Join(n.conf, "10-vpp-cni.conflist"), 0o666) },
		"mode of the key":      func(n *node) error { return os.Chmod(filepath.Join(n.etc, "tls/tls.key"), 0o644) },
		"content of the key":   func(n *node) error { return os.WriteFile(filepath.Join(n.etc, "tls/tls.key"), []byte("x"), 0o600) },
		"a file beside the key": func(n *node) error {
			return os.WriteFile(filepath.Join(n.etc, "tls/other.key"), []byte("x"), 0o600)
		},
		"conflist gone":  func(n *node) error { return os.Remove(filepath.Join(n.conf, "10-vpp-cni.conflist")) },
		"link gone":      func(n *node) error { return os.Remove(filepath.Join(n.etc, "tls")) },
		"userspace gone": func(n *node) error { return os.Remove(filepath.Join(n.bin, "userspace")) },
		"conflist edited": func(n *node) error {
			return os.WriteFile(filepath.Join(n.conf, "10-vpp-cni.conflist"), []byte(strings.Replace(conflist, "10.1.", "10.2.", 1)), 0o600)
		},
		"directories gone": func(n *node) error {
			for _, d := range []string{n.bin, n.conf, n.etc} {
				if err := os.RemoveAll(d); err != nil {
					return err
				}
			}
			return nil
		},
		"another version of the program": func(n *node) error {
			if err := os.Remove(filepath.Join(n.bin, "vpp-cni")); err != nil {
				return err
			}
			return exec.Command("cp", programs.killable, filepath.Join(n.bin, "vpp-cni")).Run()
		},
		"owner": func(n *node) error {
			if os.Geteuid() != 0 {
				return nil
			}
			return os.Chown(filepath.Join(n.bin, "vpp-cni"), 65534, 65534)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			n.run(n.all()...)
			n.ok(spoil(n))
			n.run(n.all()...)
			n.wantTree(installed)
			if os.Geteuid() == 0 {
				var st syscall.Stat_t
				n.ok(syscall.Stat(filepath.Join(n.bin, "vpp-cni"), &st))
				if st.Uid != 0 || st.Gid != 0 {
					t.Errorf("vpp-cni belongs to %d:%d, want root", st.Uid, st.Gid)
				}
			}
			if got := n.run(n.all()...); strings.Contains(got, "installed") {
				t.Errorf("after mending, the next one said\n%s", got)
			}
		})
	}
}

// TestKilled: wherever an installer is killed, what a runtime sees is whole, the
// network configuration is not there before the rest, and the next installer
// leaves no trace of the killed one.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"vpp-cni", "userspace", "tls", "config", "conflist"} {
		for _, when := range []string{"written", "renamed"} {
			point := "install-" + when + "-" + step
			t.Run(point, func(t *testing.T) {
				t.Parallel()
				n := newNode(t)
				n.killed(point, n.all()...)
				if done := point == "install-renamed-conflist"; exists(filepath.Join(n.conf, "10-vpp-cni.conflist")) != done {
					t.Errorf("a runtime sees the network configuration: %t, want %t", !done, done)
				}
				n.run(n.all()...)
				n.wantTree(installed)
				n.run("uninstall")
				n.wantTree("")
			})
		}
	}
	t.Run("install-written-set", func(t *testing.T) {
		t.Parallel()
		n := newNode(t)
		n.run(n.all()...)
		n.file("tls/tls.key", "second tls.key")
		n.killed("install-written-set", n.all()...)
		if data, err := os.ReadFile(filepath.Join(n.etc, "tls/tls.key")); err != nil || string(data) != "first tls.key" {
			t.Errorf("the key is %q, %v; want the old one", data, err)
		}
		n.run(n.all()...)
		n.wantTree(strings.Replace(installed, "first tls.key", "second tls.key", 1))
	})
	for _, point := range []string{"uninstall-conflist", "uninstall-config", "uninstall-userspace"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			n.run(n.all()...)
			n.killed(point, "uninstall")
			if exists(filepath.Join(n.conf, "10-vpp-cni.conflist")) || !exists(filepath.Join(n.bin, "vpp-cni")) {
				t.Errorf("the network configuration goes first and the program last; there is\n%s", n.tree())
			}
			n.run("uninstall")
			n.wantTree("")
		})
	}
	t.Run("a killed one, then uninstall", func(t *testing.T) {
		t.Parallel()
		n := newNode(t)
		n.killed("install-written-config", n.all()...)
		n.run("uninstall")
		n.wantTree("")
	})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestNeverHalfAFile reads the program, config.yaml and certificates all the time
// while two installers replace them by turns: all that is read is whole, and key
// and certificate are of one set.
func TestNeverHalfAFile(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.run(n.all()...)
	stop, done := make(chan struct{}), make(chan error, 2)
	other := n.file("other.yaml", nodeConfig+"mtu: 1500\n")
	for _, args := range [][]string{n.all(), {"install", "--config", other}} {
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				cmd, stdout, stderr := n.command(programs.plugin, args...)
				if err := cmd.Run(); err != nil {
					t.Errorf("%v\n%s%s", err, stdout, stderr)
					done <- err
					return
				}
			}
		}()
	}
	info, err := os.Stat(programs.plugin)
	n.ok(err)
	swaps, last := 0, ""
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		if st, err := os.Stat(filepath.Join(n.bin, "vpp-cni")); err != nil || st.Size() != info.Size() || st.Mode() != 0o755 {
			t.Fatalf("vpp-cni: %v, %v; want it whole", st, err)
		}
		data, err := os.ReadFile(filepath.Join(n.etc, "config.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse("config.yaml", data); err != nil || len(data) < len(nodeConfig) {
			t.Fatalf("config.yaml %q: %v", data, err)
		}
		if string(data) != last {
			swaps, last = swaps+1, string(data)
		}
	}
	close(stop)
	<-done
	<-done
	if swaps < 3 {
		t.Errorf("config.yaml was seen to change %d times only", swaps)
	}
	n.run(n.all()...)
	n.wantTree(installed)
}

// TestBusy: a program that runs is replaced, and the one that runs goes on.
func TestBusy(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.run(n.all()...)
	busy := exec.CommandContext(t.Context(), filepath.Join(n.bin, "vpp-cni"))
	busy.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=a", "CNI_IFNAME=net1", "CNI_NETNS=/run/netns/a", "CNI_PATH=/"}
	stdin, err := busy.StdinPipe()
	n.ok(err)
	n.ok(busy.Start())
	if _, err := os.OpenFile(filepath.Join(n.bin, "vpp-cni"), os.O_WRONLY, 0); err == nil {
		t.Error("the program is not busy, the test shows nothing")
	}
	cmd, stdout, stderr := n.command(programs.killable, n.all()...)
	if err := cmd.Run(); err != nil || !strings.Contains(stdout.String(), "installed "+filepath.Join(n.bin, "vpp-cni")) {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	n.run("uninstall")
	n.wantTree("")
	n.ok(busy.Process.Signal(syscall.Signal(0)))
	n.ok(stdin.Close())
	_ = busy.Wait() // it says what is wrong with an empty configuration
}

// TestSetGroupDirectory: what is installed is root's group's, also in a directory
// that gives what is made in it a group of its own.
func TestSetGroupDirectory(t *testing.T) {
	t.Parallel()
	privileged.Require(t, "to give a directory away")
	n := newNode(t)
	for _, d := range []string{n.bin, n.conf, n.etc} {
		n.ok(errors.Join(os.Chown(d, 0, 65534), os.Chmod(d, 0o755|os.ModeSetgid)))
	}
	n.run(n.all()...)
	for _, path := range []string{filepath.Join(n.bin, "vpp-cni"), filepath.Join(n.conf, "10-vpp-cni.conflist"), filepath.Join(n.etc, "tls", "tls.key")} {
		st, err := os.Stat(path)
		n.ok(err)
		if sys, ok := st.Sys().(*syscall.Stat_t); !ok || sys.Uid != 0 || sys.Gid != 0 {
			t.Errorf("%s is %+v: want it to be root's, and root's group's", path, st.Sys())
		}
	}
}
