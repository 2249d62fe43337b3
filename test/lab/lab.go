package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// Config says what the lab runs.
type Config struct {
	// BinDir holds the built programs: vpp-cni, vpp-agent, vpp-container-agent,
	// vppsim, host-local, static.
	BinDir string
	// VPP is the VPP to run; empty means the simulator in BinDir.
	VPP string
	// PodVPP is the VPP of the pods; empty means the same as VPP.
	PodVPP string
	// Endpoints of the etcd to use.
	Endpoints []string
	// Access is how to get at an etcd with TLS and users; nil: it is open. Each node
	// then has a user and a certificate of its own.
	Access *etcdtest.Access
	// Prefix of all keys; empty means schema.DefaultPrefix.
	Prefix string
	// LogLevel of the agents; empty means info.
	LogLevel string
	// HostHeap is the main heap of a host's VPP; empty means 256M.
	HostHeap string
	// TempDir is where the lab's directory is made; empty means /tmp. On tmpfs,
	// as /run is on a node, VPP binds its sockets faster.
	TempDir string
	// PodHeap is the main heap of a pod's VPP; empty means 256M.
	PodHeap string
	// BootID, where it is not empty, is what the nodes' programs take for the
	// kernel's id of the boot (see Node.Reboot).
	BootID string
	// DirectPods has the pods' agents speak with etcd itself, and not with the
	// node's agent over its gateway.
	DirectPods bool
	// MaxAttachments is how many a node may have; 0 means the product's default.
	MaxAttachments int
	// AuditInterval and LeaseTTL are the agents'; 0 means the product's default.
	AuditInterval, LeaseTTL time.Duration
}

// Lab is a set of nodes and pods on one etcd.
type Lab struct {
	cfg Config
	// Dir holds everything of the lab. Its path is short: VPP's socket paths
	// have at most 107 characters.
	Dir   string
	nodes []*Node
}

// New makes an empty lab in a temporary directory of its own.
func New(cfg Config) (*Lab, error) {
	bin, err := filepath.Abs(cfg.BinDir)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	cfg.BinDir = bin
	if cfg.VPP == "" {
		cfg.VPP = filepath.Join(bin, "vppsim")
	}
	if cfg.PodVPP == "" {
		cfg.PodVPP = cfg.VPP
	}
	if cfg.HostHeap == "" {
		cfg.HostHeap = "256M"
	}
	if cfg.PodHeap == "" {
		cfg.PodHeap = "256M"
	}
	if cfg.LogLevel == "" {
		cfg.LogLevel = "info"
	}
	if cfg.TempDir == "" {
		cfg.TempDir = "/tmp"
	}
	dir, err := os.MkdirTemp(cfg.TempDir, "vpplab")
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return &Lab{cfg: cfg, Dir: dir}, nil
}

// Real says whether the hosts' VPPs are real ones.
func (l *Lab) Real() bool { return filepath.Base(l.cfg.VPP) != "vppsim" }

func (l *Lab) bin(name string) string { return filepath.Join(l.cfg.BinDir, name) }

// Close ends all processes, pods first, and removes the lab's directory.
func (l *Lab) Close() error {
	var errs []error
	for _, n := range l.nodes {
		errs = append(errs, n.close())
	}
	errs = append(errs, os.RemoveAll(l.Dir))
	return errors.Join(errs...)
}

// StartNode starts a node: its VPP and its agent, both ready when it returns.
func (l *Lab) StartNode(ctx context.Context, name string) (*Node, error) {
	n, err := l.newNode(ctx, name)
	if err != nil {
		return nil, err
	}
	l.nodes = append(l.nodes, n)
	if err := n.VPP.Up(ctx); err != nil {
		return nil, err
	}
	if err := n.Agent.Start(); err != nil {
		return nil, err
	}
	return n, n.WaitReady(ctx)
}

// Logs is the end of each program's output, by the program's name.
func (l *Lab) Logs(lines int) map[string]string {
	logs := map[string]string{}
	for _, n := range l.nodes {
		logs[n.VPP.Name] = n.VPP.LogTail(lines)
		logs[n.Agent.Name] = n.Agent.LogTail(lines)
		for _, p := range n.list() {
			logs[p.VPP.Name] = p.VPP.LogTail(lines)
			logs[p.Agent.Name] = p.Agent.LogTail(lines)
		}
	}
	return logs
}

// SetEndpoints says which etcd the nodes started from now on use, and how to get
// at it (Config.Access).
func (l *Lab) SetEndpoints(endpoints []string, access *etcdtest.Access) {
	l.cfg.Endpoints, l.cfg.Access = endpoints, access
}

// Store is how the lab itself connects with etcd: as the operator where there are
// users.
func (l *Lab) Store() store.Config {
	cfg := store.Config{Endpoints: l.cfg.Endpoints}
	if l.cfg.Access != nil {
		cfg = l.cfg.Access.Store(l.cfg.Access.Operator)
	}
	cfg.Prefix = l.cfg.Prefix
	return cfg
}
