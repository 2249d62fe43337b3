package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/proc"
)

// Node is one node: a host VPP, a host agent, and the pods on it.
type Node struct {
	Name  string
	VPP   *proc.VPP
	Agent *proc.Process
	// RunDir is the agent's run-dir, ConfigFile the node's configuration that
	// agent and plugin read, IPAMDir the store of host-local.
	RunDir, ConfigFile, IPAMDir string
	// OperatorConfig is the configuration for vpp-cnictl: the node's, but where
	// etcd has users with the operator's certificate.
	OperatorConfig string
	// HTTP is the socket of the agent's health, metrics and verify.
	HTTP string

	lab *Lab
	dir string

	mu   sync.Mutex
	pods []*Pod
}

func (l *Lab) newNode(ctx context.Context, name string) (*Node, error) {
	dir := filepath.Join(l.Dir, name)
	n := &Node{
		Name: name, lab: l, dir: dir,
		RunDir:     filepath.Join(dir, "run"),
		ConfigFile: filepath.Join(dir, "config.yaml"), OperatorConfig: filepath.Join(dir, "operator.yaml"),
		IPAMDir: filepath.Join(dir, "ipam"),
		HTTP:    filepath.Join(dir, "agent.sock"),
	}
	for _, d := range []string{n.RunDir, n.IPAMDir} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return nil, fmt.Errorf("node %s: %w", name, err)
		}
	}
	var err error
	if n.VPP, err = proc.NewVPP(name+"-vpp", l.cfg.VPP, filepath.Join(dir, "vpp"), l.cfg.HostHeap); err != nil {
		return nil, err
	}
	if err := n.writeConfigs(ctx); err != nil {
		return nil, err
	}
	n.Agent = proc.New(name+"-agent", dir, l.bin("vpp-agent"), "--config", n.ConfigFile, "--log-level", l.cfg.LogLevel)
	return n, nil
}

// writeConfigs writes the node's configuration and the operator's.
func (n *Node) writeConfigs(ctx context.Context) error {
	var own, operator etcdtest.Pair
	if a := n.lab.cfg.Access; a != nil {
		pair, err := a.Node(ctx, n.Name)
		if err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
		own, operator = pair, a.Operator
	}
	if err := n.writeConfig(n.ConfigFile, own); err != nil {
		return err
	}
	return n.writeConfig(n.OperatorConfig, operator)
}

// writeConfig writes a configuration as an operator would: what is not the
// default.
func (n *Node) writeConfig(path string, as etcdtest.Pair) error {
	endpoints, err := json.Marshal(n.lab.cfg.Endpoints)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	tls := ""
	if as.Cert != "" {
		tls = fmt.Sprintf("  cacert: %s\n  cert: %s\n  key: %s\n", n.lab.cfg.Access.CA.File, as.Cert, as.Key)
	}
	text := fmt.Sprintf("node: %s\nrunDir: %s\netcd:\n  endpoints: %s\n%sagent:\n  vppSocket: %s\n  http: unix://%s\n  hostMemifSlave: true\n",
		n.Name, n.RunDir, endpoints, tls, n.VPP.APISocket, n.HTTP)
	if most := n.lab.cfg.MaxAttachments; most != 0 {
		text += fmt.Sprintf("  maxAttachments: %d\n", most)
	}
	if d := n.lab.cfg.AuditInterval; d != 0 {
		text += fmt.Sprintf("  auditInterval: %s\n", d)
	}
	if d := n.lab.cfg.LeaseTTL; d != 0 {
		text += fmt.Sprintf("  leaseTTL: %s\n", d)
	}
	if id := n.lab.cfg.BootID; id != "" {
		text += "bootIDFile: " + n.bootIDFile() + "\n"
		if err := n.Reboot(id); err != nil {
			return err
		}
	}
	if n.lab.cfg.Prefix != "" {
		text += "prefix: " + n.lab.cfg.Prefix + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}

func (n *Node) bootIDFile() string { return filepath.Join(n.dir, "boot_id") }

// Reboot makes id the boot's id, as programs see that are started from now on.
// Ending and starting them is the caller's.
func (n *Node) Reboot(id string) error {
	if err := os.WriteFile(n.bootIDFile(), []byte(id+"\n"), 0o600); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}

// WaitReady waits until the agent says that it is ready.
func (n *Node) WaitReady(ctx context.Context) error {
	return n.Agent.WaitFor(ctx, "readiness", func() bool {
		code, _, err := n.Get(ctx, "/readyz")
		return err == nil && code == http.StatusOK
	})
}

// WaitPresence waits until etcd says so too: the plugin goes by that, and a write
// to a busy etcd takes its time.
func (n *Node) WaitPresence(ctx context.Context) error {
	s, err := store.Open(n.lab.Store())
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return n.Agent.WaitFor(ctx, "its presence in etcd to be ready", func() bool {
		nodes, _, err := s.Nodes(ctx)
		return err == nil && slices.ContainsFunc(nodes, func(v store.NodeView) bool {
			return string(v.Node) == n.Name && v.Agent != nil && v.Agent.Value.Ready
		})
	})
}

// Get asks the agent's HTTP socket for path.
func (n *Node) Get(ctx context.Context, path string) (code int, body string, err error) {
	return get(ctx, n.Agent.Name, n.HTTP, path)
}

// get asks an agent's HTTP socket for path.
func get(ctx context.Context, agent, socket, path string) (code int, body string, err error) {
	client := &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", agent, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Left lists what is in the run-dir's pods and in host-local's store: nothing
// when all attachments are gone.
func (n *Node) Left() ([]string, error) {
	var left []string
	for _, dir := range []string{filepath.Join(n.RunDir, "pods"), n.IPAMDir} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			// host-local keeps a directory and two bookkeeping files a network.
			base := filepath.Base(path)
			if path == dir || dir == n.IPAMDir && (d.IsDir() || base == "lock" || strings.HasPrefix(base, "last_reserved_ip")) {
				return nil
			}
			left = append(left, strings.TrimPrefix(path, n.dir+"/"))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	return left, nil
}

// Forget ends a pod's processes and takes it off the node; what is attached
// stays attached.
func (n *Node) Forget(p *Pod) error {
	n.mu.Lock()
	n.pods = slices.DeleteFunc(n.pods, func(o *Pod) bool { return o.UID == p.UID })
	n.mu.Unlock()
	return errors.Join(p.Agent.Kill(), p.VPP.Kill(), os.RemoveAll(p.VPP.Dir))
}

func (n *Node) list() []*Pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.pods)
}

func (n *Node) close() error {
	var errs []error
	for _, p := range n.list() {
		errs = append(errs, p.Stop())
	}
	return errors.Join(append(errs, n.Agent.Stop(), n.VPP.Kill())...)
}

// Metric is the sum of a metric of the agent over all its labels.
func (n *Node) Metric(ctx context.Context, name string) (float64, error) {
	_, body, err := n.Get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	var sum float64
	for line := range strings.Lines(body) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s of %s: %w", name, n.Name, err)
		}
		sum += v
	}
	return sum, nil
}
