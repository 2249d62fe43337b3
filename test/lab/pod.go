package lab

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/proc"
)

// Pod is a pod: a sandbox that the plugin attaches, and beside the application
// a VPP and a container agent.
type Pod struct {
	Namespace, Name, UID string
	// Container is the sandbox's id.
	Container string
	VPP       *proc.VPP
	Agent     *proc.Process
	Node      *Node
	// HTTP is the socket of the container agent's health, metrics and verify.
	HTTP string
}

// NewPod makes a pod's names; nothing runs yet. As on a real node, ADD comes
// before the containers.
func (n *Node) NewPod(namespace, name string) (*Pod, error) {
	var id [48]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("pod %s: %w", name, err)
	}
	return n.NewPodAs(namespace, name, id)
}

// NewPodAs is NewPod with the bytes that sandbox id and UID are made of.
func (n *Node) NewPodAs(namespace, name string, id [48]byte) (*Pod, error) {
	h := hex.EncodeToString(id[:])
	uid := strings.Join([]string{h[64:72], h[72:76], h[76:80], h[80:84], h[84:96]}, "-")
	p := &Pod{Namespace: namespace, Name: name, Container: h[:64], UID: uid, Node: n}
	dir := filepath.Join(n.dir, name)
	var err error
	if p.VPP, err = proc.NewVPP(n.Name+"-"+name, n.lab.cfg.PodVPP, dir, n.lab.cfg.PodHeap); err != nil {
		return nil, err
	}
	p.HTTP = filepath.Join(dir, "agent.sock")
	args := []string{
		"--socket-dir", p.SocketDir(), "--vpp-socket", p.VPP.APISocket,
		"--http", "unix://" + p.HTTP, "--log-level", n.lab.cfg.LogLevel,
	}
	if n.lab.cfg.DirectPods {
		args = append(args, "--endpoints", strings.Join(n.lab.cfg.Endpoints, ","), "--node", n.Name, "--pod", p.UID)
		if n.lab.cfg.Prefix != "" {
			args = append(args, "--prefix", n.lab.cfg.Prefix)
		}
		if n.lab.cfg.Access != nil {
			args = append(args, "--etcd-config", n.ConfigFile) // for its certificate
		}
	}
	if d := n.lab.cfg.AuditInterval; d != 0 {
		args = append(args, "--audit-interval", d.String())
	}
	p.Agent = proc.New(n.Name+"-"+name+"-agent", dir, n.lab.bin("vpp-container-agent"), args...)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pods = append(n.pods, p)
	return p, nil
}

// Get asks the container agent's HTTP socket for path.
func (p *Pod) Get(ctx context.Context, path string) (code int, body string, err error) {
	return get(ctx, p.Agent.Name, p.HTTP, path)
}

// SocketDir is the pod's directory of sockets; in the lab host and pod see it
// at the same place.
func (p *Pod) SocketDir() string { return filepath.Join(p.Node.RunDir, "pods", p.UID) }

// Start runs the pod's containers: VPP and container agent.
func (p *Pod) Start(ctx context.Context) error {
	if err := p.VPP.Up(ctx); err != nil {
		return err
	}
	return p.Agent.Start()
}

// Stop ends the pod's containers; its sandbox stays attached.
func (p *Pod) Stop() error { return errors.Join(p.Agent.Stop(), p.VPP.Kill()) }

// Runtime is how a container runtime calls the plugin for this pod.
func (p *Pod) Runtime(ifname string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: p.Container,
		NetNS:       "/run/netns/" + p.Container[:12],
		IfName:      ifname,
		Args: [][2]string{
			{"IgnoreUnknown", "1"},
			{"K8S_POD_NAMESPACE", p.Namespace},
			{"K8S_POD_NAME", p.Name},
			{"K8S_POD_INFRA_CONTAINER_ID", p.Container},
			{"K8S_POD_UID", p.UID},
		},
	}
}

