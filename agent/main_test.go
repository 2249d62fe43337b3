package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

// asAgent makes the test binary the program.
const asAgent = "TEST_AS_VPP_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		main()
		return
	}
	m.Run()
}

const patient = 15 * time.Second

// process is the program under test.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan error

	mu  sync.Mutex
	out bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), self, args...), done: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), asAgent+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Log(p.output())
		}
	})
	return p
}

// end waits for the end and returns the exit code.
func (p *process) end() int {
	p.t.Helper()
	select {
	case err := <-p.done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			p.t.Fatal(err)
		}
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patient):
		p.t.Fatalf("still running after %v", patient)
		return -1
	}
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: after %v still %v", what, patient, err)
}

func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file string
		args []string
		want string
	}{
		"unknown key":   {file: "agent:\n  vppSokcet: /x\n", want: "vppSokcet"},
		"bad value":     {file: "agent:\n  leaseTTL: 1ms\n", want: "agent.leaseTTL"},
		"missing file":  {args: []string{"--config", "/no/such/file"}, want: "/no/such/file"},
		"bad endpoint":  {args: []string{"--endpoints", "ftp://x"}, want: "ftp://x"},
		"bad node":      {args: []string{"--node", "a/b"}, want: `node "a/b"`},
		"bad level":     {args: []string{"--log-level", "loud"}, want: `"loud"`},
		"unknown flag":  {args: []string{"--colour"}, want: "--colour"},
		"stray word":    {args: []string{"run"}, want: `"run"`},
		"unused group":  {file: "agent:\n  socketGroup: no-such-group\n", want: "no-such-group"},
		"http taken up": {args: []string{"--http", "unix:///etc/passwd"}, want: "no socket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "config.yaml")
			if err := os.WriteFile(file, []byte(tc.file), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append([]string{
				"--config", file, "--run-dir", filepath.Join(dir, "run"), "--http", "unix://" + filepath.Join(dir, "s"),
			}, tc.args...)
			p := start(t, args...)
			if code := p.end(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if out := p.output(); !strings.Contains(out, tc.want) {
				t.Errorf("output does not say %s:\n%s", tc.want, out)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	p := start(t, "--version")
	if code, out := p.end(), p.output(); code != 0 || out != "vpp-agent version devel\n" {
		t.Errorf("exit code %d, output %q", code, out)
	}
}

// node is all that an agent needs.
type node struct {
	dir, http string
	client    *clientv3.Client
	keys      schema.Keys
	args      []string
}

func newNode(t *testing.T) *node {
	t.Helper()
	etcd := etcdtest.Start(t, etcdtest.Options{})
	return newMachine(t, etcd, strings.Join(etcd.Endpoints(), ","))
}

func (n *node) config() string { return filepath.Join(n.dir, "config.yaml") }

// lease writes the agent's configuration, with a leaseTTL.
func (n *node) lease(t *testing.T, ttl string) {
	t.Helper()
	text := fmt.Sprintf("agent: {leaseTTL: %s}\nbootIDFile: %s\n", ttl, filepath.Join(n.dir, "boot_id"))
	if err := os.WriteFile(n.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newMachine makes a machine of its own, with a boot id of its own, whose agent
// is to be node n1's. The agent finds etcd at endpoints.
func newMachine(t *testing.T, etcd *etcdtest.Cluster, endpoints string) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") //nolint:usetesting // a socket's path must fit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	client, err := etcd.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := os.WriteFile(filepath.Join(dir, "boot_id"), []byte("boot-"+filepath.Base(dir)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &node{dir: dir, http: filepath.Join(dir, "agent.sock"), client: client}
	n.lease(t, "2s")
	n.args = []string{
		"--config", n.config(), "--node", "n1", "--endpoints", endpoints, "--http", "unix://" + n.http,
		"--run-dir", filepath.Join(dir, "run"), "--vpp-socket", filepath.Join(dir, "api.sock"),
	}
	return n
}

func (n *node) startVPP(t *testing.T) *vppsim.Sim {
	t.Helper()
	sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(n.dir, "api.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return sim
}

func (n *node) get(ctx context.Context, path string) (string, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", n.http)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d\n%s", resp.StatusCode, body), err
}

func value[V schema.Value](ctx context.Context, n *node, key string) (*V, error) {
	resp, err := n.client.Get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return nil, err
	}
	v, err := schema.Decode[V](resp.Kvs[0].Value)
	return &v, err
}

func (n *node) presence(t *testing.T, want func(*schema.AgentInfo) bool) *schema.AgentInfo {
	t.Helper()
	var out *schema.AgentInfo
	eventually(t, "presence", func() error {
		info, err := value[schema.AgentInfo](t.Context(), n, n.keys.Agent("n1"))
		if err == nil && !want(info) {
			err = fmt.Errorf("%+v", info)
		}
		out = info
		return err
	})
	return out
}

func TestLife(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	p := start(t, n.args...)
	info := n.presence(t, func(i *schema.AgentInfo) bool { return i != nil && i.Reason == schema.ReasonVPPDown })
	if info.Ready || info.Message == "" || info.Instance == "" || info.PID != p.cmd.Process.Pid || info.RunDir != filepath.Join(n.dir, "run") {
		t.Errorf("presence without VPP: %+v", info)
	}
	eventually(t, "readiness without VPP", func() error {
		body, err := n.get(t.Context(), "/readyz")
		if err == nil && (!strings.HasPrefix(body, "503\n") || !strings.Contains(body, "vpp: not ready: VPP is down") || !strings.Contains(body, "etcd: ok")) {
			err = errors.New(body)
		}
		return err
	})
	if !strings.Contains(p.output(), "api.sock") {
		t.Errorf("the log does not say which socket is waited for:\n%s", p.output())
	}

	sim := n.startVPP(t)
	up := n.presence(t, func(i *schema.AgentInfo) bool { return i != nil && i.Ready })
	if up.VPPPID != sim.PID() || up.VPPVersion != vppsim.Version || up.Instance != info.Instance || up.Reason != "" {
		t.Errorf("presence with VPP: %+v", up)
	}
	want := "200\netcd: ok\ngateway: ok\npresence: ok\nreconciler: ok\nvpp: ok\n"
	eventually(t, "readiness", func() error {
		body, err := n.get(t.Context(), "/readyz")
		if err == nil && body != want {
			err = errors.New(body)
		}
		return err
	})

	n.put(t, "c1", "p1")
	n.await(t, "c1")

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	if info, err := value[schema.AgentInfo](t.Context(), n, n.keys.Agent("n1")); err != nil || info != nil {
		t.Errorf("presence after the end: %+v, %v: want none at once, not when the lease ends", info, err)
	}
	if clients := sim.Clients(); len(clients) > 0 {
		t.Errorf("clients %v are left in VPP", clients)
	}
	kept := holds(t, n)
	if len(kept) == 0 {
		t.Error("VPP lost the interface when the agent ended")
	}
}

// put writes a desired host end.
func (n *node) put(t *testing.T, container schema.ContainerID, pod schema.PodID) {
	t.Helper()
	host, err := schema.Encode(schema.HostInterface{
		Network: "a", Pod: schema.PodRef{ID: pod}, IfType: schema.Memif, NetType: schema.NetNone,
		Memif: &schema.MemifEnd{Role: schema.MemifMaster, Mode: schema.MemifEthernet, Socket: "net1.memif"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.client.Put(t.Context(), n.keys.Host("n1", container, "net1"), string(host)); err != nil {
		t.Fatal(err)
	}
}

// await waits until an attachment is Ready.
func (n *node) await(t *testing.T, container schema.ContainerID) {
	t.Helper()
	eventually(t, "attachment "+string(container), func() error {
		s, err := value[schema.InterfaceStatus](t.Context(), n, n.keys.HostStatus("n1", container, "net1"))
		if err == nil && (s == nil || s.State != schema.Ready) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
}

// holds lists what of ours is in the VPP.
func holds(t *testing.T, n *node) []model.Object {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	v := vpp.New(vpp.Config{Socket: filepath.Join(n.dir, "api.sock"), RunDir: filepath.Join(n.dir, "run")})
	wg.Go(func() { _ = v.Run(ctx) })
	var out []model.Object
	eventually(t, "dump", func() error {
		var err error
		out, err = v.Dump(ctx)
		return err
	})
	return out
}

func TestSecondAgentOnTheSameSocket(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	first := start(t, n.args...)
	eventually(t, "first agent", func() error { _, err := n.get(t.Context(), "/livez"); return err })
	second := start(t, n.args...)
	if code := second.end(); code != 1 || !strings.Contains(second.output(), "is an agent running already?") {
		t.Errorf("exit code %d, want 1 and a reason:\n%s", code, second.output())
	}
	if err := first.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := first.end(); code != 0 {
		t.Errorf("exit code %d after an interrupt, want 0", code)
	}
}
