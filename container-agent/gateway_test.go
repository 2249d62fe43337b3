package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
	"github.com/vpp-cni/vpp-cni/agent/rundir"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/privileged"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

// output is what a program says, for reading while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// inPod runs the program as a container does: no network, and the socket
// directory mounted at mount, read-only. It needs root.
func inPod(t *testing.T, out *output, dir, mount string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const script = `set -e
mount --make-rprivate /
mount --bind "$1" "$2"
mount -o remount,bind,ro "$2"
if touch "$2/x" 2>/dev/null; then echo "the mount can be written"; exit 9; fi
test "$(grep -c : /proc/net/dev)" = 1
shift 2
exec "$@"`
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", script, "pod", dir, mount, self}, args...)...)
	cmd.Env = append(os.Environ(), asAgent+"=1")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	return cmd
}

// TestGateway: without a flag that says where etcd is, without a network and
// without the right to write into its directory, the agent waits for the node's,
// says so, and then does its work.
func TestGateway(t *testing.T) {
	t.Parallel()
	privileged.Require(t, "for a network namespace and a read-only mount")
	dir, err := os.MkdirTemp("", "pod") //nolint:usetesting // a socket's path must fit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	etcd := etcdtest.Start(t, etcdtest.Options{})
	client, err := etcd.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(dir, "api.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	gw, dirs := nodeAgent(t, etcd, filepath.Join(dir, "run"))
	podDir := filepath.Join(dir, "run", "pods", "p1")
	mount := filepath.Join(dir, "mnt")
	if err = dirs.Put(t.Context(), model.Directory{Path: podDir}, nil); err != nil {
		t.Fatal(err)
	}
	if err = os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}

	var out output
	cmd := inPod(t, &out, podDir, mount, "--socket-dir", mount, "--vpp-socket", sim.APISocket())
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	says(t, &out, "etcd not read")
	says(t, &out, "etcd.sock")

	if err = gw.Put(t.Context(), model.GatewaySocket{Path: filepath.Join(podDir, schema.GatewaySocket)}, nil); err != nil {
		t.Fatal(err)
	}
	var keys schema.Keys
	put(t, client, keys.PodInterface("n1", "p1", "net1"), schema.PodInterface{
		Network: "a", Container: "c1", Pod: schema.PodRef{ID: "p1"}, IfType: schema.Memif, NetType: schema.NetInterface,
		Memif: &schema.MemifEnd{Role: schema.MemifSlave, Mode: schema.MemifEthernet, Socket: "net1.memif"},
		MAC:   schema.MAC{2, 0, 0, 0, 0, 2}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")},
	})
	if s := await(t, client, keys.PodStatus("n1", "p1", "net1"), "Ready/Applied"); s.SocketPath != filepath.Join(mount, "net1.memif") {
		t.Errorf("status %+v", s)
	}
	if _, err = client.Delete(t.Context(), keys.PodInterface("n1", "p1", "net1")); err != nil {
		t.Fatal(err)
	}
	await(t, client, keys.PodStatus("n1", "p1", "net1"), "none")
	if err = cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err = cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v, want exit code 0:\n%s", err, out.String())
	}
}

// nodeAgent is the part of a node's agent that serves pods.
func nodeAgent(t *testing.T, etcd *etcdtest.Cluster, runDir string) (*gateway.Gateway, *rundir.Driver) {
	t.Helper()
	dirs, err := rundir.New(rundir.Config{RunDir: runDir})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(store.Config{Endpoints: etcd.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(t.Output())
	gw := gateway.New(gateway.Config{
		RunDir: runDir, Dirs: dirs, Tree: s.Subtree(s.Keys().NodePrefix("n1")), Log: logrus.NewEntry(log),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- gw.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		gw.Close()
		_ = dirs.Close()
		_ = s.Close()
	})
	return gw, dirs
}

// says waits for a text in the log.
func says(t *testing.T, out fmt.Stringer, text string) {
	t.Helper()
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(out.String(), text) {
			return
		}
	}
	t.Fatalf("the log does not say %q:\n%s", text, out.String())
}
