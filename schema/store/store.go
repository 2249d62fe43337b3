package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/vpp-cni/vpp-cni/schema"
)

// Keepalive of a connection that has a watch or a call on it. gRPC's client
// takes no shorter time than 10 s (google.golang.org/grpc/internal,
// KeepaliveMinPingTime); etcd's server allows 5 s.
const (
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
)

// errClosed is what calls on a closed Store get.
var errClosed = errors.New("the store is closed")

// Store is a connection to etcd. It is safe for concurrent use.
type Store struct {
	cfg    Config
	keys   schema.Keys
	client clientv3.Config
	cause  cause
	known  known

	mu      sync.Mutex
	c       *clientv3.Client
	dialing *dialing
	closed  bool
}

// dialing is a log-in under way.
type dialing struct {
	done chan struct{}
	err  error
}

// Open checks cfg and reads the files that it names. It makes no round trip:
// the first call connects.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	keys, err := schema.NewKeys(cfg.Prefix)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	s := &Store{cfg: cfg, keys: keys}
	if s.client, err = cfg.client(); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	s.client.DialOptions = append(s.client.DialOptions, grpc.WithChainUnaryInterceptor(s.cause.observe))
	if cfg.User == "" {
		// Without a log-in, making the client is no round trip.
		if s.c, err = clientv3.New(s.client); err != nil {
			return nil, fmt.Errorf("etcd: %w", err)
		}
	}
	return s, nil
}

// Close ends every call and watch.
func (s *Store) Close() error {
	s.mu.Lock()
	c, d := s.c, s.dialing
	s.c, s.closed = nil, true
	s.mu.Unlock()
	if d != nil {
		<-d.done
	}
	if c == nil {
		return nil
	}
	if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close etcd: %w", err)
	}
	return nil
}

// Keys builds and parses the keys under the configured prefix.
func (s *Store) Keys() schema.Keys { return s.keys }

// connect returns the client, after the log-in where there is one. A log-in
// that fails is tried again by the next call.
func (s *Store) connect(ctx context.Context) (*clientv3.Client, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	if s.c != nil {
		defer s.mu.Unlock()
		return s.c, nil
	}
	d := s.dialing
	if d == nil {
		d = &dialing{done: make(chan struct{})}
		s.dialing = d
		go s.login(d)
	}
	s.mu.Unlock()
	select {
	case <-d.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if d.err != nil {
		return nil, d.err
	}
	return s.connect(ctx)
}

// login makes the client; clientv3.New bounds it by DialTimeout.
func (s *Store) login(d *dialing) {
	c, err := clientv3.New(s.client)
	if err != nil {
		d.err = fmt.Errorf("log in as %s: %w", s.cfg.User, err)
	}
	s.mu.Lock()
	s.dialing = nil
	stale := s.closed
	if !stale {
		s.c = c
	}
	s.mu.Unlock()
	if stale && c != nil {
		_ = c.Close()
	}
	close(d.done)
}

// call runs one call with its deadline and classes its error. what names the
// object for people.
func (s *Store) call(ctx context.Context, what string, fn func(context.Context, *clientv3.Client) error) error {
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	c, err := s.connect(bounded)
	if err == nil {
		err = fn(bounded, c)
	}
	return s.classify(ctx, what, time.Since(start), err)
}

// txn runs one transaction.
func (s *Store) txn(ctx context.Context, what string, guards []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	var resp *clientv3.TxnResponse
	err := s.call(ctx, what, func(ctx context.Context, c *clientv3.Client) (err error) {
		resp, err = c.Txn(ctx).If(guards...).Then(then...).Else(otherwise...).Commit()
		return err
	})
	return resp, err
}

func (c Config) withDefaults() Config {
	if c.DialTimeout <= 0 {
		c.DialTimeout = DefaultDialTimeout
	}
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = DefaultRequestTimeout
	}
	if c.ProgressInterval <= 0 {
		c.ProgressInterval = DefaultProgressInterval
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}
