package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// pod is one of the lab's pods; docker-compose.yml has the same UIDs.
type pod struct{ name, node, uid string }

var pods = []pod{
	{"client-1", "node-1", "7d1f0c5e-0000-4000-8000-00000000000a"},
	{"server-1", "node-1", "7d1f0c5e-0000-4000-8000-00000000000b"},
	{"client-2", "node-2", "7d1f0c5e-0000-4000-8000-00000000000c"},
	{"server-2", "node-2", "7d1f0c5e-0000-4000-8000-00000000000d"},
}

const (
	readyWait = 90 * time.Second
	pollEvery = 300 * time.Millisecond
)

// up starts the lab. What is there already stays, and an ADD that is repeated
// answers the same.
func up(ctx context.Context, c *compose) error {
	begin := time.Now()
	fmt.Println("VPP CNI: three etcd members, two nodes with two pods each, every one a container")
	title("etcd, the nodes' VPPs and agents start")
	if _, err := c.run(ctx, "up", "-d"); err != nil {
		return err
	}
	if err := c.until(ctx, "both nodes to be ready", c.nodesReady); err != nil {
		return err
	}
	if err := c.show(ctx, "node-1", "/vpp-cnictl", "get", "nodes"); err != nil {
		return err
	}
	title("ADD, once a pod, in its node's container")
	addresses := map[string][]string{}
	for _, p := range pods {
		out, err := c.in(ctx, p.node, "/lab", "cni", "ADD", "--pod", p.name, "--uid", p.uid)
		if err != nil {
			return fmt.Errorf("ADD of %s: %w", p.name, err)
		}
		if addresses[p.name], err = answered(out); err != nil {
			return fmt.Errorf("ADD of %s: %w", p.name, err)
		}
		fmt.Printf("   %-9s %s\n", p.name, strings.Join(addresses[p.name], " "))
	}
	title("the pods start: a VPP and a container agent each, without a network")
	if _, err := c.run(ctx, "--profile", "pods", "up", "-d"); err != nil {
		return err
	}
	if err := c.until(ctx, "all pods' ends to be ready", c.podsReady); err != nil {
		return err
	}
	if err := c.show(ctx, "node-1", "/vpp-cnictl", "get", "attachments"); err != nil {
		return err
	}
	if err := c.pings(ctx, addresses); err != nil {
		return err
	}
	c.invite(addresses, time.Since(begin))
	return nil
}

func title(text string) { fmt.Printf("\n%s\n\n", text) }

// answered are the addresses in the answer of an ADD.
func answered(text string) ([]string, error) {
	var result struct {
		IPs []struct {
			Address string `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal([]byte(text), &result); err != nil {
		return nil, err
	}
	out := make([]string, 0, len(result.IPs))
	for _, ip := range result.IPs {
		out = append(out, ip.Address)
	}
	return out, nil
}

// until asks again until ok says yes; what it answered last is for the error.
func (c *compose) until(ctx context.Context, what string, ok func(context.Context) (bool, string)) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	last := ""
	for {
		done, said := ok(ctx)
		if done {
			return nil
		}
		if ctx.Err() == nil { // else it was cut short
			last = said
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; it was\n%s", what, ctx.Err(), last)
		case <-time.After(pollEvery):
		}
	}
}

func (c *compose) nodesReady(ctx context.Context) (bool, string) {
	out, err := c.in(ctx, "node-1", "/vpp-cnictl", "get", "nodes")
	return err == nil && strings.Count(out, " Ready ") == 2, fmt.Sprint(out, err)
}

func (c *compose) podsReady(ctx context.Context) (bool, string) {
	out, err := c.in(ctx, "node-1", "/vpp-cnictl", "get", "attachments")
	ready := 0
	for line := range strings.Lines(out) {
		if strings.Count(line, " Ready ") == 2 && strings.Contains(line, " Up ") {
			ready++
		}
	}
	return err == nil && ready == len(pods), fmt.Sprint(out, err)
}

// show runs a program in a container and prints what a user would type, and the
// output.
func (c *compose) show(ctx context.Context, service string, args ...string) error {
	out, err := c.in(ctx, service, args...)
	fmt.Printf("   $ %s exec %s %s\n", strings.Join(c.program, " "), service, strings.Join(args, " "))
	for line := range strings.Lines(out) {
		fmt.Print("   ", line)
	}
	return err
}

func (c *compose) pings(ctx context.Context, addresses map[string][]string) error {
	title("packets: client's VPP -> memif -> node's VPP -> memif -> server's VPP")
	for _, n := range []string{"1", "2"} {
		for _, a := range addresses["server-"+n] {
			ip, _, _ := strings.Cut(a, "/")
			out, err := c.run(ctx, "--profile", "tools", "run", "--rm", "-T", "client-"+n+"-ping", ip)
			if err != nil {
				return err
			}
			fmt.Printf("   client-%s pings %s", n, out)
		}
	}
	return nil
}

// invite prints what to try.
func (c *compose) invite(addresses map[string][]string, took time.Duration) {
	title(fmt.Sprintf("The lab runs (%.0f s). To try, from deploy/compose:", took.Seconds()))
	server, _, _ := strings.Cut(append(addresses["server-1"], "")[0], "/")
	name := strings.Join(c.program, " ")
	for _, line := range []string{
		"exec etcd-1 /etcdctl get --prefix /vpp-cni              # every key and value",
		"exec etcd-1 /etcdctl watch --prefix /vpp-cni            # and then cause one of the following",
		"exec node-1 /vpp-cnictl get attachments -o wide",
		"exec node-1 /vpp-cnictl describe node node-1",
		"exec node-1 /vpp-cnictl verify                          # exit status 1 if VPP differs",
		"stop etcd-2                                             # a quorum is left; start etcd-2 again",
		"kill node-1-vpp; " + name + " start node-1-vpp               # and all of it is put back",
		"kill client-1-vpp client-1-agent; " + name + " --profile pods start client-1-vpp client-1-agent",
		"run --rm client-1-ping " + server,
		"exec node-1 /lab cni DEL --pod client-1 --uid " + pods[0].uid,
	} {
		fmt.Println("   " + name + " " + line)
	}
	if os.Getenv("VPP_IMAGE") != "" {
		fmt.Printf("   %s exec node-1-vpp vppctl -s /run/vpp/cli.sock show memif\n   %s exec client-1-vpp vppctl -s /run/vpp/cli.sock ping %s\n", name, name, server)
	}
	fmt.Println("\n   make lab-down   takes it away")
}

// down removes the lab, or what a crash has left of it.
func down(ctx context.Context, c *compose) error {
	_, err := c.run(ctx, "--profile", "pods", "--profile", "tools", "down", "-v", "--remove-orphans", "-t", "3")
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	rest, err := left(ctx)
	if err != nil {
		return err
	}
	for _, kind := range []string{"container", "volume", "network"} {
		args := []string{kind, "rm"}
		if kind == "container" {
			args = append(args, "-f")
		}
		if len(rest[kind]) > 0 {
			if _, err = output(exec.CommandContext(ctx, "docker", append(args, rest[kind]...)...)); err != nil { //nolint:gosec // arguments of ours
				return err
			}
		}
	}
	if rest, err = left(ctx); err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("docker still has %v", rest)
	}
	fmt.Println("The lab is gone: no container, volume or network is left.")
	return nil
}
