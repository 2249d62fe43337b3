package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/vpp-cni/vpp-cni/test/traffic"
)

// faulty is a cluster whose host VPP is a simulator that takes commands.
func faulty(t *testing.T) (*cluster, node) {
	t.Helper()
	sim, err := filepath.Abs(filepath.Join(binDir(), "vppsim"))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "vppsim")
	script := fmt.Sprintf("#!/bin/sh\nexec %s --fault-socket \"$(dirname \"$2\")/fault.sock\" \"$@\"\n", sim)
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	c := startClusterOn(t, program, "")
	return c, c.node(t)
}

// fault gives the simulator a command.
func (n node) fault(t *testing.T, format string, args ...any) {
	t.Helper()
	command := fmt.Sprintf(format, args...)
	conn, err := net.DialTimeout("unix", filepath.Join(n.VPP.Dir, "fault.sock"), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err = conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err = fmt.Fprintln(conn, command); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(answer, "ok") {
		t.Fatalf("fault %q: %s%v", command, answer, err)
	}
}

// addCalls are the messages that an ADD to a bridge needs.
var addCalls = []string{
	"memif_socket_filename_add_del_v2", "memif_create_v2", "sw_interface_tag_add_del",
	"sw_interface_set_l2_bridge", "sw_interface_set_flags",
}

// TestSlowVPP: a VPP that takes 50 ms for each call delays ADD and DEL and fails
// none that has the time; nobody's packets suffer.
func TestSlowVPP(t *testing.T) {
	t.Parallel()
	c, n := faulty(t)
	f := c.flow(t, n, memifs[0], traffic.Options{})
	before := c.state(t, n)
	for _, m := range append([]string{"sw_interface_dump", "bridge_domain_add_del_v2", "memif_delete"}, addCalls...) {
		n.fault(t, "delay %s 50ms", m)
	}
	pods := make([]pod, 8)
	var wg sync.WaitGroup
	for i := range pods {
		pods[i] = n.pod(t, fmt.Sprintf("slow-%d", i))
		wg.Go(func() {
			begin := time.Now()
			if _, err := pods[i].Add(timeout(t), f.list, "net1"); err != nil {
				t.Errorf("ADD %s: %v", pods[i].Name, err)
			}
			t.Logf("ADD %s took %s", pods[i].Name, time.Since(begin).Round(time.Millisecond))
		})
	}
	wg.Wait()
	for _, p := range pods {
		p.check(t, f.list)
		p.del(t, f.list, "net1")
	}
	n.fault(t, "clear")
	eventually(t, "clean-up", func() string { return difference(before, c.state(t, n)) })
	requireNothingLost(t, []*flow{f})
}

// TestUnansweredCalls: one message is never answered. ADD ends with "try again
// later" in its time and leaves nothing but what the agent cannot remove while
// VPP is like this; when it is well again the agent removes that too, and ADD
// works.
func TestUnansweredCalls(t *testing.T) {
	for _, message := range append([]string{"sw_interface_dump"}, addCalls...) {
		t.Run(message, func(t *testing.T) {
			t.Parallel()
			c, n := faulty(t)
			net := memifs[0]
			net.extra = `"timeout": "2s",`
			f := c.flow(t, n, net, traffic.Options{})
			before := c.state(t, n)
			n.fault(t, "ignore %s", message)
			p := n.pod(t, "unanswered")
			begin := time.Now()
			_, err := p.Add(timeout(t), f.list, "net1")
			took := time.Since(begin)
			t.Logf("ADD after %s: %v", took.Round(time.Millisecond), err)
			var cni *types.Error
			switch {
			case err == nil && message != "sw_interface_dump": // an ADD alone needs no dump
				t.Error("ADD succeeded though VPP did not do all of it")
			case err != nil && (!errors.As(err, &cni) || cni.Code != types.ErrTryAgainLater):
				t.Errorf("ADD: %v, want code %d", err, types.ErrTryAgainLater)
			}
			if took > 5*time.Second {
				t.Errorf("ADD took %s, allowed are 2 s and the time to withdraw", took)
			}
			n.fault(t, "clear")
			if err == nil {
				p.del(t, f.list, "net1")
			}
			begin = time.Now()
			eventually(t, "clean-up", func() string { return difference(before, c.state(t, n)) })
			t.Logf("clean %s after the fault ended", time.Since(begin).Round(time.Millisecond))
			eventually(t, "ADD", func() string {
				if _, err := p.Add(timeout(t), f.list, "net1"); err != nil {
					return err.Error()
				}
				return ""
			})
			p.check(t, f.list)
			p.del(t, f.list, "net1")
			requireNothingLost(t, []*flow{f})
		})
	}
}
