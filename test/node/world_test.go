package node_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/test/containerd"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/lab"
	"github.com/vpp-cni/vpp-cni/test/machine"
	"github.com/vpp-cni/vpp-cni/test/proc"
)

const (
	deployDir = "../../deploy/node"
	runDir    = "/run/vpp-cni"
	pluginLog = "/var/log/vpp-cni/plugin.log"
	ipamDir   = "/var/lib/cni/networks"
	keyPrefix = "/vpp-cni/v1/"
	// patience is how long a step may take on a machine that does other things too.
	patience = 30 * time.Second
)

// node is the machine with what runs on it.
type node struct {
	etcd       *clientv3.Client
	vpp        *proc.VPP
	containerd *containerd.Containerd
	runtime    runtime
	// config is the operator's file, from which install makes the node's.
	config string
	// files are what was at the places of ours before; objects what VPP held.
	files, objects []string
}

// up makes a node that has everything but VPP CNI: etcd, containerd, a VPP that does
// not run yet.
func up(t *testing.T) *node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	logs, err := filepath.Abs(bin("node/logs"))
	must(t, err, os.RemoveAll(logs), os.MkdirAll(logs, 0o755), os.MkdirAll(machine.StateDir, 0o755), ownPrograms(ctx))
	n := &node{config: filepath.Join(machine.StateDir, "config.yaml")}

	cluster := etcdtest.Start(t, etcdtest.Options{TCP: true})
	n.etcd, err = cluster.Client()
	must(t, err)
	t.Cleanup(func() { _ = n.etcd.Close() })
	data, err := os.ReadFile(filepath.Join(deployDir, "config.yaml"))
	text := strings.NewReplacer("http://127.0.0.1:2379", cluster.Endpoints()[0], "timeout: 10s", "timeout: 5s").Replace(string(data))
	must(t, err, os.WriteFile(n.config, []byte(text), 0o600))

	program := os.Getenv(vppEnv)
	if program == "" {
		program = bin("vppsim")
	}
	n.vpp, err = proc.NewVPP("vpp", program, "/run/vpp", "256M")
	must(t, err)
	n.vpp.LogFile = filepath.Join(logs, "vpp.log")
	t.Cleanup(func() { must(t, n.vpp.Kill()) })

	t.Setenv("SYSTEMD", boot(ctx, t, logs))
	n.containerd, err = containerd.New(containerd.Config{
		Root: filepath.Join(machine.StateDir, "containerd"), Pause: bin("kubernetes/pause"), LogDir: logs,
		Images: []string{bin("node/images/vppsim.tar"), bin("node/images/container-agent.tar")},
	})
	must(t, err, n.containerd.Up(ctx))
	t.Cleanup(func() { must(t, n.containerd.Kill()) })
	n.runtime = connect(t)
	t.Cleanup(func() { n.tell(t) })
	n.files = places(t)
	return n
}

// tell shows, after a failure, what an operator would look at.
func (n *node) tell(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	for _, file := range []string{agentLog, pluginLog} {
		text, err := os.ReadFile(file)
		t.Logf("%s: %v\n%s", file, err, text)
	}
	t.Logf("containerd:\n%s", n.containerd.LogTail(20))
}

// startVPP starts the host's VPP and remembers what it holds by itself.
func (n *node) startVPP(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	must(t, n.vpp.Up(ctx))
	n.objects, err = n.vppObjects(ctx)
	must(t, err)
}

func (n *node) vppObjects(ctx context.Context) ([]string, error) {
	objects, err := (&lab.Node{VPP: n.vpp}).VPPObjects(ctx)
	slices.Sort(objects)
	return objects, err
}

// shell runs what an operator types, and shows it.
func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := tryShell(t.Context(), t, script)
	if err != nil {
		t.Fatalf("%s\n%v", out, err)
	}
	return out
}

func tryShell(ctx context.Context, t *testing.T, script string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "sh", "-ec", systemctl+script)
	cmd.Env = append(os.Environ(), "BIN="+os.Getenv(binEnv), "DEPLOY="+deployDir, "STATE="+machine.StateDir)
	out, err := cmd.CombinedOutput()
	t.Logf("$ %s\n%s", script, out)
	return string(out), err
}

// places are the files where ours are installed.
func places(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, dir := range []string{"/opt/cni/bin", "/etc/cni/net.d", "/etc/vpp-cni"} {
		must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && path != dir {
				out = append(out, path)
			}
			return err
		}))
	}
	return out
}

// exactly compares what is on the node and in etcd with what these pods need.
func (n *node) exactly(ctx context.Context, pods ...*pod) error {
	var errs []error
	resp, err := n.etcd.Get(ctx, keyPrefix+"nodes/"+nodeName+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	var keys []string
	for _, kv := range resp.Kvs {
		keys = append(keys, strings.TrimPrefix(string(kv.Key), keyPrefix+"nodes/"+nodeName+"/"))
	}
	want := map[string][]string{"keys": {"agent"}, "directories": nil, "addresses": nil, "namespaces": nil}
	for _, p := range pods {
		end := p.sandbox + "/" + ifname
		want["keys"] = append(want["keys"], "host/"+end, "host-status/"+end, "pods/"+p.uid+"/interfaces/"+ifname, "pods/"+p.uid+"/status/"+ifname)
		want["directories"] = append(want["directories"], p.uid)
		for _, ip := range p.ips {
			want["addresses"] = append(want["addresses"], ip.String())
		}
	}
	got := map[string][]string{
		"keys": keys, "directories": names(filepath.Join(runDir, "pods"), ""),
		"addresses": names(filepath.Join(ipamDir, "pods"), ".:"),
	}
	for what, have := range got {
		errs = append(errs, same(what, have, want[what]))
	}
	if ns := names("/run/netns", ""); len(ns) != len(pods) {
		errs = append(errs, fmt.Errorf("network namespaces %v, %d are wanted", ns, len(pods)))
	}
	if len(pods) == 0 {
		objects, err := n.vppObjects(ctx)
		errs = append(errs, err, same("objects in VPP", objects, n.objects))
	}
	return errors.Join(errs...)
}

// names are those of a directory's entries that have one of the characters; of all,
// where none is given.
func names(dir, chars string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "last_reserved_ip") && (chars == "" || strings.ContainsAny(e.Name(), chars)) && e.Name() != ".trash" {
			out = append(out, e.Name())
		}
	}
	return out
}

func same(what string, got, want []string) error {
	slices.Sort(got)
	slices.Sort(want)
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("%s (- wanted, + there):\n%s", what, cmp.Diff(want, got))
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok has no objection; the last one ends the test.
func eventually(t *testing.T, limit time.Duration, what string, ok func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	for {
		err := ok(ctx)
		if err == nil {
			t.Logf("%s: after %.1f s", what, time.Since(start).Seconds())
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
