package daemon_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
)

// counted counts the statuses that are written or tried to be.
type counted struct {
	daemon.Tree
	puts atomic.Int64
}

func (c *counted) PutGuarded(ctx context.Context, guardKey string, guardRev int64, key string, value []byte) (bool, error) {
	c.puts.Add(1)
	return c.Tree.PutGuarded(ctx, guardKey, guardRev, key, value)
}

// full raises or ends etcd's alarm of a full disk, as its quota does: it refuses
// every put then.
func (b *bench) full(on bool) {
	b.t.Helper()
	alarm := &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_DEACTIVATE, Alarm: etcdserverpb.AlarmType_NOSPACE}
	status, err := b.client.Status(b.t.Context(), b.etcd.Endpoints()[0])
	must(b.t, err)
	alarm.MemberID = status.Header.MemberId
	if on {
		alarm.Action = etcdserverpb.AlarmRequest_ACTIVATE
	}
	_, err = etcdserverpb.NewMaintenanceClient(b.client.ActiveConnection()).Alarm(b.t.Context(), alarm)
	must(b.t, err)
}

// TestFullEtcd: etcd refuses the statuses of all attachments for a while. The
// agent asks now and then, and all of them are right in the end.
func TestFullEtcd(t *testing.T) {
	t.Parallel()
	const n = 100
	b := newBench(t)
	b.startVPP()
	var tree *counted
	b.start(func(c *daemon.Config) { tree = &counted{Tree: c.Tree}; c.Tree = tree })
	for i := range n {
		b.put(fmt.Sprint("c", i), host(fmt.Sprint("p", i)))
	}
	b.statuses(n)
	time.Sleep(100 * time.Millisecond)

	b.full(true)
	tree.puts.Store(0)
	b.sim.Kill()
	const while = 5 * time.Second
	time.Sleep(while)
	tried := tree.puts.Load()
	t.Logf("%d writes tried in %v for %d statuses", tried, while, n)
	if tried == 0 || tried > 40 {
		t.Errorf("%d writes tried in %v, want a few", tried, while)
	}
	b.full(false)
	begin := time.Now()
	for i := range n {
		b.await(fmt.Sprint("c", i), 0, "Pending/VPPDown")
	}
	t.Logf("all statuses are right %v after etcd has room again", time.Since(begin).Round(time.Millisecond))
	must(t, b.sim.Restart())
	b.statuses(n)
}

// TestDELOnAFullEtcd: statuses that cannot be written keep no DEL waiting.
func TestDELOnAFullEtcd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.ready()
	for i := range 30 {
		b.put(fmt.Sprint("c", i), host(fmt.Sprint("p", i)))
	}
	b.statuses(30)
	b.full(true)
	b.sim.Kill()
	must(t, b.sim.Restart())
	time.Sleep(2 * time.Second) // Pending and Ready are refused, time after time
	for i := range 5 {
		begin := time.Now()
		b.del(fmt.Sprint("c", i))
		b.awaitGone(fmt.Sprint("c", i))
		if took := time.Since(begin); took > time.Second {
			t.Errorf("a DEL took %v", took)
		}
	}
	b.full(false)
	b.statuses(25)
}
