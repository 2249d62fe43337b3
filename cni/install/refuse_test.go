package install_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/privileged"
)

// TestRefused: what is wrong is named, before anything is touched.
func TestRefused(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	files := 0
	file := func(content, ext string) string {
		files++
		return n.file(strconv.Itoa(files)+ext, content)
	}
	config := func(content string) string { return file(content, ".yaml") }
	list := func(content string) string { return file(content, ".conflist") }
	tests := []struct {
		name string
		code int
		want string
		args []string
	}{
		{"unknown key", 1, `unknown field "nodes"`, []string{"--config", config("nodes: x\n")}},
		{"wrong value", 1, "mtu ", []string{"--config", config("mtu: 5\n")}},
		{"missing file", 1, "no such file", []string{"--config", "/nowhere/config.yaml"}},
		{"a directory", 1, "not a regular file", []string{"--config", n.src}},
		{"another node", 1, `node is "a", and --node says "b"`, []string{"--config", config("node: a\n"), "--node", "b"}},
		{"flow style", 1, "cannot be added", []string{"--config", config("{mtu: 1500}"), "--node", "b"}},
		{"two documents", 1, "cannot be added", []string{"--config", config("mtu: 1500\n---\nmtu: 9000\n"), "--node", "b"}},
		{"empty node", 1, "cannot be added", []string{"--config", config("node: \"\"\n"), "--node", "b"}},
		{"node without a file", 2, "--config", []string{"--node", "b"}},
		{"node's name", 2, "node ", []string{"--config", config("mtu: 1400\n"), "--node", "a/b"}},
		{"no JSON", 1, "invalid character", []string{"--conflist", list("{x")}},
		{"another plugin's list", 1, "no plugin in it has the type vpp-cni or userspace", []string{"--conflist", list(foreignConflist)}},
		{"name that no runtime reads", 1, "no runtime reads", []string{"--conflist", n.file("10-vpp.yaml", conflist)}},
		{"list with an unknown field", 1, "host.netTyp is not known", []string{"--conflist", list(strings.Replace(conflist, "netType", "netTyp", 1))}},
		{"list with a wrong value", 1, "netType", []string{"--conflist", list(strings.Replace(conflist, `"bridge"`, `"bridged"`, 1))}},
		{"list without a name", 1, "name is missing", []string{"--conflist", list(strings.Replace(conflist, `"name": "vpp", `, "", 1))}},
		{"no certificates", 1, "no file in", []string{"--tls", n.conf}},
		{"plugin missing", 1, "--plugin /nowhere", []string{"--plugin", "/nowhere"}},
		{"unknown flag", 2, "not defined", []string{"--bindir", "/x"}},
		{"unknown argument", 2, `unknown argument "x"`, []string{"x"}},
		{"relative directory", 2, "absolute", []string{"--etc-dir", "etc"}},
		{"short watch", 2, "--watch", []string{"--watch", "1ms"}},
	}
	for _, tt := range tests {
		n.fails(tt.code, tt.want, append([]string{"install"}, tt.args...)...)
	}
	n.wantTree("")
	n.fails(2, `unknown argument`, "uninstall", "x")
	if out := n.run("install", "--help"); out != "" {
		t.Errorf("help on standard output: %q", out)
	}
}

