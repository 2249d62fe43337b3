package daemon_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/schema"
)

// told is what the node's statuses say, by key.
func (b *bench) told() map[string]told {
	b.t.Helper()
	resp, err := b.client.Get(b.t.Context(), b.keys.HostStatusPrefix(node), clientv3.WithPrefix())
	must(b.t, err)
	out := map[string]told{}
	for _, kv := range resp.Kvs {
		s, err := schema.Decode[schema.InterfaceStatus](kv.Value)
		must(b.t, err)
		out[string(kv.Key)] = told{s, kv.Version}
	}
	return out
}

// TestOtherClock: the times in etcd were written by a clock that has jumped
// since, by years. An agent that starts then removes, makes anew and reports
// nothing for that, and a DEL is done. (One that runs measures by the monotonic
// clock.)
func TestOtherClock(t *testing.T) {
	t.Parallel()
	for name, jump := range map[string]time.Duration{"jumped forwards": -50 * 365 * 24 * time.Hour, "jumped back": 50 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.startVPP()
			b.start()
			b.fill()
			before := b.there()
			b.stop()
			for key, s := range b.told() {
				s.Since = s.Since.Add(jump)
				value, err := schema.Encode(s.InterfaceStatus)
				must(t, err)
				_, err = b.client.Put(t.Context(), key, string(value))
				must(t, err)
			}
			jumped := b.told()
			b.written()

			b.start(func(c *daemon.Config) { c.Audit = 50 * time.Millisecond })
			b.ready()
			time.Sleep(250 * time.Millisecond) // some audits
			if diff := cmp.Diff(before, b.there()); diff != "" {
				t.Errorf("VPP and run-dir (-before +after):\n%s", diff)
			}
			if calls := b.written(); len(calls) > 0 {
				t.Errorf("written to VPP: %v", calls)
			}
			if diff := cmp.Diff(jumped, b.told(), cmp.AllowUnexported(told{})); diff != "" {
				t.Errorf("statuses (-before +after):\n%s", diff)
			}
			b.held(0)
			for _, c := range []string{"c1", "c2", "c3", "c4"} {
				must(t, b.detach(c))
				b.awaitGone(c)
			}
			if there := b.there(); len(there) > 0 {
				t.Errorf("left: %v", there)
			}
		})
	}
}
