package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/lab"
)

const (
	// gatewayPods is a full node.
	gatewayPods = 250
	// floodTurns is how often quiet and flood take turns: what else the machine
	// does meets both.
	floodTurns = 6
	// hostile is the number of the pod that floods.
	hostile = 0
	// retryPause is what the flood waits after a refusal: it is to use up what the
	// node gives it, and not the processors that it shares with the calls.
	retryPause = 20 * time.Millisecond
)

// gateways measures what a pod's window on etcd costs the node's agent, and what
// one pod that floods its own costs the others.
func (s *suite) gateways(ctx context.Context) error {
	node, err := s.lab.StartNode(ctx, "gateways")
	if err != nil {
		return err
	}
	if err := s.pods(ctx, node); err != nil {
		return err
	}
	return s.flood(ctx, node)
}

// use is what the agent's process has.
type use struct{ memory, files float64 }

func useOf(ctx context.Context, n *lab.Node) (use, error) {
	time.Sleep(2 * time.Second) // what was under way has ended
	memory, err := n.Metric(ctx, "process_resident_memory_bytes")
	if err != nil {
		return use{}, err
	}
	files, err := n.Metric(ctx, "process_open_fds")
	return use{memory: memory, files: files}, err
}

// pods fills the node, connects each pod's agent, and takes the difference.
func (s *suite) pods(ctx context.Context, n *lab.Node) error {
	before, err := useOf(ctx, n)
	if err != nil {
		return err
	}
	if err = errors.Join(n.Fill(ctx, 0, gatewayPods), n.WaitAttachments(ctx, gatewayPods)); err != nil {
		return err
	}
	attached, err := useOf(ctx, n)
	if err != nil {
		return err
	}
	for i := range gatewayPods {
		conn, failed := connect(ctx, n, i)
		if failed != nil {
			return failed
		}
		defer func() { _ = conn.Close() }()
	}
	connected, err := useOf(ctx, n)
	if err != nil {
		return err
	}
	each := func(from, to float64) float64 { return (to - from) / gatewayPods }
	s.table.add(
		figure{name: "gateway: files a pod", ours: each(before.files, attached.files), bound: 1.1},
		figure{name: "gateway: files a pod, connected", ours: each(before.files, connected.files), bound: 2.1},
		figure{name: "attachment, gateway: memory, KB", ours: each(before.memory, attached.memory) / 1024, bound: 150},
		figure{name: "gateway: memory a watch, KB", ours: each(attached.memory, connected.memory) / 1024, bound: 100})
	return nil
}

func socketOf(n *lab.Node, i int) string {
	return filepath.Join(n.RunDir, "pods", string(lab.Attachment(n.Name, i).Host.Pod.ID), schema.GatewaySocket)
}

func dial(n *lab.Node, i int) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socketOf(n, i), grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// connect is a pod's agent: one connection, a list, and a watch.
func connect(ctx context.Context, n *lab.Node, i int) (*grpc.ClientConn, error) {
	conn, err := dial(n, i)
	if err != nil {
		return nil, err
	}
	all := []byte{0}
	resp, err := etcdserverpb.NewKVClient(conn).Range(ctx, &etcdserverpb.RangeRequest{Key: all, RangeEnd: all})
	if err != nil {
		return conn, fmt.Errorf("gateway of pod %d: %w", i, err)
	}
	if len(resp.Kvs) != 1 {
		return conn, fmt.Errorf("gateway of pod %d: %d keys, 1 was attached", i, len(resp.Kvs))
	}
	stream, err := etcdserverpb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		return conn, fmt.Errorf("gateway of pod %d: %w", i, err)
	}
	err = stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{RangeEnd: all, StartRevision: resp.Header.Revision},
	}})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		return conn, fmt.Errorf("watch of pod %d: %w", i, err)
	}
	return conn, nil
}