// CNI calls plugins as a runtime on this node does, with a cache of its own.
func (n *Node) CNI() *libcni.CNIConfig {
	return n.CNIBy(&invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: nil}})
}

// CNIBy is CNI with plugins that exec starts.
func (n *Node) CNIBy(exec invoke.Exec) *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir([]string{n.lab.cfg.BinDir}, filepath.Join(n.dir, "cni-cache"), exec)
}

// Network reads a network configuration list. The plugin finds the node's
// config.yaml by the list's configFile.
func (n *Node) Network(conflist string) (*libcni.NetworkConfigList, error) {
	return libcni.NetworkConfFromBytes([]byte(strings.NewReplacer(
		"@CONFIG@", n.ConfigFile, "@IPAM@", n.IPAMDir).Replace(conflist)))
}

// Add attaches the pod to the network.
func (p *Pod) Add(ctx context.Context, list *libcni.NetworkConfigList, ifname string) (types.Result, error) {
	return p.Node.CNI().AddNetworkList(ctx, list, p.Runtime(ifname))
}

// Check compares what ADD answered with what is there.
func (p *Pod) Check(ctx context.Context, list *libcni.NetworkConfigList, ifname string) error {
	return p.Node.CNI().CheckNetworkList(ctx, list, p.Runtime(ifname))
}

// Del detaches the pod from the network.
func (p *Pod) Del(ctx context.Context, list *libcni.NetworkConfigList, ifname string) error {
	return p.Node.CNI().DelNetworkList(ctx, list, p.Runtime(ifname))
}

// Ping sends echo requests from the pod's VPP until want answers came to one
// series, or ctx ends; it returns the last series. Sending more than one series
// covers the time in which the memif connects and neighbours are found.
func (p *Pod) Ping(ctx context.Context, dst netip.Addr, want int) (sent, replies int, err error) {
	return Ping(ctx, p.VPP, dst, want)
}

// Ping is Pod.Ping from any VPP.
func Ping(ctx context.Context, from *proc.VPP, dst netip.Addr, want int) (sent, replies int, err error) {
	log := logrus.New()
	log.SetLevel(logrus.ErrorLevel)
	runCtx, stop := context.WithCancel(ctx)
	v := vpp.New(vpp.Config{Socket: from.APISocket, SocketRoot: from.Dir, Logger: logrus.NewEntry(log)})
	done := make(chan error, 1)
	go func() { done <- v.Run(runCtx) }()
	defer func() {
		stop()
		<-done
	}()
	for {
		sent, replies, err = v.Ping(ctx, dst, want, 100*time.Millisecond)
		if err == nil && replies >= want {
			return sent, replies, nil
		}
		select {
		case <-ctx.Done():
			return sent, replies, errors.Join(err, fmt.Errorf("ping %s from %s: %d of %d answered: %w", dst, from.Name, replies, sent, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// WaitReady waits until the pod's end of ifname is Ready and its link is up.
func (p *Pod) WaitReady(ctx context.Context, ifname string) error {
	s, err := store.Open(p.Node.lab.Store())
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return p.Agent.WaitFor(ctx, "the pod's end to be ready", func() bool {
		view, err := s.Look(ctx, store.Lookup{
			Node: schema.Node(p.Node.Name), Container: schema.ContainerID(p.Container),
			IfName: schema.IfName(ifname), Pod: schema.PodID(p.UID),
		})
		return err == nil && view.PodStatus != nil && view.PodStatus.Value.State == schema.Ready && view.PodStatus.Value.Link == schema.LinkUp
	})
}

// NewSandbox is the same pod with a new sandbox, as after the death of its
// pause process: the UID stays, the container id is another.
func (p *Pod) NewSandbox() *Pod {
	next := *p
	sum := sha256.Sum256([]byte(p.Container))
	next.Container = hex.EncodeToString(sum[:])
	return &next
}
