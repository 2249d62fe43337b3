package gateway

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/vpp-cni/vpp-cni/schema"
)

// pod is a pod that has a socket, with what it uses of its limits. Who is behind
// a connection is known from the socket that it came in by, and from nothing
// that it says.
type pod struct {
	id                        schema.PodID
	requests, writes, accepts *rate.Limiter
	bytes                     *rate.Limiter
	price                     int                 // of a stream, in bytes
	reading, writing          *semaphore.Weighted // requests that are answered
	untaken                   *semaphore.Weighted // bytes of answers

	mu                sync.Mutex
	conns             map[*conn]bool
	watchers, watches int
	closed            bool
}

// byteBurst bounds one read: a limiter gives no more than its burst.
const byteBurst = 64 << 10

func newPod(id schema.PodID, l Limits) *pod {
	return &pod{
		id: id, conns: map[*conn]bool{},
		requests: bucket(l.Requests, 2), writes: bucket(l.Writes, 20), accepts: bucket(l.Accepts, 3),
		bytes: rate.NewLimiter(rate.Limit(l.Bytes), max(byteBurst, l.Bytes)), price: streamPrice(l),
		reading: semaphore.NewWeighted(int64(l.Concurrent)), writing: semaphore.NewWeighted(int64(l.Concurrent)),
		untaken: semaphore.NewWeighted(int64(l.UntakenBytes)),
	}
}

// begin counts a watch stream, where one more is allowed.
func (p *pod) begin(most int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watchers >= most {
		return false
	}
	p.watchers++
	return true
}

func (p *pod) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watchers--
}

// mayWatch counts a watch, where one more is allowed.
func (p *pod) mayWatch(most int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watches >= most {
		return false
	}
	p.watches++
	return true
}

func (p *pod) watched(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches += n
}

// add counts a connection, where one more is allowed.
func (p *pod) add(c *conn, most int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.conns) >= most {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *pod) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// close ends all connections, and lets no new ones in.
func (p *pod) close() {
	p.mu.Lock()
	p.closed = true
	conns := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // what it says then is of no use
	}
}

// conn is a pod's connection. It is read no faster than the pod may send: what
// costs the node is every frame, not only the requests.
type conn struct {
	*net.UnixConn
	p       *pod
	g       *Gateway
	frames  frames
	using   sync.RWMutex // held while the descriptor is in use
	once    sync.Once
	closed  chan struct{}
	untaken untaken
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.read(b[:min(len(b), byteBurst)])
	if n == 0 {
		return n, err
	}
	frames, streams := c.frames.count(b[:n])
	wait := c.p.charge(n+frameBytes*frames, streams)
	if wait == 0 {
		return n, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	}
	return n, err
}

// identity is grpc's credentials: no TLS, and the pod that the connection is of.
type identity struct{}

// AuthType names the kind.
func (*conn) AuthType() string { return "vpp-cni-pod" }

// ServerHandshake passes the connection on, and with it the pod.
func (identity) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := raw.(*conn)
	if !ok {
		return nil, nil, net.ErrClosed
	}
	return c, c, nil
}

// ClientHandshake is for no one: the gateway is no client.
func (identity) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, net.ErrClosed
}

// Info describes the protocol.
func (identity) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "vpp-cni-pod"}
}

// Clone is itself.
func (i identity) Clone() credentials.TransportCredentials { return i }

// OverrideServerName does nothing.
func (identity) OverrideServerName(string) error { return nil }

// connOf is the connection that a request comes from.
func connOf(ctx context.Context) *conn {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	c, _ := from.AuthInfo.(*conn)
	return c
}

// podOf is the pod that a request comes from. Every connection has one.
func podOf(ctx context.Context) *pod {
	if c := connOf(ctx); c != nil {
		return c.p
	}
	return nil
}
