package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/lab"
)

// TestDirect has the pods' agents speak with etcd itself; in all other tests
// they speak with the node's agent.
func TestDirect(t *testing.T) {
	vpp := os.Getenv("VPP")
	c := startClusterAs(t, lab.Config{VPP: vpp, PodVPP: vpp, DirectPods: true})
	n := c.node(t)
	list := n.network(t, memifs[0])
	before := c.state(t, n)
	a, b := n.pod(t, "direct-a"), n.pod(t, "direct-b")
	a.add(t, list, "net1")
	target := b.add(t, list, "net1").IPs[0].Address.IP.String()
	a.start(t)
	b.start(t)
	a.ping(t, target)
	for _, p := range []pod{a, b} {
		p.del(t, list, "net1")
		p.stop(t)
	}
	c.requireState(t, n, before)
}

// etcdctl runs an unchanged etcdctl on the pod's gateway.
func (p pod) etcdctl(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(timeout(t), filepath.Join(binDir(), "etcdctl"), append([]string{
		"--endpoints", "unix://" + filepath.Join(p.SocketDir(), schema.GatewaySocket), "--command-timeout", "10s",
	}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestEtcdctl is a person in a pod with etcdctl: own keys and no others, statuses
// and nothing else.
func TestEtcdctl(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	list := n.network(t, memifs[0])
	a, b := n.pod(t, "ctl-a"), n.pod(t, "ctl-b")
	a.add(t, list, "net1")
	b.add(t, list, "net1")
	a.start(t)
	if err := a.WaitReady(timeout(t), "net1"); err != nil {
		t.Fatal(err)
	}
	const status = `{"specRevision":1,"state":"Ready","reason":"Applied","since":"2026-01-01T00:00:00Z"}`
	for _, step := range []struct {
		name, stdin string
		args        []string
		want        string
		refused     bool
	}{
		{name: "all keys", args: []string{"get", "--from-key", "", "--keys-only"}, want: "interfaces/net1\n\nstatus/net1\n"},
		{name: "the cluster's keys", args: []string{"get", "--prefix", "/vpp-cni", "--keys-only"}, want: ""},
		{name: "another pod", args: []string{"get", "--prefix", "../" + b.UID, "--keys-only"}, want: ""},
		{name: "put a status", args: []string{"put", "status/net1", status}, want: "OK"},
		{name: "put what is desired", args: []string{"put", "interfaces/net1", "{}"}, want: "etcdserver: permission denied", refused: true},
		{name: "put a status of nothing", args: []string{"put", "status/net9", status}, want: "etcdserver: permission denied", refused: true},
		{name: "put no status", args: []string{"put", "status/net1", "hello"}, want: "etcdserver: permission denied", refused: true},
		{
			name: "transaction", args: []string{"txn"}, want: "SUCCESS\n\nOK\n\nstatus/net1\n" + status,
			stdin: "create(\"interfaces/net1\") > \"0\"\n\nput status/net1 " + status + "\nget status/net1\n\n\n",
		},
		{name: "delete all", args: []string{"del", "--prefix", ""}, want: "etcdserver: permission denied", refused: true},
		{name: "a lease", args: []string{"lease", "grant", "60"}, want: "etcdserver: permission denied", refused: true},
		{name: "members", args: []string{"member", "list"}, want: "etcdserver: permission denied", refused: true},
		{name: "compaction", args: []string{"compaction", "1"}, want: "etcdserver: permission denied", refused: true},
		{name: "a snapshot", args: []string{"snapshot", "save", filepath.Join(t.TempDir(), "all")}, want: "etcdserver: permission denied", refused: true},
		{name: "users", args: []string{"user", "list"}, want: "etcdserver: permission denied", refused: true},
		{name: "a lock", args: []string{"lock", "mine"}, want: "etcdserver: permission denied", refused: true},
	} {
		out, err := a.etcdctl(t, step.stdin, step.args...)
		if (err != nil) != step.refused || !strings.Contains(out, step.want) || step.want == "" && strings.TrimSpace(out) != "" {
			t.Errorf("%s: %v, want %q and refused %v:\n%s", step.name, err, step.want, step.refused, out)
		}
		if strings.Contains(out, b.UID) && !strings.Contains(step.name, "another") {
			t.Errorf("%s tells of another pod:\n%s", step.name, out)
		}
	}
}
