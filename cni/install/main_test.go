package install_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// programs are the plugin without and with failpoints.
var programs struct{ plugin, killable string }

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "install-test")
	if err != nil {
		return failed(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { // other users run the programs too
		return failed(err)
	}
	programs.plugin, programs.killable = filepath.Join(dir, "vpp-cni"), filepath.Join(dir, "killable")
	for path, tags := range map[string]string{programs.plugin: "", programs.killable: "failpoints"} {
		cmd := exec.Command("go", "build", "-tags", tags, "-o", path, "github.com/vpp-cni/vpp-cni/cni")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return failed(fmt.Errorf("%w\n%s", err, out))
		}
	}
	return m.Run()
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "set up:", err)
	return 1
}

const (
	conflist = `{"cniVersion": "1.0.0", "name": "vpp", "plugins": [
  {"type": "vpp-cni", "host": {"engine": "vpp", "netType": "bridge"}, "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}
]}
`
	foreignConflist = `{"cniVersion": "1.0.0", "name": "other", "plugins": [{"type": "bridge"}]}` + "\n"
	nodeConfig      = "etcd:\n  endpoints: [\"http://10.0.0.1:2379\"]\n"
)

// node is a node's directories and an operator's files.
type node struct {
	t              *testing.T
	bin, conf, etc string
	src            string
}

func newNode(t *testing.T) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{t: t, bin: filepath.Join(dir, "bin"), conf: filepath.Join(dir, "net.d"), etc: filepath.Join(dir, "etc"), src: filepath.Join(dir, "src")}
	for _, d := range []string{n.bin, n.conf, n.etc, filepath.Join(n.src, "tls")} {
		n.ok(os.MkdirAll(d, 0o755))
	}
	n.file("10-vpp-cni.conflist", conflist)
	n.file("config.yaml", nodeConfig)
	for _, f := range []string{"ca.crt", "tls.crt", "tls.key"} {
		n.file("tls/"+f, "first "+f)
	}
	return n
}

func (n *node) ok(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// file makes one of the operator's files.
func (n *node) file(name, content string) string {
	n.t.Helper()
	path := filepath.Join(n.src, name)
	n.ok(os.WriteFile(path, []byte(content), 0o644))
	return path
}

// all are the arguments of an install with everything.
func (n *node) all(more ...string) []string {
	return append([]string{
		"install", "--config", filepath.Join(n.src, "config.yaml"), "--node", "worker-1", "--tls", filepath.Join(n.src, "tls"),
		"--conflist", filepath.Join(n.src, "10-vpp-cni.conflist"),
	}, more...)
}

func (n *node) command(program string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	args = append(args[:1:1], append([]string{"--bin-dir", n.bin, "--conf-dir", n.conf, "--etc-dir", n.etc}, args[1:]...)...)
	cmd = exec.CommandContext(n.t.Context(), program, args...)
	cmd.Dir = "/"
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// run runs the plugin and gives its output with the node's directories cut off.
func (n *node) run(args ...string) string {
	n.t.Helper()
	cmd, stdout, stderr := n.command(programs.plugin, args...)
	if err := cmd.Run(); err != nil {
		n.t.Fatalf("%v: %v\n%s%s", args, err, stdout, stderr)
	}
	return n.short(stdout.String())
}

func (n *node) short(s string) string {
	return strings.ReplaceAll(s, filepath.Dir(n.bin)+"/", "")
}

// fails runs the plugin, which must exit with code and name want.
func (n *node) fails(code int, want string, args ...string) {
	n.t.Helper()
	cmd, stdout, stderr := n.command(programs.plugin, args...)
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(stderr.String(), want) {
		n.t.Errorf("%v: %v, want exit status %d and %q\n%s%s", args, err, code, want, stdout, stderr)
	}
}

// killed runs the plugin with failpoints, which must be killed at point.
func (n *node) killed(point string, args ...string) {
	n.t.Helper()
	cmd, stdout, stderr := n.command(programs.killable, args...)
	cmd.Env = append(os.Environ(), "VPP_CNI_FAILPOINTS="+point+"=kill")
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		n.t.Fatalf("%v was not killed at %s: %v\n%s%s", args, point, err, stdout, stderr)
	}
}

// tree lists what is on the node: mode, path, and the target or the content of
// what is small.
func (n *node) tree() string {
	n.t.Helper()
	var b strings.Builder
	for _, dir := range []string{n.bin, n.conf, n.etc} {
		n.ok(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || path == dir {
				return err
			}
			st, err := d.Info()
			if err != nil {
				return err
			}
			what := ""
			switch {
			case st.Mode().Type() == fs.ModeSymlink:
				what, err = os.Readlink(path)
			case st.Mode().IsRegular() && st.Size() < 4096:
				var data []byte
				data, err = os.ReadFile(path)
				what = fmt.Sprintf("%q", data)
			}
			_, _ = fmt.Fprintf(&b, "%s %s %s\n", st.Mode(), n.short(path), what)
			return err
		}))
	}
	return b.String()
}
