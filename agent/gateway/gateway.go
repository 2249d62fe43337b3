package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

const (
	// keepaliveMinTime is the shortest time between two pings of a client, as etcd
	// has it (embed, DefaultGRPCKeepAliveMinTime).
	keepaliveMinTime = 5 * time.Second
	// bufferSize is that of the buffers of a connection, two of them. grpc's
	// default is 32 KiB; a pod's answers are a few hundred bytes.
	bufferSize = 4 << 10
	// headerBytes bounds the metadata of a request.
	headerBytes = 8 << 10
	// windowBytes bounds what a pod may send ahead on one stream; HTTP/2 has no
	// smaller window.
	windowBytes = 64 << 10
	// stopPatience is how long Close waits for the connections' end.
	stopPatience = 2 * time.Second
)

// Tree is the node's part of etcd.
type Tree interface {
	Follow(ctx context.Context, prefix string, f store.Follower) error
	Forward(ctx context.Context, prefix string, req *etcdserverpb.TxnRequest) (*etcdserverpb.TxnResponse, error)
}

// Dirs looks after the pods' directories.
type Dirs interface {
	// Clear removes whatever stands in a socket's place.
	Clear(ctx context.Context, socket string) error
	// Settle gives a socket its mode and group.
	Settle(socket string) error
}

// Config sets up a Gateway.
type Config struct {
	// RunDir is the agent's directory.
	RunDir string
	// Tree is the node's subtree, for this agent alone.
	Tree   Tree
	Dirs   Dirs
	Limits Limits
	// OnState is called with nil when what is known is what etcd has, and with the
	// reason when it may be old. It may be nil and must not block.
	OnState func(error)
	Log     *logrus.Entry
}

// Gateway serves the pods' sockets. It is a reconcile.Driver of them.
type Gateway struct {
	cfg     Config
	policy  policy
	cache   *cache
	metrics *metrics
	server  *grpc.Server

	mu      sync.Mutex
	sockets map[schema.PodID]*socket
	places  map[schema.PodID]int // that are taken, see take
	closed  bool

	// refuses: the kernel lets nobody pass descriptors.
	refuses atomic.Bool

	// How the gateway meets what pods pass to it; a test may change them before
	// there is a socket.
	lingers     time.Duration
	takesRights bool
}

// New makes a gateway without sockets.
func New(cfg Config) *Gateway {
	cfg.Limits = cfg.Limits.withDefaults()
	g := &Gateway{
		cfg: cfg, policy: policy{cfg.Limits}, cache: newCache(cfg.Limits, cfg.OnState), metrics: newMetrics(),
		sockets: map[schema.PodID]*socket{}, places: map[schema.PodID]int{}, lingers: lingers,
	}
	g.server = grpc.NewServer(
		grpc.Creds(identity{}),
		grpc.ConnectionTimeout(cfg.Limits.Handshake),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime}),
		grpc.MaxConcurrentStreams(cfg.Limits.Streams),
		grpc.MaxRecvMsgSize(cfg.Limits.MessageBytes),
		grpc.MaxHeaderListSize(headerBytes),
		grpc.ReadBufferSize(bufferSize), grpc.WriteBufferSize(bufferSize),
		grpc.StaticStreamWindowSize(windowBytes), grpc.StaticConnWindowSize(windowBytes),
		grpc.ForceServerCodecV2(codec{}), experimental.BufferPool(mem.NopBufferPool{}),
		grpc.InTapHandle(g.expect), grpc.UnaryInterceptor(g.unary), grpc.StreamInterceptor(g.streaming),
		// Leases, users, members, maintenance, locks, elections, and whatever else.
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return rpctypes.ErrGRPCPermissionDenied }),
	)
	etcdserverpb.RegisterKVServer(g.server, kv{g: g})
	etcdserverpb.RegisterWatchServer(g.server, watches{g: g})
	return g
}

// Collectors are the gateway's metrics.
func (g *Gateway) Collectors() []prometheus.Collector { return g.metrics.all() }

