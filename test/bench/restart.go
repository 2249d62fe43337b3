package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/test/proc"
)

// patience bounds every wait for an agent.
const patience = time.Minute

// agentRestart kills the agent and starts it again, over a full VPP.
func (s *suite) agentRestart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.settled(ctx); err != nil {
		return err
	}
	var took samples
	var toVPP, toEtcd float64
	for range s.restarts {
		if err := s.node.Agent.Kill(); err != nil {
			return err
		}
		rev, err := s.revision(ctx)
		if err != nil {
			return err
		}
		begin := time.Now()
		if err = s.node.Agent.Start(); err != nil {
			return err
		}
		if err = s.until(ctx, true); err != nil {
			return err
		}
		took = append(took, time.Since(begin))
		time.Sleep(300 * time.Millisecond) // what comes late counts too
		writes, err := s.node.Metric(ctx, "vppcni_writes_total")
		if err != nil {
			return err
		}
		changes, err := s.changes(ctx, rev)
		if err != nil {
			return err
		}
		toVPP, toEtcd = toVPP+writes, toEtcd+float64(changes)
	}
	at := fmt.Sprintf("agent restart at %d: ", s.options.node)
	s.table.add(
		figure{name: at + "ready p50", ours: ms(took.at(0.5)), bound: 500, by: byHalf},
		figure{name: at + "VPP writes", ours: toVPP, none: true},
		figure{name: at + "etcd writes", ours: toEtcd, none: true})
	return nil
}

// revision is etcd's revision now.
func (s *suite) revision(ctx context.Context) (int64, error) {
	resp, err := s.floor.etcd.Get(ctx, "none")
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// changes counts what was written to etcd after a revision, but for the agent's
// presence, which is every agent's own.
func (s *suite) changes(ctx context.Context, after int64) (int, error) {
	now, err := s.revision(ctx)
	if err != nil || now == after {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n := 0
	for resp := range s.floor.etcd.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(after+1)) {
		for _, ev := range resp.Events {
			if !strings.HasSuffix(string(ev.Kv.Key), "/agent") {
				n++
			}
		}
		if resp.Header.Revision >= now {
			return n, resp.Err()
		}
	}
	return n, ctx.Err()
}

// until polls until the agent is ready, or not ready.
func (s *suite) until(ctx context.Context, ready bool) error {
	for {
		code, _, err := s.node.Get(ctx, "/readyz")
		if (err == nil && code == http.StatusOK) == ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the agent (ready: %t): %w: %s", ready, ctx.Err(), s.node.Agent.LogTail(5))
		case <-time.After(5 * time.Millisecond): // polls cost the agent CPU
		}
	}
}

// settled waits until all that is desired stands in VPP and in the statuses.
func (s *suite) settled(ctx context.Context) error {
	if err := s.node.WaitAttachments(ctx, s.options.node); err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond) // events, statuses
	return nil
}

// vppRestart kills VPP and starts it again, ours and the floor's in turn. The
// time counts from when the API socket is there.
func (s *suite) vppRestart(ctx context.Context) error {
	bare, err := proc.NewVPP("floor-vpp", s.node.VPP.Path(), s.lab.Dir+"/floor", "512M")
	if err != nil {
		return err
	}
	defer func() { _ = bare.Kill() }()
	var pairs pair
	for range s.restarts {
		took, err := s.floorRestart(ctx, bare)
		if err != nil {
			return fmt.Errorf("the floor's VPP restart: %w", err)
		}
		pairs.floor = append(pairs.floor, took)
		if took, err = s.ourRestart(ctx); err != nil {
			return fmt.Errorf("VPP restart: %w", err)
		}
		pairs.ours = append(pairs.ours, took)
	}
	f := pairs.figure(fmt.Sprintf("all %d back after a VPP restart, p50", s.options.node), 0.5, 0, asItStands)
	if s.lab.Real() { // the simulator answers in no time, and leaves the agent's alone
		f.ratio = 1.3
	}
	s.table.add(f)
	return nil
}

// ourRestart is the time from the new VPP's API socket until the agent's full
// pass is over. What the agent then reports must be in order.
func (s *suite) ourRestart(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.settled(ctx); err != nil {
		return 0, err
	}
	if err := s.node.VPP.Kill(); err != nil {
		return 0, err
	}
	if err := s.until(ctx, false); err != nil {
		return 0, err
	}
	if err := s.node.VPP.Up(ctx); err != nil {
		return 0, err
	}
	err := s.until(ctx, true)
	end := time.Now()
	begin, statErr := bound(s.node.VPP)
	if err = errors.Join(err, statErr); err != nil {
		return 0, err
	}
	return end.Sub(begin), s.inSync(ctx)
}

// inSync has the agent compare VPP with what is wanted, until its last status is
// decided on.
func (s *suite) inSync(ctx context.Context) error {
	for {
		_, body, err := s.node.Get(ctx, "/verify")
		if err == nil && strings.Contains(body, `"inSync":true`) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("VPP is not as wanted: %w: %.300s", errors.Join(ctx.Err(), err), body)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// bound is when a VPP bound its API socket.
func bound(v *proc.VPP) (time.Time, error) {
	info, err := os.Stat(v.APISocket)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// floorRestart is the same with a bare client.
func (s *suite) floorRestart(ctx context.Context, v *proc.VPP) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if v.Running() {
		if err := v.Kill(); err != nil {
			return 0, err
		}
	}
	b, err := newBatch(v.Dir, s.options.node)
	if err != nil {
		return 0, err
	}
	if err = v.Up(ctx); err != nil {
		return 0, err
	}
	if err = b.fill(ctx, v.APISocket); err != nil {
		return 0, err
	}
	end := time.Now()
	begin, err := bound(v)
	return end.Sub(begin), err
}
