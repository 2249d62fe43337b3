package vppsim

import (
	"context"
	"math"
	"time"

	"go.fd.io/govpp/binapi/ping"

	"github.com/vpp-cni/vpp-cni/test/vppsim/api"
	"github.com/vpp-cni/vpp-cni/test/vppsim/dataplane"
)

const maxPingInterval = time.Minute

func (v *vpp) registerPing() {
	onClient(v, v.wantPingFinishedEvents)
}

// wantPingFinishedEvents answers at once and tells the counts when done. Other
// messages are served meanwhile. In a real VPP a message of any client that
// comes in before the pings are over ends this and all remaining waits, so that
// their answers are not counted: whoever pings there keeps the API quiet.
func (v *vpp) wantPingFinishedEvents(c *api.Client, q *ping.WantPingFinishedEvents, _ *ping.WantPingFinishedEventsReply) retval {
	dst := addressOf(q.Address)
	repeat := int(q.Repeat)
	interval := pingInterval(q.Interval)
	ctx, cancel := context.WithCancel(context.Background())
	v.pings.Add(2)
	go func() {
		defer v.pings.Done()
		select {
		case <-v.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	go func() {
		defer v.pings.Done()
		defer cancel()
		sent, replies := v.plane.Ping(ctx, dst, dataplane.NoInterface, repeat, interval)
		v.later(func() {
			c.Send(&ping.PingFinishedEvent{
				RequestCount: uint32(sent),    // at most repeat
				ReplyCount:   uint32(replies), // at most repeat
			}, 0)
		})
	}()
	return ok
}

// pingInterval reads seconds, within sense.
func pingInterval(seconds float64) time.Duration {
	if math.IsNaN(seconds) || seconds <= 0 {
		return 0
	}
	return time.Duration(min(seconds, maxPingInterval.Seconds()) * float64(time.Second))
}
