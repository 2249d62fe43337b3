package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

// asAgent makes the test binary the program.
const asAgent = "TEST_AS_VPP_CONTAINER_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		main()
		return
	}
	m.Run()
}

const patient = 15 * time.Second

func program(ctx context.Context, t *testing.T, out *bytes.Buffer, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), asAgent+"=1")
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

func TestWrongFlags(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no etcd":       {[]string{"--node", "n", "--pod", "p"}, "--endpoints or --etcd-config"},
		"no pod":        {[]string{"--node", "n", "--endpoints", "127.0.0.1:1"}, "--node and --pod go together"},
		"no node":       {[]string{"--pod", "p"}, "--node and --pod go together"},
		"etcd alone":    {[]string{"--endpoints", "127.0.0.1:1"}, "say which with --node and --pod"},
		"config alone":  {[]string{"--etcd-config", "/no/such"}, "say which with --node and --pod"},
		"prefix alone":  {[]string{"--prefix", "/x"}, "--prefix is for etcd itself"},
		"long path":     {[]string{"--socket-dir", "/" + strings.Repeat("x", 110)}, "endpoint"},
		"bad node":      {[]string{"--node", "a/b", "--pod", "p", "--endpoints", "127.0.0.1:1"}, `node "a/b"`},
		"bad endpoint":  {[]string{"--node", "n", "--pod", "p", "--endpoints", "ftp://x"}, "ftp://x"},
		"missing file":  {[]string{"--node", "n", "--pod", "p", "--etcd-config", "/no/such"}, "/no/such"},
		"bad log level": {[]string{"--node", "n", "--pod", "p", "--endpoints", "127.0.0.1:1", "--log-level", "loud"}, "loud"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			var out bytes.Buffer
			err := program(ctx, t, &out, tc.args...).Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out.String(), tc.want) {
				t.Errorf("%v, want exit code 1 and %q:\n%s", err, tc.want, out.String())
			}
		})
	}
}

// TestLife runs the program beside a pod's VPP: an interface of the pod, one
// that the application has, and an orderly end.
func TestLife(t *testing.T) {
	t.Parallel()
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

	var out bytes.Buffer
	cmd := program(t.Context(), t, &out, "--endpoints", strings.Join(etcd.Endpoints(), ","), "--node", "n1", "--pod", "p1",
		"--socket-dir", dir, "--vpp-socket", sim.APISocket(), "--http", "unix://"+filepath.Join(dir, "http.sock"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	var keys schema.Keys
	memif := schema.PodInterface{
		Network: "a", Container: "c1", Pod: schema.PodRef{ID: "p1"}, IfType: schema.Memif, NetType: schema.NetInterface,
		Memif:     &schema.MemifEnd{Role: schema.MemifSlave, Mode: schema.MemifEthernet, Socket: "net1.memif"},
		MAC:       schema.MAC{2, 0, 0, 0, 0, 2},
		MTU:       1400,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")},
	}
	put(t, client, keys.PodInterface("n1", "p1", "net1"), memif)
	s := await(t, client, keys.PodStatus("n1", "p1", "net1"), "Ready/Applied")
	if s.MAC != memif.MAC || s.MTU != 1400 || s.Interface == "" || s.SocketPath != filepath.Join(dir, "net1.memif") {
		t.Errorf("status %+v", s)
	}
	vhost := memif
	vhost.IfType, vhost.Memif, vhost.VhostUser = schema.VhostUser, nil, &schema.VhostEnd{Role: schema.VhostServer, Socket: "net2.vhost"}
	put(t, client, keys.PodInterface("n1", "p1", "net2"), vhost)
	if s := await(t, client, keys.PodStatus("n1", "p1", "net2"), "Ready/ApplicationOwned"); s.Interface != "" || s.Message == "" {
		t.Errorf("status %+v: want no interface, and a message", s)
	}
	if _, err := client.Delete(t.Context(), keys.PodInterface("n1", "p1", "net1")); err != nil {
		t.Fatal(err)
	}
	await(t, client, keys.PodStatus("n1", "p1", "net1"), "none")

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v, want exit code 0:\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "VPP keeps everything") {
		t.Errorf("the log does not tell of the end:\n%s", out.String())
	}
}

func put(t *testing.T, client *clientv3.Client, key string, v schema.PodInterface) {
	t.Helper()
	value, err := schema.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), key, string(value)); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, client *clientv3.Client, key, want string) schema.InterfaceStatus {
	t.Helper()
	got := ""
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		resp, err := client.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		var s schema.InterfaceStatus
		got = "none"
		if len(resp.Kvs) > 0 {
			if s, err = schema.Decode[schema.InterfaceStatus](resp.Kvs[0].Value); err != nil {
				t.Fatal(err)
			}
			got = fmt.Sprintf("%s/%s", s.State, s.Reason)
		}
		if got == want {
			return s
		}
	}
	t.Fatalf("%s is %s, want %s", key, got, want)
	return schema.InterfaceStatus{}
}
