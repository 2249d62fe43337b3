package etcdtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/etcdmain"

	"github.com/vpp-cni/vpp-cni/test/proc"
)

// TestMain plays the etcd server where it is started with etcd's flags.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "--name") {
		etcdmain.Main(os.Args)
		return
	}
	m.Run()
}

// self is the program that TestMain makes an etcd server of.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// askPeer asks for the members at a member's port for its peers. Who gets an
// answer there can do everything: what peers say is not checked again.
func askPeer(ctx context.Context, ca string, p Pair, url string) error {
	pool, err := poolOf(ca)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
	if err != nil {
		return err
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/members", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", resp.Status)
	}
	return nil
}

// TestPeersPort: a certificate of a client, be it root's, is none of a peer's.
func TestPeersPort(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := NewProcesses(self(t), t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Kill() }()
	if err = c.Up(ctx); err != nil {
		t.Fatal(err)
	}
	node, err := c.access.Node(ctx, "n1")
	if err != nil {
		t.Fatal(err)
	}
	cl, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cl.Close() }()
	all, err := cl.MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all.Members {
		url := m.PeerURLs[0]
		if err = askPeer(ctx, c.access.CA.File, c.access.server, url); err != nil {
			t.Errorf("a peer at member %s: %v", m.Name, err)
		}
		for name, pair := range map[string]Pair{"a node": node, "the operator": c.access.Operator, "root": c.access.Root} {
			if err = askPeer(ctx, c.access.CA.File, pair, url); err == nil {
				t.Errorf("member %s takes %s for a peer", m.Name, name)
			}
		}
	}
}

// TestPeersPortInKubernetes is the same for the certificates and the flags of the
// etcd in deploy/kubernetes.
func TestPeersPortInKubernetes(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		text := t.Name() + " NOT RUN: THERE IS NO OPENSSL HERE"
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		fmt.Fprintln(os.Stderr, text)
		t.Skip(text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const host = "127.0.0.2" // beside 127.0.0.1, where etcd serves too
	deploy := filepath.Join("..", "..", "deploy", "kubernetes")
	dir := t.TempDir()
	if out, err := exec.CommandContext(ctx, filepath.Join(deploy, "etcd-certificates.sh"), dir, host).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ports := make([]any, 3)
	for i := range ports {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = port
	}
	url := fmt.Sprintf("https://%s:%d", host, ports[1])
	args := append(manifestArgs(t, filepath.Join(deploy, "components", "etcd", "etcd.yaml"), strings.NewReplacer(
		"$(NODE_NAME)", "worker-1", "$(HOST_IP)", host, "/var/lib/etcd", filepath.Join(dir, "data"),
		"/tls/ca.crt", filepath.Join(dir, "ca.crt"), "/tls/tls", filepath.Join(dir, "server"),
		"22379", fmt.Sprint(ports[0]), "22380", fmt.Sprint(ports[1]), "22381", fmt.Sprint(ports[2]),
	)), "--initial-cluster=worker-1="+url, "--log-level=warn")
	etcd := proc.New("etcd", dir, self(t), args...)
	if err := etcd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Kill() }()
	ca := filepath.Join(dir, "ca.crt")
	pair := func(name string) Pair {
		return Pair{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	}
	for {
		err := askPeer(ctx, ca, pair("server"), url)
		if err == nil {
			break
		}
		if ctx.Err() != nil || !etcd.Running() {
			log, _ := os.ReadFile(etcd.LogFile)
			t.Fatalf("a peer: %v\n%s", err, log)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := askPeer(ctx, ca, pair("client"), url); err == nil {
		t.Error("etcd takes the agents' certificate for a peer's")
	}
}

// manifestArgs are the flags in a manifest, with what the cluster would put in.
func manifestArgs(t *testing.T, path string, put *strings.Replacer) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		if arg, ok := strings.CutPrefix(strings.TrimSpace(line), "- --"); ok {
			out = append(out, put.Replace("--"+arg))
		}
	}
	return out
}
