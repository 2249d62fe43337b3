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
	cfg   Config
	keys  schema.Keys
	files *certificates // nil: no TLS
	login *login        // nil: no user with a password
	cause cause
	known known

	mu sync.Mutex
	c  *clientv3.Client // nil: closed
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
	secure, err := cfg.secure()
	if err == nil && secure {
		s.files, err = newCertificates(cfg)
	}
	if err == nil {
		s.login, err = newLogin(cfg)
	}
	if err == nil {
		s.c, err = clientv3.New(s.configure())
	}
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return s, nil
}

// configure is the configuration of etcd's client, with who we are.
func (s *Store) configure() clientv3.Config {
	out := s.cfg.client()
	if s.files != nil {
		out.DialOptions = append(out.DialOptions, grpc.WithTransportCredentials(newHandshakes(s.files)))
	}
	if s.login != nil {
		out.DialOptions = append(out.DialOptions, s.login.options()...)
	}
	out.DialOptions = append(out.DialOptions, grpc.WithChainUnaryInterceptor(s.cause.observe))
	return out
}

// Close ends every call and watch.
func (s *Store) Close() error {
	s.mu.Lock()
	c := s.c
	s.c = nil
	s.mu.Unlock()
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

// User is whom etcd takes this connection for: the user that logs in, else the
// common name of the client certificate; empty for neither.
func (s *Store) User() string {
	if s.cfg.User != "" {
		return s.cfg.User
	}
	return s.files.commonName()
}

// CheckCredentials reads the certificates and says what somebody should do about
// them: what cannot be used, what has expired or soon will, a key that everybody
// may read. What works goes on working.
func (s *Store) CheckCredentials() error { return s.files.check(time.Now()) }

// connect returns the client.
func (s *Store) connect() (*clientv3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return nil, errClosed
	}
	return s.c, nil
}

// call runs one call with its deadline and classes its error. what names the
// object for people.
func (s *Store) call(ctx context.Context, what string, fn func(context.Context, *clientv3.Client) error) error {
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	c, err := s.connect()
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
