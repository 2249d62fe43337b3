package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/lab"
)

// patience bounds every single step of a test.
const patience = 30 * time.Second

// cluster is an etcd and a lab for one test.
type cluster struct {
	lab   *lab.Lab
	store *store.Store
	etcd  *etcdtest.Cluster
}

// binDir is where `make build tools` puts the programs.
func binDir() string { return filepath.Join("..", "..", "bin") }

func startCluster(t *testing.T) *cluster {
	t.Helper()
	return startClusterOn(t, os.Getenv("VPP"), os.Getenv("VPP"))
}

// startClusterOn runs hosts and pods on the VPPs given, the simulator where one
// is empty.
func startClusterOn(t *testing.T, hostVPP, podVPP string) *cluster {
	t.Helper()
	return startClusterAs(t, lab.Config{VPP: hostVPP, PodVPP: podVPP})
}

// startClusterAt is startClusterOn with another log level of the agents.
func startClusterAt(t *testing.T, hostVPP, podVPP, logLevel string) *cluster {
	t.Helper()
	return startClusterAs(t, lab.Config{VPP: hostVPP, PodVPP: podVPP, LogLevel: logLevel})
}

// startClusterAs runs what cfg says, with the programs that were built.
func startClusterAs(t *testing.T, cfg lab.Config) *cluster {
	t.Helper()
	for _, name := range []string{"vpp-cni", "vpp-agent", "vpp-container-agent", "vppsim", "host-local"} {
		if _, err := os.Stat(filepath.Join(binDir(), name)); err != nil {
			t.Fatalf("run `make build tools` first: %v", err)
		}
	}
	if cfg.PodVPP == "" {
		cfg.PodVPP = filepath.Join(binDir(), "vppsim")
	}
	etcd := etcdtest.Start(t, etcdtest.Options{Auth: etcdtest.TLS()})
	if cfg.LogLevel == "" {
		cfg.LogLevel = "debug"
	}
	cfg.BinDir, cfg.Endpoints, cfg.Access = binDir(), etcd.Endpoints(), etcd.Access()
	l, err := lab.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for name, tail := range l.Logs(40) {
				t.Logf("%s:\n%s", name, tail)
			}
		}
		if closeErr := l.Close(); closeErr != nil {
			t.Errorf("close the lab: %v", closeErr)
		}
	})
	s, err := store.Open(l.Store())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &cluster{lab: l, store: s, etcd: etcd}
}

type node struct {
	*lab.Node
}

func (c *cluster) node(t *testing.T) node {
	t.Helper()
	n, err := c.lab.StartNode(timeout(t), "node-1")
	if err == nil {
		err = n.WaitPresence(timeout(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return node{n}
}

func (n node) network(t *testing.T, net network) *libcni.NetworkConfigList {
	t.Helper()
	list, err := n.Network(net.list())
	if err != nil {
		t.Fatalf("network %s: %v", net.name, err)
	}
	return list
}

// writes is how many objects the agent has written since its start.
func (n node) writes(t *testing.T) float64 {
	t.Helper()
	v, err := n.Metric(timeout(t), "vppcni_writes_total")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type pod struct {
	*lab.Pod
}

func (n node) pod(t *testing.T, name string) pod {
	t.Helper()
	p, err := n.NewPod("default", name)
	if err != nil {
		t.Fatal(err)
	}
	return pod{p}
}

func (p pod) add(t *testing.T, list *libcni.NetworkConfigList, ifname string) *types100.Result {
	t.Helper()
	res, err := p.Add(timeout(t), list, ifname)
	if err != nil {
		t.Fatalf("ADD %s %s: %v", p.Name, ifname, err)
	}
	result, err := types100.NewResultFromResult(res)
	if err != nil {
		t.Fatalf("ADD %s %s: %v", p.Name, ifname, err)
	}
	return result
}

func (p pod) check(t *testing.T, list *libcni.NetworkConfigList) {
	t.Helper()
	if err := p.Check(timeout(t), list, "net1"); err != nil {
		t.Errorf("CHECK %s: %v", p.Name, err)
	}
}

func (p pod) del(t *testing.T, list *libcni.NetworkConfigList, ifname string) {
	t.Helper()
	if err := p.Del(timeout(t), list, ifname); err != nil {
		t.Errorf("DEL %s %s: %v", p.Name, ifname, err)
	}
}

func (p pod) start(t *testing.T) {
	t.Helper()
	if err := p.Start(timeout(t)); err != nil {
		t.Fatal(err)
	}
}

func (p pod) stop(t *testing.T) {
	t.Helper()
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

// ping wants three answers in a row to three echo requests.
func (p pod) ping(t *testing.T, dst string) {
	t.Helper()
	sent, replies, err := lab.Ping(timeout(t), p.VPP, netip.MustParseAddr(dst), 3)
	if err != nil {
		t.Fatalf("ping %s from %s: %v", dst, p.Name, err)
	}
	if sent != 3 || replies != 3 {
		t.Errorf("ping %s from %s: %d of %d answered", dst, p.Name, replies, sent)
	}
}

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// state is all that attachments leave anywhere: keys, objects of the host's
// VPP, sockets, directories and addresses. Presence and networks are not
// attachments'.
func (c *cluster) state(t *testing.T, n node) []string {
	t.Helper()
	lines, err := n.VPPObjects(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	left, err := n.Left()
	if err != nil {
		t.Fatal(err)
	}
	keys, _, err := c.store.Subtree(c.store.Keys().NodesPrefix()).List(timeout(t), "")
	if err != nil {
		t.Fatal(err)
	}
	for k := range keys {
		if !strings.HasSuffix(k, "/agent") {
			left = append(left, "key "+k)
		}
	}
	lines = append(lines, left...)
	slices.Sort(lines)
	return lines
}

func (c *cluster) requireState(t *testing.T, n node, want []string) {
	t.Helper()
	got := c.state(t, n)
	if diff := difference(want, got); diff != "" {
		t.Errorf("left behind (+) or gone (-):\n%s", diff)
	}
}

func difference(want, got []string) string {
	var b strings.Builder
	for _, w := range want {
		if !slices.Contains(got, w) {
			fmt.Fprintf(&b, "- %s\n", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			fmt.Fprintf(&b, "+ %s\n", g)
		}
	}
	return b.String()
}
