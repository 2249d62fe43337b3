package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/vpp-cni/vpp-cni/schema"
)

// scale is how many attachments TestScale makes; SCALE=10000 asks for the
// design's limit.
func scale(t *testing.T) int {
	t.Helper()
	s := os.Getenv("SCALE")
	if s == "" {
		return 300
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("SCALE: %v", err)
	}
	return n
}

// TestScale fills a VPP, restarts the agent and the VPP, and holds each to what
// it may cost.
func TestScale(t *testing.T) {
	n := scale(t)
	b := newBench(t)
	b.startVPP()
	var g errgroup.Group
	g.SetLimit(32)
	for i := range n {
		value, err := schema.Encode(host(fmt.Sprint("p", i)))
		if err != nil {
			t.Fatal(err)
		}
		g.Go(func() error {
			_, err := b.client.Put(t.Context(), b.keys.Host(node, schema.ContainerID(fmt.Sprint("c", i)), "net1"), string(value))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}

	begin := time.Now()
	b.start()
	b.ready()
	filled := time.Since(begin)
	b.statuses(n)
	t.Logf("%d attachments: VPP filled after %v, all statuses after %v", n, filled, time.Since(begin))

	time.Sleep(200 * time.Millisecond)
	b.written()
	begin = time.Now()
	b.put("one-more", host("one-more"))
	b.await("one-more", 0, "Ready/Applied")
	t.Logf("one more: %v, %v", time.Since(begin), b.written())

	time.Sleep(200 * time.Millisecond)
	b.stop()
	before := b.revision()
	b.written()
	begin = time.Now()
	b.start()
	b.ready()
	t.Logf("agent restart: ready after %v", time.Since(begin))
	time.Sleep(200 * time.Millisecond)
	if writes := b.written(); len(writes) > 0 {
		t.Errorf("writes to VPP at the restart: %v", writes)
	}
	if after := b.revision(); after != before {
		t.Errorf("%d writes to etcd at the restart", after-before)
	}

	pid := b.daemon.State().VPP.PID
	if err := b.sim.Restart(); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	// Not the status: Pending may be over before anybody has read it.
	b.eventually("the new VPP to be filled", func() error {
		s := b.daemon.State()
		if s.VPP.PID == pid {
			return errors.New("it is the old one still")
		}
		return s.Ready()
	})
	t.Logf("VPP restart: filled after %v", time.Since(begin))
	b.statuses(n + 1)
	t.Logf("VPP restart: all statuses after %v", time.Since(begin))
}

// statuses waits until n statuses are Ready.
func (b *bench) statuses(n int) {
	b.t.Helper()
	b.eventually("statuses", func() error {
		resp, err := b.client.Get(b.t.Context(), b.keys.HostStatusPrefix(node), clientv3.WithPrefix())
		if err != nil {
			return err
		}
		ready := 0
		for _, kv := range resp.Kvs {
			if s, err := schema.Decode[schema.InterfaceStatus](kv.Value); err == nil && s.State == schema.Ready {
				ready++
			}
		}
		if ready != n {
			return fmt.Errorf("%d of %d are ready", ready, n)
		}
		return nil
	})
}
