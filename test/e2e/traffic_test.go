package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/vpp-cni/vpp-cni/test/traffic"
)

// restarts is how often the agent is killed under a stream.
const restarts = 20

// rate is packets a second of each stream.
const rate = 500

// end is the pod's end of net1, spoken by the test: no VPP runs in the pod.
func (c *cluster) end(t *testing.T, p pod) *traffic.End {
	t.Helper()
	v := c.look(t, p)
	if v.Pod == nil {
		t.Fatalf("pod %s has no desired end", p.Name)
	}
	endpoint, err := traffic.EndpointOf(v.Pod.Value, p.SocketDir())
	if err != nil {
		t.Fatal(err)
	}
	end, err := traffic.Open(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end.Close)
	return end
}

// flow is a stream between two pods of one network.
type flow struct {
	*traffic.Stream
	name     string
	list     *libcni.NetworkConfigList
	pods     [2]pod
	from, to *traffic.End
}

// flow attaches two pods to a network and lets packets go from one to the other.
func (c *cluster) flow(t *testing.T, n node, net network, o traffic.Options) *flow {
	t.Helper()
	f := &flow{name: net.name, list: n.network(t, net)}
	for i := range f.pods {
		f.pods[i] = n.pod(t, fmt.Sprintf("%s-%d", net.name, i))
		f.pods[i].add(t, f.list, "net1")
	}
	f.from, f.to = c.end(t, f.pods[0]), c.end(t, f.pods[1])
	o.Rate = rate
	var err error
	if f.Stream, err = traffic.Start(timeout(t), f.from, f.to, o); err != nil {
		t.Fatal(err)
	}
	return f
}

// flows are a stream through a bridge, and one of IPv6 over routes.
func (c *cluster) flows(t *testing.T, n node) []*flow {
	t.Helper()
	return []*flow{c.flow(t, n, memifs[0], traffic.Options{}), c.flow(t, n, memifs[2], traffic.Options{IPv6: true})}
}

// requireNothingLost ends the streams.
func requireNothingLost(t *testing.T, flows []*flow) {
	t.Helper()
	for _, f := range flows {
		r := f.Stop()
		t.Logf("%s: %s", f.name, r)
		if r.Lost != 0 || r.Duplicated != 0 || r.Sent == 0 {
			t.Errorf("packets lost between the pods of %s: %s", f.name, r)
		}
	}
}

// TestTrafficAgentRestarts kills the host agent over and over: no packet is lost,
// no restarted agent writes to VPP.
func TestTrafficAgentRestarts(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	flows := c.flows(t, n)
	for i := range restarts {
		rest(t, 50*time.Millisecond)
		if err := n.Agent.Kill(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := n.Agent.Start(); err != nil {
			t.Fatal(err)
		}
		if err := n.WaitReady(timeout(t)); err != nil {
			t.Fatal(err)
		}
		if w := n.writes(t); w != 0 {
			t.Errorf("the agent of restart %d wrote %v objects", i+1, w)
		}
		t.Logf("restart %d: ready after %s", i+1, time.Since(begin).Round(time.Millisecond))
	}
	requireNothingLost(t, flows)
}

// TestTrafficOthersComeAndGo attaches and detaches other pods, 16 at a time, in
// the same networks.
func TestTrafficOthersComeAndGo(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	flows := c.flows(t, n)
	others := 32
	if c.lab.Real() {
		others = 100
	}
	before := c.state(t, n)
	for _, f := range flows {
		pods := make([]pod, others/len(flows))
		for i := range pods {
			pods[i] = n.pod(t, fmt.Sprintf("%s-other-%d", f.name, i))
		}
		begin := time.Now()
		inParallel(t, pods, f.list, func(p pod, list *libcni.NetworkConfigList) error {
			_, err := p.Add(timeout(t), list, "net1")
			return err
		})
		inParallel(t, pods, f.list, func(p pod, list *libcni.NetworkConfigList) error {
			return p.Del(timeout(t), list, "net1")
		})
		t.Logf("%s: %d came and went in %s", f.name, len(pods), time.Since(begin).Round(time.Millisecond))
	}
	requireNothingLost(t, flows)
	c.requireState(t, n, before)
}

// longestRestart bounds the gap that a restart of the host's VPP makes: its
// start, the agent's full pass, and the pause between two tries of a memif slave.
const longestRestart = 10 * time.Second

// TestTrafficVPPRestarts kills the host's VPP twice: packets cross again, nobody
// but the agent having done anything. The second time the pods' ends try to
// connect all the while, so that the gap is VPP's start and the agent's pass.
func TestTrafficVPPRestarts(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	flows := c.flows(t, n)
	for _, eager := range []bool{false, true} {
		rest(t, 200*time.Millisecond)
		begin := time.Now()
		if err := n.VPP.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := n.VPP.Up(timeout(t)); err != nil {
			t.Fatal(err)
		}
		t.Logf("VPP serves its API again after %s", time.Since(begin).Round(time.Millisecond))
		for _, f := range flows {
			if eager {
				f.reconnect(t)
			}
			if err := f.WaitArrival(timeout(t)); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: packets cross again after %s, pods' ends in a hurry: %v", f.name, time.Since(begin).Round(time.Millisecond), eager)
		}
	}
	rest(t, 200*time.Millisecond)
	for _, f := range flows {
		r := f.Stop()
		t.Logf("%s: %s", f.name, r)
		if r.LongestGap > longestRestart {
			t.Errorf("%s: nothing arrived for %s", f.name, r.LongestGap)
		}
		if len(r.Losses) != 2 {
			t.Errorf("%s: lost at %d times, VPP was away twice: %s", f.name, len(r.Losses), r)
		}
		if f.from.Connects() != 3 || f.to.Connects() != 3 {
			t.Errorf("%s: the pods' ends connected %d and %d times, want 3", f.name, f.from.Connects(), f.to.Connects())
		}
	}
}

// reconnect lets the pods' ends try until they are connected.
func (f *flow) reconnect(t *testing.T) {
	t.Helper()
	for _, e := range []*traffic.End{f.from, f.to} {
		if err := e.WaitConnected(timeout(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTrafficEtcdDown stops etcd for a while; an agent that is killed meanwhile
// and comes back before etcd does leaves VPP as it is too.
func TestTrafficEtcdDown(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	flows := c.flows(t, n)
	away := time.Second
	if c.lab.Real() {
		away = 5 * time.Second
	}
	c.etcd.Stop(0)
	rest(t, away)
	if err := n.Agent.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.Agent.Start(); err != nil {
		t.Fatal(err)
	}
	rest(t, away)
	if err := c.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(timeout(t)); err != nil {
		t.Fatal(err)
	}
	if w := n.writes(t); w != 0 {
		t.Errorf("the agent wrote %v objects when etcd came back", w)
	}
	requireNothingLost(t, flows)
}

// rest lets time pass in which something must not happen.
func rest(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}