// Run keeps what is known up to date until ctx ends, and returns nil then.
func (g *Gateway) Run(ctx context.Context) error {
	if err := g.cfg.Tree.Follow(ctx, podsPrefix, g.cache); ctx.Err() == nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// Close ends all sockets and connections. The files stay: an agent that starts
// next replaces them.
func (g *Gateway) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	for _, s := range g.all() {
		g.end(s)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		g.server.Stop()
	}()
	select {
	case <-stopped:
	case <-time.After(stopPatience):
		g.cfg.Log.Warn("pods' connections are still being closed, not waiting for them")
	}
}

// begin serves a socket.
func (g *Gateway) begin(s *socket) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.sockets[s.p.id] != nil {
		return errors.Join(fmt.Errorf("put %s: the gateway is closed, or serves it already", s.path), s.l.Close())
	}
	g.sockets[s.p.id] = s
	g.cache.open(s.p.id)
	g.metrics.sockets.Inc()
	go func() {
		err := g.server.Serve(s.l)
		if g.end(s) { // nobody else has: it cannot accept
			g.cfg.Log.WithFields(logrus.Fields{"pod": s.p.id, "err": err}).Warn("gateway socket ended, the next audit opens it again")
		}
	}()
	return nil
}

// drop forgets a socket, and says whether it was known.
func (g *Gateway) drop(s *socket) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sockets[s.p.id] != s {
		return false
	}
	delete(g.sockets, s.p.id)
	g.cache.close(s.p.id)
	g.metrics.sockets.Dec()
	return true
}

// end closes a socket and its connections, and says whether it was known. It waits
// for nothing: what a pod has sent may hold a close up.
func (g *Gateway) end(s *socket) bool {
	if !g.drop(s) {
		return false
	}
	_ = s.l.Close()
	s.p.close()
	return true
}

// unary and streaming stand before every request.
func (g *Gateway) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	arrived(ctx)
	a, err := g.answer(ctx, req, handler)
	g.metrics.count(info.FullMethod, err)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// answer has a request answered when it is its turn, and keeps its slot until the
// answer has its place: no more are built than there are slots.
func (g *Gateway) answer(ctx context.Context, req any, handler grpc.UnaryHandler) (*answer, error) {
	c := connOf(ctx)
	if err := g.turn(ctx, c, cost(req)); err != nil {
		return nil, err
	}
	slots := c.p.reading
	if writes(req) {
		slots = c.p.writing
	}
	if err := g.slot(ctx, slots); err != nil {
		return nil, err
	}
	defer slots.Release(1)
	resp, err := handler(ctx, req)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, g.cfg.Limits.Patience)
	defer cancel()
	return c.hold(bounded, resp)
}

func (g *Gateway) streaming(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	err := g.converse(srv, s, info, handler)
	g.metrics.count(info.FullMethod, err)
	return err
}

func (g *Gateway) converse(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx := s.Context()
	c := connOf(ctx)
	arrived(ctx)
	if err := g.turn(ctx, c, 1); err != nil {
		return err
	}
	if info.FullMethod == etcdserverpb.KV_RangeStream_FullMethodName {
		if err := g.slot(ctx, c.p.reading); err != nil {
			return err
		}
		defer c.p.reading.Release(1)
	}
	g.again(ctx)
	return handler(srv, stream{s, c})
}

// turn waits for the turn of a request that counts as n.
func (g *Gateway) turn(ctx context.Context, c *conn, n int) error {
	if c == nil {
		return rpctypes.ErrGRPCPermissionDenied
	}
	err := c.p.admit(ctx, c.p.requests, n, g.cfg.Limits.Patience)
	if err != nil {
		g.metrics.limited.WithLabelValues("requests").Inc()
	}
	return err
}

// slot waits until one more request may be answered.
func (g *Gateway) slot(ctx context.Context, slots *semaphore.Weighted) error {
	bounded, cancel := context.WithTimeout(ctx, g.cfg.Limits.Patience)
	defer cancel()
	if slots.Acquire(bounded, 1) != nil {
		g.metrics.limited.WithLabelValues("concurrent").Inc()
		return rpctypes.ErrGRPCRequestTooManyRequests
	}
	return nil
}
