package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/lab"
)

// redNet is the network of the demo, in the form of the Userspace CNI.
const redNet = `{
  "cniVersion": "1.1.0",
  "name": "red",
  "plugins": [{
    "type": "vpp-cni",
    "configFile": "@CONFIG@",
    "host": {"engine": "vpp", "iftype": "memif", "netType": "bridge",
             "memif": {"role": "master", "mode": "ethernet"}, "bridge": {"bridgeName": "red"}},
    "container": {"engine": "vpp", "iftype": "memif", "netType": "interface",
                  "memif": {"role": "slave", "mode": "ethernet"}},
    "ipam": {"type": "host-local", "dataDir": "@IPAM@",
             "ranges": [[{"subnet": "10.10.0.0/24"}], [{"subnet": "fd00:10::/64"}]]}
  }]
}`

// story is the demo's cast.
type story struct {
	options
	etcd    *etcdtest.Cluster
	lab     *lab.Lab
	node    *lab.Node
	net     *libcni.NetworkConfigList
	pods    []*lab.Pod
	results []*types100.Result
	chapter int
}

func newStory(o options) (*story, error) {
	s := &story{options: o}
	var err error
	if s.lab, err = lab.New(lab.Config{BinDir: o.bin, VPP: o.vpp}); err != nil {
		return nil, err
	}
	if s.etcd, err = etcdtest.New(filepath.Join(s.lab.Dir, "etcd"), etcdtest.Options{Auth: etcdtest.TLS()}); err != nil {
		return nil, errors.Join(err, s.lab.Close())
	}
	s.lab.SetEndpoints(s.etcd.Endpoints(), s.etcd.Access())
	return s, nil
}

func (s *story) close() error {
	err := s.lab.Close()
	s.etcd.Close()
	return err
}

func (s *story) title(text string) {
	s.chapter++
	fmt.Printf("\n%d. %s\n\n", s.chapter, text)
}

func (s *story) startNode(ctx context.Context) error {
	what := "the simulator"
	if s.vpp != "" {
		what = s.vpp
	}
	fmt.Printf("VPP CNI: two pods, each with a VPP of its own, ping through the host's VPP (%s)\n", what)
	if s.etcd.Access() != nil {
		fmt.Println("etcd has TLS, client certificates and users: the node's may touch the node's keys only")
	}
	s.title("A node: etcd, the host's VPP and its agent start")
	node, err := s.lab.StartNode(ctx, "node-1")
	if err != nil {
		return err
	}
	if err = node.WaitPresence(ctx); err != nil {
		return err
	}
	s.node = node
	if s.net, err = node.Network(redNet); err != nil {
		return err
	}
	return s.show(ctx, "vpp-cnictl", "get", "nodes")
}

func (s *story) attach(ctx context.Context) error {
	s.title("The runtime calls the plugin: ADD, once a pod, on network red")
	for _, name := range []string{"client", "server"} {
		p, err := s.node.NewPod("default", name)
		if err != nil {
			return err
		}
		begin := time.Now()
		res, err := p.Add(ctx, s.net, "net1")
		if err != nil {
			return fmt.Errorf("ADD of %s: %w", name, err)
		}
		took := time.Since(begin)
		result, err := types100.NewResultFromResult(res)
		if err != nil {
			return err
		}
		s.pods, s.results = append(s.pods, p), append(s.results, result)
		fmt.Printf("   ADD %-6s  %s  %s  (%s, whole process)\n", name, p.Container[:12], addresses(result), took.Round(100*time.Microsecond))
	}
	fmt.Printf("\n   what ADD answered for %s:\n", s.pods[0].Name)
	b, err := json.MarshalIndent(s.results[0], "   ", "  ")
	if err != nil {
		return err
	}
	fmt.Printf("   %s\n", b)
	return nil
}

func (s *story) keys(ctx context.Context) error {
	s.title("etcd holds what is wanted and what the agent made of it")
	if err := s.show(ctx, "etcdctl", "get", "--prefix", "--keys-only", schema.Keys{}.Root()); err != nil {
		return err
	}
	host := schema.Keys{}.HostStatus(schema.Node(s.node.Name), schema.ContainerID(s.pods[0].Container), "net1")
	return s.show(ctx, "etcdctl", "get", "--print-value-only", host)
}

func (s *story) startPods(ctx context.Context) error {
	s.title("The pods' containers start: a VPP and a container agent each")
	for _, p := range s.pods {
		if err := p.Start(ctx); err != nil {
			return err
		}
	}
	if err := s.untilReady(ctx); err != nil {
		return err
	}
	return s.show(ctx, "vpp-cnictl", "get", "attachments", "-o", "wide")
}