// TestForeign: what is somebody else's is neither overwritten nor removed.
func TestForeign(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	foreign := map[string]string{
		"bin/vpp-cni": "#!/bin/sh\n", "bin/userspace": "#!/bin/sh\n", "bin/host-local": "theirs",
		"net.d/10-vpp-cni.conflist": foreignConflist, "net.d/20-other.conflist": conflist, "net.d/99-loopback.conf": `{"type": "loopback"}`,
		"etc/config.yaml": "node: mine\n", "etc/other": "theirs",
	}
	put := func() {
		for name, content := range foreign {
			n.ok(os.WriteFile(filepath.Join(filepath.Dir(n.bin), name), []byte(content), 0o640))
		}
		n.ok(os.MkdirAll(filepath.Join(n.etc, "tls"), 0o755))
	}
	put()
	before := n.tree()
	for _, want := range []string{"bin/vpp-cni: what is there", "etc/config.yaml: what is there", "net.d/10-vpp-cni.conflist: what is there"} {
		cmd, _, stderr := n.command(programs.plugin, n.all()...)
		if err := cmd.Run(); err == nil || !strings.Contains(n.short(stderr.String()), want) {
			t.Errorf("install: %v, want it to say %q\n%s", err, want, stderr)
		}
	}
	got := n.run("uninstall")
	for _, want := range []string{"left net.d/10-vpp-cni.conflist", "left net.d/20-other.conflist", "left etc/config.yaml", "left etc/tls:", "left bin/userspace", "left bin/vpp-cni"} {
		if !strings.Contains(got, want) {
			t.Errorf("uninstall said\n%s, want %q", got, want)
		}
	}
	if after := n.tree(); after != before {
		t.Errorf("changed from\n%sto\n%s", before, after)
	}
	for _, name := range []string{"bin/vpp-cni", "net.d/10-vpp-cni.conflist", "etc/config.yaml"} {
		n.ok(os.Remove(filepath.Join(filepath.Dir(n.bin), name)))
	}
	n.fails(1, "etc/tls: what is there", n.all()...)
	n.ok(os.Remove(filepath.Join(n.etc, "tls")))

	theirs := n.file("host-local", "ours")
	got = n.run(n.all("--plugin", theirs, "--plugin", n.file("static", "ours"))...)
	for _, want := range []string{"left bin/userspace: another program", "left bin/host-local: the node has", "installed bin/static"} {
		if !strings.Contains(got, want) {
			t.Errorf("install said\n%s, want %q", got, want)
		}
	}
	n.run(n.all("--take-userspace")...)
	if target, err := os.Readlink(filepath.Join(n.bin, "userspace")); err != nil || target != "vpp-cni" {
		t.Errorf("userspace leads to %q, %v", target, err)
	}
	n.run("uninstall")
	n.wantTree(`-rw-r----- bin/host-local "theirs"
-rwxr-xr-x bin/static "ours"
-rw-r----- net.d/20-other.conflist ` + quote(conflist) + `
-rw-r----- net.d/99-loopback.conf "{\"type\": \"loopback\"}"
-rw-r----- etc/other "theirs"
`)
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// TestNotAllowed: a directory that this user must not write to, and one that is
// mounted read-only.
func TestNotAllowed(t *testing.T) {
	t.Parallel()
	t.Run("another user", func(t *testing.T) {
		t.Parallel()
		privileged.Require(t, "to become another user")
		n := newNode(t)
		for d := n.bin; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
			n.ok(os.Chmod(d, 0o755))
		}
		cmd, _, stderr := n.command(programs.plugin, n.all()...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if err := cmd.Run(); err == nil || !strings.Contains(n.short(stderr.String()), "install bin/vpp-cni: open bin/.vpp-cni-install-vpp-cni.tmp: permission denied") {
			t.Errorf("%v\n%s", err, stderr)
		}
		n.wantTree("")
	})
	t.Run("read-only", func(t *testing.T) {
		t.Parallel()
		privileged.Require(t, "to mount")
		n := newNode(t)
		shell := func(script string) (string, error) {
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec",
				"mount --bind "+n.bin+" "+n.bin+"; mount -o remount,ro,bind "+n.bin+"; "+script)
			out, err := cmd.CombinedOutput()
			return n.short(string(out)), err
		}
		if out, err := shell("true"); err != nil {
			t.Fatal("no mounts here: " + out)
		}
		out, err := shell(programs.plugin + " install --bin-dir " + n.bin + " --conf-dir " + n.conf + " --etc-dir " + n.etc)
		if err == nil || !strings.Contains(out, "install bin/vpp-cni: open bin/.vpp-cni-install-vpp-cni.tmp: read-only file system") {
			t.Errorf("%v\n%s", err, out)
		}
		n.wantTree("")
	})
	t.Run("full", func(t *testing.T) {
		t.Parallel()
		privileged.Require(t, "to mount")
		n := newNode(t)
		script := "mount -t tmpfs -o size=1m none " + n.bin + "; " + programs.plugin + " install --bin-dir " + n.bin + " --conf-dir " + n.conf + " --etc-dir " + n.etc +
			" || { ls -A " + n.bin + "; exit 3; }"
		cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", script)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() == 32 || cmd.ProcessState.ExitCode() == 1 {
			t.Fatal("no mounts here: " + string(out))
		}
		if !strings.Contains(string(out), "no space left on device") || strings.Contains(string(out), ".vpp-cni-install-vpp-cni.tmp\n") {
			t.Errorf("it ended with %d and said, and left, %s", cmd.ProcessState.ExitCode(), out)
		}
	})
}

