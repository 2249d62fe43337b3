package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vpp-cni/vpp-cni/test/lab"
)

// nodes starts each number of nodes on an etcd of its own, gives each node the
// same attachments, and then watches them doing nothing.
func nodes(ctx context.Context, o options) (table, error) {
	t := table{title: "one node, of so many on one etcd"}
	for _, size := range o.nodes {
		if err := many(ctx, o, size, &t); err != nil {
			return t, fmt.Errorf("%d nodes: %w", size, err)
		}
	}
	return t, nil
}

func many(ctx context.Context, o options, size int, t *table) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience+o.idle)
	defer cancel()
	c, err := newCluster(o, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	var on []*lab.Node
	var pids []int
	before, err := readTraffic()
	if err != nil {
		return err
	}
	for i := range size {
		n, failed := c.lab.StartNode(ctx, fmt.Sprintf("node-%d", i))
		if failed != nil {
			return failed
		}
		on, pids = append(on, n), append(pids, n.Agent.PID())
	}
	time.Sleep(time.Second)
	started, err := readTraffic()
	if err != nil {
		return err
	}
	if err = attachAll(ctx, on, o.each); err != nil {
		return err
	}
	time.Sleep(time.Second)
	attached, err := readTraffic()
	if err != nil {
		return err
	}
	busy, err := readUsage(pids...)
	if err != nil {
		return err
	}
	time.Sleep(o.idle)
	idle, err := readUsage(pids...)
	if err != nil {
		return err
	}
	rested, err := readTraffic()
	if err != nil {
		return err
	}
	start, add, rest := started.since(before), attached.since(started), rested.since(attached)
	node := func(v float64) []float64 { return []float64{v / float64(size)} }
	one := func(v float64) []float64 { return []float64{v / float64(size*o.each)} }
	minute := func(v float64) []float64 { return []float64{v / float64(size) / o.idle.Minutes()} }
	t.add(size,
		row{name: "start: etcd writes", factor: counts, cost: node(start.writes)},
		row{name: "start: bytes from etcd", factor: bytes, cost: node(start.sent)},
		row{name: "an attachment: etcd writes", factor: counts, cost: one(add.writes)},
		row{name: "an attachment: watch events sent by etcd", factor: counts, cost: one(add.events)},
		row{name: "an attachment: bytes from etcd", factor: bytes, cost: one(add.sent)},
		row{name: "agent: memory, MB", factor: memory, cost: node(idle.rss / (1 << 20))},
		row{name: "idle a minute: agent's CPU, ms", factor: cpu, least: 10, cost: minute(1000 * (idle.cpu - busy.cpu).Seconds())},
		row{name: "idle a minute: etcd requests", factor: counts, least: 1, cost: minute(rest.requests)},
		row{name: "idle a minute: etcd writes", factor: counts, least: 1, cost: minute(rest.writes)},
		row{name: "idle a minute: watch events", factor: counts, least: 1, cost: minute(rest.events)},
		row{name: "idle a minute: bytes from etcd", factor: bytes, least: 100, cost: minute(rest.sent)},
		row{name: "idle a minute: bytes to etcd", factor: bytes, least: 100, cost: minute(rest.received)},
	)
	return nil
}

// attachAll gives every node its attachments and waits until all are ready.
func attachAll(ctx context.Context, on []*lab.Node, each int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, n := range on {
		g.Go(func() error {
			if err := n.Fill(ctx, 0, each); err != nil {
				return err
			}
			return n.WaitAttachments(ctx, each)
		})
	}
	return g.Wait()
}
