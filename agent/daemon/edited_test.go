package daemon_test

import (
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/schema"
)

// TestEditedStatus: a status that somebody deletes or writes over in etcd is put
// right by the audit, and the audit writes none that is right.
func TestEditedStatus(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start(func(c *daemon.Config) { c.Audit = 50 * time.Millisecond })
	b.ready()
	rev, other := b.put("c1", host("p1")), b.put("c2", host("p2"))
	before := b.await("c1", rev, "Ready/Applied")
	left := b.await("c2", other, "Ready/Applied")
	key := b.keys.HostStatus(node, "c1", "net1")

	if _, err := b.client.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	b.await("c1", rev, "Ready/Applied")
	for _, value := range []string{"{", `{"specRevision":1,"state":"Failed","reason":"Invalid","since":"2026-01-01T00:00:00Z"}`} {
		if _, err := b.client.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
		b.await("c1", rev, "Ready/Applied")
	}
	time.Sleep(200 * time.Millisecond) // four audits
	after, err := b.status("c2")
	if err != nil || after == nil || after.writes != left.writes {
		t.Errorf("the status that nobody touched: %+v (%v), was %+v", after, err, left)
	}
	if now := b.await("c1", rev, "Ready/Applied"); now.State != schema.Ready || *now.SwIfIndex != *before.SwIfIndex {
		t.Errorf("status %+v, was %+v", now, before)
	}
}
