package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vpp-cni/vpp-cni/test/containerd"
	"github.com/vpp-cni/vpp-cni/test/machine"
	"github.com/vpp-cni/vpp-cni/test/proc"
)

const (
	// NodeName is the node's name in Kubernetes; its host name is another one,
	// as it may be.
	NodeName = "worker-1"
	// NodeIP is the node's address (RFC 5737, TEST-NET-1).
	NodeIP = "192.0.2.1"
	// The paths that runtimes and CNI plugins agree on.
	cniBin  = "/opt/cni/bin"
	cniConf = "/etc/cni/net.d"
	// StateDir holds the cluster's state, in memory: containerd's, the kubelet's and
	// etcd's, and logs.
	StateDir = machine.StateDir
)

// Machine is the machine of its own that a cluster needs.
var Machine = machine.Machine{
	Name: "kubernetes", HostName: NodeName + ".example", Address: NodeIP + "/24",
	Cgroups: []string{"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/*/kubepods"}, // v2 and v1
}

// Config says what the cluster is made of.
type Config struct {
	// Kube is the binary with all of Kubernetes.
	Kube string
	// Containerd is the directory of containerd and its shim; empty: the search
	// path's.
	Containerd string
	// Plugins are CNI plugins that the node brings along, as a node's package
	// does: loopback, host-local.
	Plugins []string
	// Pause is the program of the pods' pause containers.
	Pause string
	// Images are archives of images that are on the node, as docker save makes
	// them.
	Images []string
	// LogDir outlives the cluster.
	LogDir string
}

// Cluster is a running one.
type Cluster struct {
	Containerd *containerd.Containerd
	Kubelet    *proc.Process

	cfg    Config
	others []*proc.Process
}

// Start starts a cluster and returns when its API server answers and its node
// has registered; the node is not Ready, since it has no network yet.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if !Machine.Inside() {
		return nil, errors.New("a cluster needs a machine of its own: call Machine.Enter first")
	}
	c := &Cluster{cfg: cfg}
	if err := os.MkdirAll(cfg.LogDir, 0o755); err != nil {
		return nil, err
	}
	if err := errors.Join(c.writeFiles(), c.installPlugins()); err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	var err error
	if c.Containerd, err = containerd.New(containerd.Config{
		Programs: c.cfg.Containerd, Root: state("containerd"), Pause: c.cfg.Pause, Images: c.cfg.Images, LogDir: c.cfg.LogDir,
	}); err != nil {
		return err
	}
	etcd := c.kube("kube-etcd", "etcd", "--name=n", "--data-dir="+state("etcd"),
		"--listen-client-urls=http://127.0.0.1:12379", "--advertise-client-urls=http://127.0.0.1:12379",
		"--listen-peer-urls=http://127.0.0.1:12380", "--initial-advertise-peer-urls=http://127.0.0.1:12380",
		"--initial-cluster=n=http://127.0.0.1:12380", "--unsafe-no-fsync", "--log-level=warn")
	// Privileged pods it allows as clusters do: to refuse them is admission's.
	api := c.kube("kube-apiserver", "kube-apiserver", "--etcd-servers=http://127.0.0.1:12379",
		"--bind-address=127.0.0.1", "--secure-port=6443", "--advertise-address="+NodeIP,
		"--tls-cert-file="+state("api.crt"), "--tls-private-key-file="+state("api.key"),
		"--token-auth-file="+state("tokens.csv"), "--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+state("sa.key"),
		"--service-account-signing-key-file="+state("sa.key"), "--service-cluster-ip-range=198.51.100.0/24",
		"--endpoint-reconciler-type=none", "--kubelet-preferred-address-types=InternalIP")
	for _, p := range []*proc.Process{etcd, api} {
		if err = p.Start(); err != nil {
			return err
		}
	}
	c.others = append(c.others, etcd, api)
	if err = c.Containerd.Up(ctx); err != nil {
		return err
	}
	ready := func() bool {
		out, notYet := c.Kubectl(ctx, "get", "--raw", "/readyz")
		return notYet == nil && out == "ok"
	}
	if err = api.WaitFor(ctx, "the API server", ready); err != nil {
		return err
	}
	return c.startNode(ctx)
}

// controllers are those that the tests' objects need: each of the others costs
// time at the start.
var controllers = []string{
	"clusterrole-aggregation-controller", "daemonset-controller", "deployment-controller", "disruption-controller",
	"garbage-collector-controller", "namespace-controller", "node-lifecycle-controller", "pod-garbage-collector-controller",
	"replicaset-controller", "root-ca-certificate-publisher-controller", "serviceaccount-controller",
	"serviceaccount-token-controller", "statefulset-controller", "taint-eviction-controller",
	"validatingadmissionpolicy-status-controller",
}

func (c *Cluster) startNode(ctx context.Context) error {
	manager := c.kube("kube-controller-manager", "kube-controller-manager", "--kubeconfig="+kubeconfig("manager"),
		"--controllers="+strings.Join(controllers, ","), "--service-account-private-key-file="+state("sa.key"),
		"--root-ca-file="+state("ca.crt"), "--leader-elect=false", "--bind-address=127.0.0.1")
	scheduler := c.kube("kube-scheduler", "kube-scheduler", "--kubeconfig="+kubeconfig("scheduler"),
		"--leader-elect=false", "--bind-address=127.0.0.1")
	c.Kubelet = c.kube("kubelet", "kubelet", "--config="+state("kubelet.yaml"), "--kubeconfig="+kubeconfig("node"),
		"--hostname-override="+NodeName, "--node-ip="+NodeIP, "--v=3")
	for _, p := range []*proc.Process{manager, scheduler, c.Kubelet} {
		if err := p.Start(); err != nil {
			return err
		}
	}
	c.others = append(c.others, manager, scheduler)
	return c.Kubelet.WaitFor(ctx, "the node to register", func() bool {
		_, err := c.Kubectl(ctx, "get", "node/"+NodeName, "serviceaccount/default")
		return err == nil
	})
}

// Stop ends what Start started. What runs in pods ends with the namespaces.
func (c *Cluster) Stop() error {
	var errs []error
	all := append([]*proc.Process{c.Kubelet}, c.others...)
	if c.Containerd != nil {
		all = append(all, c.Containerd.Process)
	}
	for _, p := range all {
		if p != nil {
			errs = append(errs, p.Kill()) // an API server takes 10 s to end gracefully
		}
	}
	return errors.Join(errs...)
}

// Kubeconfig is the administrator's, for programs on the node.
func (c *Cluster) Kubeconfig() ([]byte, error) { return os.ReadFile(kubeconfig("admin")) }

// Kubectl runs kubectl as the cluster's administrator and gives its output.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.KubectlApply(ctx, "", args...)
}

// KubectlApply is Kubectl with something to read.
func (c *Cluster) KubectlApply(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.cfg.Kube, append([]string{"kubectl"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig("admin"), "HOME="+state("home"))
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

func (c *Cluster) kube(name string, args ...string) *proc.Process {
	return proc.New(name, c.cfg.LogDir, c.cfg.Kube, args...)
}

// Ctr runs containerd's own client in Kubernetes' part of it.
func (c *Cluster) Ctr(ctx context.Context, args ...string) (string, error) {
	return c.Containerd.Ctr(ctx, args...)
}

func (c *Cluster) installPlugins() error {
	for _, d := range []string{cniBin, cniConf} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, p := range c.cfg.Plugins {
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(cniBin, filepath.Base(p)), data, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func state(name string) string { return filepath.Join(StateDir, name) }
