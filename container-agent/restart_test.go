package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/proc"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

// podVPP is the pod's VPP: the one that $VPP names, as a process, or else the
// simulator.
type podVPP struct {
	t    *testing.T
	sim  *vppsim.Sim
	real *proc.VPP
}

func startPodVPP(t *testing.T, dir string) *podVPP {
	t.Helper()
	p := &podVPP{t: t}
	var err error
	if program := os.Getenv("VPP"); program != "" {
		if p.real, err = proc.NewVPP("pod-vpp", program, filepath.Join(dir, "vpp"), "256M"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.real.Kill() })
		if err = p.real.Up(t.Context()); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p.sim, err = vppsim.Start(vppsim.Config{APISocket: filepath.Join(dir, "api.sock")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.sim.Close)
	return p
}

func (p *podVPP) socket() string {
	if p.real != nil {
		return p.real.APISocket
	}
	return p.sim.APISocket()
}

// restart kills it and starts an empty one.
func (p *podVPP) restart() {
	p.t.Helper()
	if p.real == nil {
		if err := p.sim.Restart(); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	if err := p.real.Kill(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.real.Up(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// podAgent is the program beside the pod's VPP.
type podAgent struct {
	t    *testing.T
	args []string
	http string
	cmd  *exec.Cmd
}

func (a *podAgent) start() {
	a.t.Helper()
	var out bytes.Buffer
	a.cmd = program(a.t.Context(), a.t, &out, a.args...)
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	cmd := a.cmd
	a.t.Cleanup(func() { _ = cmd.Process.Kill() })
}

// kill ends it as a crash does.
func (a *podAgent) kill() {
	a.t.Helper()
	if err := a.cmd.Process.Kill(); err != nil {
		a.t.Fatal(err)
	}
	_ = a.cmd.Wait()
}

func (a *podAgent) get(path string) (int, string) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", a.http)
		},
	}}
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, "http://agent"+path, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, fmt.Sprint(string(body), errors.Unwrap(err))
}

func (a *podAgent) ready() {
	a.t.Helper()
	body := ""
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var code int
		if code, body = a.get("/readyz"); code == http.StatusOK {
			return
		}
	}
	a.t.Fatalf("not ready:\n%s", body)
}

// writes are the agent's own counters of what it wrote to VPP.
func (a *podAgent) writes() []string {
	a.t.Helper()
	_, body := a.get("/metrics")
	if !strings.Contains(body, "vppcni_vpp_connected 1") {
		a.t.Fatalf("metrics cannot be read:\n%s", body)
	}
	var out []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "vppcni_writes_total{") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// simWrites are the simulator's counters of calls that change something.
func simWrites(sim *vppsim.Sim) map[string]int {
	if sim == nil {
		return map[string]int{}
	}
	calls := sim.Calls()
	maps.DeleteFunc(calls, func(name string, _ int) bool {
		for _, read := range []string{"dump", "ping", "show_version", "want_", "sockclnt", "get", "details", "api_versions"} {
			if strings.Contains(name, read) {
				return true
			}
		}
		return false
	})
	return calls
}

// TestRestarts kills the agent, and then the pod's VPP: the first is no write to
// VPP, the second brings everything back, and only then are the statuses Ready
// again.
func TestRestarts(t *testing.T) {
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
	// The simulator's own memif socket, under id 0, is in the socket directory.
	v := startPodVPP(t, dir)
	a := &podAgent{t: t, http: filepath.Join(dir, "http.sock")}
	a.args = []string{
		"--endpoints", strings.Join(etcd.Endpoints(), ","), "--node", "n1", "--pod", "p1",
		"--socket-dir", dir, "--vpp-socket", v.socket(), "--http", "unix://" + a.http,
	}
	a.start()
	var keys schema.Keys
	const ends = 4
	for i := range ends {
		name := schema.IfName(fmt.Sprintf("net%d", i))
		put(t, client, keys.PodInterface("n1", "p1", name), schema.PodInterface{
			Network: "a", Container: "c1", Pod: schema.PodRef{ID: "p1"}, IfType: schema.Memif, NetType: schema.NetInterface,
			Memif:     &schema.MemifEnd{Role: schema.MemifSlave, Mode: schema.MemifEthernet, Socket: string(name) + ".memif"},
			MAC:       schema.MAC{2, 0, 0, 0, 0, byte(i + 1)},
			MTU:       1400,
			Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.%d.2/24", i))},
		})
		await(t, client, keys.PodStatus("n1", "p1", name), "Ready/Applied")
	}
	before := statuses(t, client)

	for i := range 3 {
		a.kill()
		if v.sim != nil {
			v.sim.ResetCalls()
		}
		begin := time.Now()
		a.start()
		a.ready()
		t.Logf("agent started again: ready after %v", time.Since(begin).Round(time.Millisecond))
		if diff := cmp.Diff([]string(nil), a.writes()); diff != "" {
			t.Errorf("restart %d of the agent: writes to VPP by its own count (-want +got):\n%s", i+1, diff)
		}
		if diff := cmp.Diff(map[string]int{}, simWrites(v.sim)); diff != "" {
			t.Errorf("restart %d of the agent: writes to VPP (-want +got):\n%s", i+1, diff)
		}
		if diff := cmp.Diff(before, statuses(t, client)); diff != "" {
			t.Errorf("restart %d of the agent: statuses were written (-want +got):\n%s", i+1, diff)
		}
	}

	begin := time.Now()
	v.restart()
	for i := range ends {
		name := schema.IfName(fmt.Sprintf("net%d", i))
		for s := await(t, client, keys.PodStatus("n1", "p1", name), "Ready/Applied"); s.Since.Before(begin); s = await(t, client, keys.PodStatus("n1", "p1", name), "Ready/Applied") {
			if time.Since(begin) > patient {
				t.Fatalf("%s: Ready since %v, before VPP was restarted: stale", name, s.Since)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	t.Logf("VPP killed and started again: all ends Ready after %v", time.Since(begin).Round(time.Millisecond))
	a.ready()
	if code, body := a.get("/verify"); code != http.StatusOK || !strings.Contains(body, `"inSync":true`) {
		t.Errorf("verify after the restart: %d %s", code, body)
	}
}

// statuses are the pod's statuses with their revisions.
func statuses(t *testing.T, client *clientv3.Client) map[string]int64 {
	t.Helper()
	var keys schema.Keys
	resp, err := client.Get(t.Context(), keys.PodPrefix("n1", "p1")+schema.PodStatusPrefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, kv := range resp.Kvs {
		out[string(kv.Key)] = kv.ModRevision
	}
	return out
}
