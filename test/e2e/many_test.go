package e2e

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
)

// atATime is how many calls a busy runtime has under way.
const atATime = 16

// TestMany makes and removes attachments over and over, 16 at a time: 200 of
// them five times on a real VPP, 50 of them twice on the simulator (whose
// agents run beside the race detector). Every call succeeds and nothing is left.
func TestMany(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	count, rounds := 50, 2
	if c.lab.Real() {
		count, rounds = 200, 5
	}
	list := n.network(t, network{
		name:    "many",
		host:    `{"engine": "vpp", "iftype": "memif", "netType": "bridge", "bridge": {"bridgeName": "many"}}`,
		subnet4: "10.8.0.0/16", subnet6: "fd00:8::/64",
	})
	before := c.state(t, n)
	for round := range rounds {
		pods := make([]pod, count)
		for i := range pods {
			pods[i] = n.pod(t, fmt.Sprintf("many-%d-%d", round, i))
		}
		begin := time.Now()
		inParallel(t, pods, list, func(p pod, list *libcni.NetworkConfigList) error {
			_, err := p.Add(timeout(t), list, "net1")
			return err
		})
		added := time.Since(begin)
		begin = time.Now()
		inParallel(t, pods, list, func(p pod, list *libcni.NetworkConfigList) error {
			return p.Del(timeout(t), list, "net1")
		})
		t.Logf("round %d: %d ADD at %.0f/s, DEL at %.0f/s", round+1, count,
			float64(count)/added.Seconds(), float64(count)/time.Since(begin).Seconds())
		c.requireState(t, n, before)
	}
}

// inParallel calls f for each pod, 16 at a time, and fails the test with all
// errors.
func inParallel(t *testing.T, pods []pod, list *libcni.NetworkConfigList, f func(pod, *libcni.NetworkConfigList) error) {
	t.Helper()
	work := make(chan pod)
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for range atATime {
		wg.Go(func() {
			for p := range work {
				if err := f(p, list); err != nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
					mu.Unlock()
				}
			}
		})
	}
	for _, p := range pods {
		work <- p
	}
	close(work)
	wg.Wait()
	if len(errs) > 0 {
		t.Fatalf("%d of %d failed: %v", len(errs), len(pods), errors.Join(errs...))
	}
}