// flood times other pods' ADDs while one pod does its worst, and while it does
// nothing.
func (s *suite) flood(ctx context.Context, n *lab.Node) error {
	var calm, flooded samples
	p := s.plugin(confNoIPAM(n))
	next := 0
	for turn := range 2 * floodTurns {
		stop := func() error { return nil }
		if turn%2 == 1 {
			stop = storm(ctx, n)
			time.Sleep(500 * time.Millisecond) // the bursts that it is allowed are over
		}
		took, err := adds(ctx, p, next, s.rounds/floodTurns)
		next += len(took)
		if err = errors.Join(err, stop()); err != nil {
			return err
		}
		if turn%2 == 1 {
			flooded = append(flooded, took...)
		} else {
			calm = append(calm, took...)
		}
	}
	s.table.add(
		figure{name: "ADD p50, one pod floods", ours: ms(flooded.at(0.5)), floor: ms(calm.at(0.5)), ratio: 1.2},
		figure{name: "ADD p99, one pod floods", ours: ms(flooded.at(0.99)), floor: ms(calm.at(0.99)), ratio: s.tail(1.2)})
	return nil
}

// adds attaches n pods one by one and removes them again.
func adds(ctx context.Context, p plugin, from, n int) (samples, error) {
	var out samples
	for i := from; i < from+n; i++ {
		wall, _, err := p.call(ctx, "ADD", i)
		if err != nil {
			return out, err
		}
		out = append(out, wall)
	}
	for i := from; i < from+n; i++ {
		if _, _, err := p.call(ctx, "DEL", i); err != nil {
			return out, err
		}
	}
	return out, nil
}

// storm is a pod that asks for everything at once until it is stopped: requests,
// watches, status writes, messages that are too long, a watch that it does not
// read, connections that say nothing.
func storm(parent context.Context, n *lab.Node) (stop func() error) {
	ctx, cancel := context.WithCancel(parent)
	g, ctx := errgroup.WithContext(ctx)
	for range 6 {
		g.Go(func() error { return stormy(ctx, n, g) })
	}
	g.Go(func() error {
		for ctx.Err() == nil {
			var d net.Dialer
			if c, err := d.DialContext(ctx, "unix", socketOf(n, hostile)); err == nil {
				context.AfterFunc(ctx, func() { _ = c.Close() })
			}
			wait(ctx, retryPause)
		}
		return nil
	})
	return func() error {
		cancel()
		return g.Wait()
	}
}

// stormy is one connection of the storm. What it is refused it asks again.
func stormy(ctx context.Context, n *lab.Node, g *errgroup.Group) error {
	conn, err := dial(n, hostile)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	kv, all := etcdserverpb.NewKVClient(conn), []byte{0}
	status := []byte(`{"specRevision":1,"state":"Ready","reason":"Applied","since":"2026-01-01T00:00:00Z"}`)
	again := func(do func(context.Context) error) {
		g.Go(func() error {
			for ctx.Err() == nil {
				if do(ctx) != nil {
					wait(ctx, retryPause)
				}
			}
			return nil
		})
	}
	for range 8 {
		again(func(ctx context.Context) error {
			_, err := kv.Range(ctx, &etcdserverpb.RangeRequest{Key: all, RangeEnd: all})
			return err
		})
	}
	again(func(ctx context.Context) error {
		_, err := kv.Put(ctx, &etcdserverpb.PutRequest{Key: []byte("status/net1"), Value: status})
		return err
	})
	again(func(ctx context.Context) error {
		_, err := kv.Range(ctx, &etcdserverpb.RangeRequest{Key: make([]byte, 1<<20)})
		return err
	})
	again(func(ctx context.Context) error {
		stream, err := etcdserverpb.NewWatchClient(conn).Watch(ctx)
		for err == nil { // it reads nothing
			err = stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
				CreateRequest: &etcdserverpb.WatchCreateRequest{RangeEnd: all, StartRevision: 1, PrevKv: true},
			}})
		}
		return err
	})
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
