package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/lab"
)

// patience bounds every wait.
const patience = 2 * time.Minute

// cluster is an etcd and the nodes on it.
type cluster struct {
	lab  *lab.Lab
	etcd *etcdtest.Cluster
	dir  string
}

func newCluster(o options, vpp string) (*cluster, error) {
	l, err := lab.New(lab.Config{BinDir: o.bin, VPP: vpp, HostHeap: "512M"})
	if err != nil {
		return nil, err
	}
	c := &cluster{lab: l, dir: filepath.Join(l.Dir, "etcd")}
	if c.etcd, err = etcdtest.New(c.dir, etcdtest.Options{}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.SetEndpoints(c.etcd.Endpoints(), nil)
	return c, nil
}

func (c *cluster) close() error {
	err := c.lab.Close()
	c.etcd.Close()
	return errors.Join(err, os.RemoveAll(c.dir))
}

// attachments fills a node with each of sizes, from nothing.
func attachments(ctx context.Context, o options, vpp string, sizes []int) (table, error) {
	what := "simulator"
	if vpp != "" {
		what = vpp
	}
	t := table{title: "one attachment, of so many on one node"}
	for _, size := range sizes {
		if err := fill(ctx, o, vpp, size, &t); err != nil {
			return t, fmt.Errorf("%d attachments on %s: %w", size, what, err)
		}
	}
	fmt.Println("VPP:", what)
	return t, nil
}

func fill(ctx context.Context, o options, vpp string, size int, t *table) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := newCluster(o, vpp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	n, err := c.lab.StartNode(ctx, "scale")
	if err != nil {
		return err
	}
	before, err := look(n)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err = n.Fill(ctx, 0, size); err != nil {
		return err
	}
	if err = n.WaitAttachments(ctx, size); err != nil {
		return err
	}
	took := time.Since(begin)
	time.Sleep(time.Second) // what comes late counts too
	after, err := look(n)
	if err != nil {
		return err
	}
	each := func(v float64) []float64 { return []float64{v / float64(size)} }
	net := after.net.since(before.net)
	t.add(size,
		row{name: "etcd writes", factor: counts, cost: each(net.writes)},
		row{name: "watch events sent by etcd", factor: counts, cost: each(net.events)},
		row{name: "bytes from etcd, all clients", factor: bytes, cost: each(net.sent)},
		row{name: "bytes to etcd, all clients", factor: bytes, cost: each(net.received)},
		row{name: "agent: CPU, ms", factor: cpu, cost: each(1000 * (after.agent.cpu - before.agent.cpu).Seconds())},
		row{name: "agent: memory, KB", factor: memory, cost: each((after.agent.rss - before.agent.rss) / 1024)},
		row{name: "VPP: memory, KB", factor: memory, cost: each((after.vpp.rss - before.vpp.rss) / 1024)},
		row{name: "time until all are ready, ms", cost: each(1000 * took.Seconds())},
	)
	return nil
}

// state is one look at a node and its etcd.
type state struct {
	net        traffic
	agent, vpp usage
}

func look(n *lab.Node) (s state, err error) {
	if s.net, err = readTraffic(); err != nil {
		return s, err
	}
	if s.agent, err = readUsage(n.Agent.PID()); err != nil {
		return s, err
	}
	s.vpp, err = readUsage(n.VPP.PID())
	return s, err
}
