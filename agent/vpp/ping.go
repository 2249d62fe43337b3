package vpp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ping"
)

// Ping lets VPP send repeat echo requests to dst, interval apart, and tells how
// many were sent and answered: a check of the data path that needs no CLI. It
// asks for the ping plugin.
//
// VPP's API process itself waits for the answers: nothing else is answered over
// the API for an interval, and a message of any client that comes meanwhile ends
// the wait, so that an answer is missed (src/plugins/ping/ping_api.c). So every
// request is a ping of its own, and of some pings a few may go uncounted though
// the path is well.
func (v *VPP) Ping(ctx context.Context, dst netip.Addr, repeat int, interval time.Duration) (sent, replies int, err error) {
	// One at a time: VPP's finished event names no ping.
	v.pinging.Lock()
	defer v.pinging.Unlock()
	s, err := v.session()
	if err != nil {
		return 0, 0, fmt.Errorf("ping %s: %w", dst, err)
	}
	if missing := s.lacks(&ping.WantPingFinishedEvents{}, &ping.PingFinishedEvent{}); missing != nil {
		return 0, 0, fmt.Errorf("ping %s: %w", dst, missing)
	}
	events, err := s.pingEvents()
	if err != nil {
		return 0, 0, fmt.Errorf("ping %s: %w", dst, err)
	}
	s.pinging.Store(true)
	defer s.pinging.Store(false)
	for range repeat {
		done, err := s.pingOnce(ctx, events, dst, interval)
		if err != nil {
			return sent, replies, fmt.Errorf("ping %s: %w", dst, err)
		}
		sent += int(done.RequestCount)
		replies += int(done.ReplyCount)
	}
	return sent, replies, nil
}

// pingEvents subscribes once a session: GoVPP v0.13.0 panics on an event when one
// of two subscriptions to it was closed (Unsubscribe does not store the shorter
// list), and a watcher's Close takes effect later.
func (s *session) pingEvents() (api.Watcher, error) {
	if s.pings == nil {
		events, err := s.conn.WatchEvent(s.ctx, &ping.PingFinishedEvent{})
		if err != nil {
			return nil, err
		}
		s.pings = events
	}
	for { // what came after a ping was given up
		select {
		case <-s.pings.Events():
			if s.ctx.Err() != nil {
				return nil, s.down()
			}
		default:
			return s.pings, nil
		}
	}
}

func (s *session) pingOnce(ctx context.Context, events api.Watcher, dst netip.Addr, interval time.Duration) (*ping.PingFinishedEvent, error) {
	_, err := ask[*ping.WantPingFinishedEventsReply](ctx, s, &ping.WantPingFinishedEvents{
		Address: toAddress(dst), Repeat: 1, Interval: interval.Seconds(),
	})
	if err != nil {
		return nil, err
	}
	limit := time.NewTimer(interval + s.timeout)
	defer limit.Stop()
	select {
	case e := <-events.Events():
		if done, ok := e.(*ping.PingFinishedEvent); ok {
			return done, nil
		}
		return nil, ErrDown
	case <-limit.C:
		return nil, fmt.Errorf("%w: no ping_finished_event within %v", ErrDown, interval+s.timeout)
	case <-s.ctx.Done():
		return nil, s.down()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
