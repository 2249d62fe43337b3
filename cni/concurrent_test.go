package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestConcurrentAdds: two ADDs of one attachment at once answer the same, and
// there is one address.
func TestConcurrentAdds(t *testing.T) {
	t.Parallel()
	for name, ipam := range map[string]func(w *world) string{
		"no IPAM":    func(*world) string { return `"ipam":{}` },
		"host-local": func(w *world) string { return w.hostLocal("host-local") },
		"static": func(*world) string {
			return `"ipam":{"type":"static","addresses":[{"address":"10.3.0.5/24","gateway":"10.3.0.1"}]}`
		},
		"host-local, the other one is slower": func(w *world) string {
			w.script("slower", `"$REAL"; code=$?; [ "$CNI_COMMAND" = ADD ] && sleep 0.15; exit $code`)
			return w.hostLocal("slower")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conf := w.conf(routedHost, ipam(w))
			const rounds, callers = 4, 3
			for range rounds {
				outcomes := make([]outcome, callers)
				var wg sync.WaitGroup
				for i := range outcomes {
					p := w.start(runtimeOf("ADD").saying(ofPod("u1")), conf)
					wg.Go(func() { outcomes[i] = p.wait() })
				}
				wg.Wait()
				for _, o := range outcomes {
					o.ok(t)
					if show(o.result.IPs) != show(outcomes[0].result.IPs) || show(o.result.Interfaces) != show(outcomes[0].result.Interfaces) {
						t.Errorf("answers differ:\n%s\n%s", outcomes[0].stdout, o.stdout)
					}
				}
				if a := w.allocated(); len(a) > 1 {
					t.Errorf("allocated: %v", a)
				}
				w.hostValue(testContainer, "net1")
				w.call(runtimeOf("DEL").saying(ofPod("u1")), conf).ok(t)
				w.nothingLeft()
			}
		})
	}
}

// TestConcurrentAddsThatFail: none of them takes from the other.
func TestConcurrentAddsThatFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.timeout = "700ms"
	w.agent.set(mode{silent: true})
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	a, b := w.start(runtimeOf("ADD"), conf), w.start(runtimeOf("ADD"), conf)
	a.wait().fails(t, 11)
	b.wait().fails(t, 11)
	w.hostGone()
	w.agent.set(mode{})
	w.nothingLeft()
}

// TestConcurrentContainers: many attachments at once on one named bridge.
func TestConcurrentContainers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.timeout, w.limit = "60s", 90*time.Second
	conf := w.conf(`"host":{"netType":"bridge","bridge":{"bridgeName":"busy"}}`, w.hostLocal("host-local"))
	var wg sync.WaitGroup
	for i := range 16 {
		c := runtimeOf("ADD").with(fmt.Sprintf("c%d", i)).saying(ofPod(fmt.Sprintf("u%d", i)))
		add := w.start(c, conf)
		wg.Go(func() {
			if o := add.wait(); o.exit != 0 {
				t.Errorf("%s: %s", c.container, o.stdout)
			}
		})
	}
	wg.Wait()
	if a := w.allocated(); len(a) != 16 {
		t.Errorf("allocated: %v", a)
	}
	w.call(runtimeCall{verb: "GC"}, w.conf(routedHost, w.hostLocal("host-local"), `"cni.dev/valid-attachments":[]`)).ok(t)
	w.eventually("the agent has removed all", func() bool { return !strings.Contains(fmt.Sprint(w.stored()), "host-status") })
	w.nothingLeft()
}

// TestOvertakenAdd: an ADD that finds another one's attachment when it comes to
// write takes nothing from it, whether it can join it or not.
func TestOvertakenAdd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fields string
		check  func(t *testing.T, o outcome)
	}{
		"same content":  {`"mtu":0`, func(t *testing.T, o outcome) { t.Helper(); o.ok(t) }},
		"other content": {`"mtu":1500`, func(t *testing.T, o outcome) { t.Helper(); o.fails(t, 7, "host.mtu") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			// An IPAM plugin may give the same address again to the same attachment.
			w.script("again", `if [ "$CNI_COMMAND" != ADD ]; then exec "$REAL"; fi
touch "$DIR/begun"
while [ ! -e "$DIR/go" ]; do sleep 0.02; done
echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1"}],"routes":[{"dst":"0.0.0.0/0"}]}'
`)
			late := w.start(runtimeOf("ADD"), w.conf(routedHost, w.hostLocal("again"), tc.fields))
			w.eventually("the late one is at IPAM", func() bool { return w.exists("begun") })
			conf := w.conf(routedHost, w.hostLocal("host-local"))
			w.call(runtimeOf("ADD"), conf).ok(t)
			before := w.stored()
			w.proceed()
			tc.check(t, late.wait())
			if d := cmp.Diff(before, w.stored()); d != "" {
				t.Errorf("keys changed:\n%s", d)
			}
			if a := w.allocated(); len(a) != 1 {
				t.Errorf("allocated: %v", a)
			}
			w.call(runtimeOf("DEL"), conf).ok(t)
			w.nothingLeft()
		})
	}
}