// TestWatch: the installer that stays installs what has changed, says what it
// cannot read, and leaves everything when it ends.
func TestWatch(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	cmd, stdout, stderr := n.command(programs.plugin, n.all("--watch", "1h")...)
	n.ok(cmd.Start())
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waiting for %s\n%s", what, n.tree())
			}
		}
	}
	list := filepath.Join(n.conf, "10-vpp-cni.conflist")
	await("the installation", func() bool { return exists(list) })
	n.file("tls/tls.key", "second tls.key")
	n.ok(os.Remove(filepath.Join(n.bin, "vpp-cni")))
	await("the new key and the program", func() bool {
		n.ok(cmd.Process.Signal(syscall.SIGHUP))
		data, err := os.ReadFile(filepath.Join(n.etc, "tls/tls.key"))
		return err == nil && string(data) == "second tls.key" && exists(filepath.Join(n.bin, "vpp-cni"))
	})
	n.ok(os.Remove(list))
	n.file("10-vpp-cni.conflist", "{")
	for range 5 {
		n.ok(cmd.Process.Signal(syscall.SIGHUP))
		time.Sleep(20 * time.Millisecond)
	}
	n.file("10-vpp-cni.conflist", conflist)
	await("the network configuration", func() bool {
		n.ok(cmd.Process.Signal(syscall.SIGHUP))
		return exists(list)
	})
	n.ok(cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil || !strings.Contains(stderr.String(), "unexpected end of JSON input: tried again in 1h0m0s") {
		t.Errorf("ended with %v and said\n%s%s", err, stdout, stderr)
	}
	if strings.Contains(stdout.String(), "unchanged") {
		t.Errorf("said what needs no word:\n%s", stdout)
	}
	n.wantTree(strings.Replace(installed, "first tls.key", "second tls.key", 1))
}

// TestHalfWrittenSet: a certificate beside another one's key is not installed, and
// what was installed stays; so it is while somebody copies a new pair.
func TestHalfWrittenSet(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	ca, err := etcdtest.NewCA(t.TempDir())
	n.ok(err)
	tls := filepath.Join(n.etc, "tls")
	n.file("config.yaml", nodeConfig+"  cert: "+tls+"/tls.crt\n  key: "+tls+"/tls.key\n")
	copyOf := func(path, name string) string {
		data, err := os.ReadFile(path)
		n.ok(err)
		n.file("tls/"+name, string(data))
		return string(data)
	}
	for _, name := range []string{"first", "second"} {
		pair, err := ca.Issue(name, nil)
		n.ok(err)
		copyOf(pair.Cert, "tls.crt")
		n.fails(1, "certificate tls.crt and key tls.key: tls: ", n.all()...)
		want := copyOf(pair.Key, "tls.key")
		n.run(n.all()...)
		if have, err := os.ReadFile(filepath.Join(tls, "tls.key")); err != nil || string(have) != want {
			t.Errorf("%s key: %v, installed is\n%s", name, err, have)
		}
	}
}