// untilReady waits until both pod ends are Ready with their links up.
func (s *story) untilReady(ctx context.Context) error {
	for _, p := range s.pods {
		if err := p.WaitReady(ctx, "net1"); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) ping(ctx context.Context) error {
	s.title("A packet crosses: client's VPP -> memif -> host's VPP -> memif -> server's VPP")
	for _, ip := range s.results[1].IPs {
		dst, _ := netip.AddrFromSlice(ip.Address.IP)
		sent, replies, err := s.pods[0].Ping(ctx, dst.Unmap(), 5)
		if err != nil {
			return err
		}
		fmt.Printf("   client pings %-12s %d sent, %d answered\n", dst.Unmap(), sent, replies)
	}
	return nil
}

func (s *story) check(ctx context.Context) error {
	s.title("CHECK, and what VPP holds against what etcd asks for")
	for _, p := range s.pods {
		if err := p.Check(ctx, s.net, "net1"); err != nil {
			return fmt.Errorf("CHECK of %s: %w", p.Name, err)
		}
		fmt.Printf("   CHECK %-6s  ok\n", p.Name)
	}
	fmt.Println()
	return s.show(ctx, "vpp-cnictl", "verify")
}

func (s *story) detach(ctx context.Context) error {
	s.title("DEL, once a pod")
	for _, p := range s.pods {
		begin := time.Now()
		if err := p.Del(ctx, s.net, "net1"); err != nil {
			return fmt.Errorf("DEL of %s: %w", p.Name, err)
		}
		fmt.Printf("   DEL %-6s  (%s, whole process)\n", p.Name, time.Since(begin).Round(100*time.Microsecond))
		if err := p.Stop(); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) nothingLeft(ctx context.Context) error {
	s.title("Nothing is left but the agent's presence and the network's bridge id")
	if err := s.show(ctx, "etcdctl", "get", "--prefix", "--keys-only", schema.Keys{}.Root()); err != nil {
		return err
	}
	files, err := s.node.Left()
	if err != nil {
		return err
	}
	objects, err := s.node.VPPObjects(ctx)
	if err != nil {
		return err
	}
	var ours []string
	for _, o := range objects {
		if strings.Contains(o, "vpp-cni/") || strings.Contains(o, s.node.RunDir) {
			ours = append(ours, o)
		}
	}
	fmt.Printf("   in the host's VPP: %d objects of ours; in the run-dir and IPAM's store: %d files\n", len(ours), len(files))
	if len(ours)+len(files) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(append(ours, files...), "; "))
	}
	return nil
}

// env lets etcdctl and vpp-cnictl find this demo's etcd and configuration.
func (s *story) env() []string {
	env := []string{
		"ETCDCTL_ENDPOINTS=" + strings.Join(s.etcd.Endpoints(), ","),
		"VPP_CNI_CONFIG=" + s.node.OperatorConfig,
	}
	if a := s.etcd.Access(); a != nil {
		env = append(env, a.Ctl()...)
	}
	return env
}

// show runs a program as a user would and prints the command and its output.
func (s *story) show(ctx context.Context, program string, args ...string) error {
	fmt.Printf("   $ %s %s\n", program, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Env = append(os.Environ(), s.env()...)
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			fmt.Println("   " + line)
		}
	}
	fmt.Println()
	if err != nil {
		return fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	return nil
}

func (s *story) invite() {
	s.title("Everything is left running. In another terminal, from this directory:")
	for _, e := range s.env() {
		fmt.Println("   export " + e)
	}
	dst := s.results[1].IPs[0].Address.IP
	fmt.Printf(`   export PATH=$PWD/bin:$PATH

   etcdctl get --prefix /vpp-cni/v1/        # every key and value
   etcdctl watch --prefix /vpp-cni/v1/      # and then cause one of these
   vpp-cnictl get attachments -o wide
   vpp-cnictl describe node node-1
   vpp-cnictl verify                        # exit status 1 if VPP differs
   vpp-cnictl watch
   curl --unix-socket %s http://agent/metrics

   # another ADD, by hand; the same with DEL takes it away again
   CNI_COMMAND=ADD CNI_CONTAINERID=hand-made CNI_NETNS=/run/netns/hand CNI_IFNAME=net1 \
     CNI_PATH=$PWD/bin vpp-cni < %s
`, s.node.HTTP, s.conf())
	if s.lab.Real() {
		fmt.Printf("   vppctl -s %s show memif\n   vppctl -s %s ping %s\n", s.node.VPP.CLISocket, s.pods[0].VPP.CLISocket, dst)
	}
	fmt.Println("\n   Ctrl-C ends the demo.")
}

// conf writes the plugin's standard input for a call by hand.
func (s *story) conf() string {
	var conf map[string]any
	path := filepath.Join(s.lab.Dir, "red.conf")
	if err := json.Unmarshal(s.net.Plugins[0].Bytes, &conf); err != nil {
		return path
	}
	conf["name"], conf["cniVersion"] = s.net.Name, s.net.CNIVersion
	if b, err := json.MarshalIndent(conf, "", "  "); err == nil {
		_ = os.WriteFile(path, b, 0o600)
	}
	return path
}

func addresses(r *types100.Result) string {
	out := make([]string, 0, len(r.IPs))
	for _, ip := range r.IPs {
		out = append(out, ip.Address.String())
	}
	return strings.Join(out, " ")
}
