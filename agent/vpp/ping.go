package vpp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"go.fd.io/govpp/binapi/ping"
)

// Ping lets VPP send repeat echo requests to dst, interval apart, and tells how
// many were sent and answered: a check of the data path that needs no CLI. It
// asks for the ping plugin. One runs at a time, since VPP's event names no ping.
func (v *VPP) Ping(ctx context.Context, dst netip.Addr, repeat int, interval time.Duration) (sent, replies int, err error) {
	v.pinging.Lock()
	defer v.pinging.Unlock()
	s, err := v.session()
	if err != nil {
		return 0, 0, fmt.Errorf("ping %s: %w", dst, err)
	}
	if err := s.lacks(&ping.WantPingFinishedEvents{}, &ping.PingFinishedEvent{}); err != nil {
		return 0, 0, fmt.Errorf("ping %s: %w", dst, err)
	}
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := s.conn.WatchEvent(wctx, &ping.PingFinishedEvent{})
	if err != nil {
		return 0, 0, fmt.Errorf("ping %s: %w", dst, err)
	}
	defer events.Close()
	_, err = ask[*ping.WantPingFinishedEventsReply](ctx, s, &ping.WantPingFinishedEvents{
		Address: toAddress(dst), Repeat: uint32(repeat), Interval: interval.Seconds(), // #nosec G115 -- a small count
	})
	if err != nil {
		return 0, 0, fmt.Errorf("ping %s: %w", dst, err)
	}
	limit := time.NewTimer(time.Duration(repeat+1)*interval + v.cfg.CallTimeout)
	defer limit.Stop()
	select {
	case e := <-events.Events():
		done, ok := e.(*ping.PingFinishedEvent)
		if !ok {
			return 0, 0, fmt.Errorf("ping %s: %w", dst, ErrDown)
		}
		return int(done.RequestCount), int(done.ReplyCount), nil
	case <-limit.C:
		return 0, 0, fmt.Errorf("ping %s: VPP did not say that it ended", dst)
	case <-s.ctx.Done():
		return 0, 0, fmt.Errorf("ping %s: %w", dst, s.down())
	case <-ctx.Done():
		return 0, 0, fmt.Errorf("ping %s: %w", dst, ctx.Err())
	}
}
