package gateway

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/tap"
)

// clock is the key of what ends a request that is not sent to its end.
type clock struct{}

// expect gives a request Limits.Handshake to be there: until then grpc keeps what
// there is of it. Who watches has a stream to ask on for as long as it likes, one
// of Limits.Watchers.
func (g *Gateway) expect(ctx context.Context, info *tap.Info) (context.Context, error) {
	if info.FullMethodName == etcdserverpb.Watch_Watch_FullMethodName {
		return ctx, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	return context.WithValue(ctx, clock{}, time.AfterFunc(g.cfg.Limits.Handshake, cancel)), nil
}

// arrived stops the clock of a request.
func arrived(ctx context.Context) {
	if t, ok := ctx.Value(clock{}).(*time.Timer); ok {
		t.Stop()
	}
}

// again starts it anew: for one whose turn comes before it is read.
func (g *Gateway) again(ctx context.Context) {
	if t, ok := ctx.Value(clock{}).(*time.Timer); ok {
		t.Reset(g.cfg.Limits.Handshake)
	}
}
