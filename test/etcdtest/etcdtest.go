// Package etcdtest runs real etcd members inside the calling process, for tests
// and the demo. It does not sync to disk, so it is not for data that anybody
// wants back.
package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// startTimeout bounds the start of a member, which takes well under a second on
// an idle machine.
const startTimeout = 30 * time.Second

// Options say what cluster to run. The zero value is one member on a Unix
// socket.
type Options struct {
	// Members is 1 (also when 0) or 3.
	Members int
	// TCP serves clients on free ports of 127.0.0.1, not on Unix sockets.
	TCP bool
	// CACert, Cert and Key make the clients' side TLS (and TCP); with
	// ClientAuth a client needs a certificate signed by CACert.
	CACert, Cert, Key string
	ClientAuth        bool
	// Auth makes the clients' side TLS with a CA of the cluster's own, asks for
	// client certificates, and turns authentication on (Access).
	Auth bool
	// Fsync makes every write durable, as in real use; tests go without.
	Fsync bool
	// Quota is the space in bytes after which writes are refused; 0: etcd's
	// default, 2 GiB.
	Quota int64
}

// Cluster is a running cluster. Its methods are safe for concurrent use.
type Cluster struct {
	dir    string
	opts   Options
	access *Access

	mu      sync.Mutex
	members []*member
}

type member struct {
	name         string
	client, peer url.URL
	etcd         *embed.Etcd // nil: stopped
}

// Start runs a cluster until the test ends.
func Start(tb testing.TB, opts Options) *Cluster {
	tb.Helper()
	// Not tb.TempDir: with a long test name a socket's path would not fit.
	dir, err := os.MkdirTemp("", "etcd") //nolint:usetesting // see above
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	c, err := New(dir, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// New runs a cluster in dir, which it makes where it is missing, and whose path
// must leave room for a socket's name.
func New(dir string, opts Options) (*Cluster, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	if opts.Members == 0 {
		opts.Members = 1
	}
	c := &Cluster{dir: dir, opts: opts}
	if opts.Auth {
		if err := c.makeAccess(); err != nil {
			return nil, fmt.Errorf("start etcd: %w", err)
		}
	}
	opts = c.opts
	for i := range opts.Members {
		m := &member{name: fmt.Sprintf("m%d", i)}
		var err error
		if m.client, err = c.address(m.name+".sock", opts.TCP || opts.Cert != "", opts.Cert != ""); err != nil {
			return nil, err
		}
		// Members cannot reach each other over an absolute Unix socket path.
		if m.peer, err = c.address(m.name+".peer", opts.Members > 1, false); err != nil {
			return nil, err
		}
		c.members = append(c.members, m)
	}
	if c.access != nil {
		c.access.endpoints = c.Endpoints()
	}
	if err := c.startEmpty(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) makeAccess() (err error) {
	if c.access, err = newAccess(c.dir); err != nil {
		return err
	}
	c.opts.CACert, c.opts.Cert, c.opts.Key, c.opts.ClientAuth = c.access.CA.File, c.access.server.Cert, c.access.server.Key, true
	return nil
}

// Access is how clients get at the cluster; nil where it is open (Options.Auth).
func (c *Cluster) Access() *Access { return c.access }

// startEmpty starts members that hold nothing.
func (c *Cluster) startEmpty() error {
	if err := c.startAll(); err != nil || c.access == nil {
		return err
	}
	return c.access.init()
}

func (c *Cluster) address(name string, tcp, secure bool) (url.URL, error) {
	if !tcp {
		return url.URL{Scheme: "unix", Path: filepath.Join(c.dir, name)}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return url.URL{}, err
	}
	defer func() { _ = l.Close() }()
	u := url.URL{Scheme: "http", Host: l.Addr().String()}
	if secure {
		u.Scheme = "https"
	}
	return u, nil
}

func (c *Cluster) startAll() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if err := c.launch(m); err != nil {
			return err
		}
	}
	for _, m := range c.members {
		if err := m.wait(); err != nil {
			return err
		}
	}
	return nil
}

// launch starts m without waiting: a cluster's first member is ready only when
// the others are there.
func (c *Cluster) launch(m *member) error {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = m.name, filepath.Join(c.dir, m.name)
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{m.client}, []url.URL{m.client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{m.peer}, []url.URL{m.peer}
	var all []string
	for _, o := range c.members {
		all = append(all, o.name+"="+o.peer.String())
	}
	cfg.InitialCluster = strings.Join(all, ",")
	cfg.InitialClusterToken = c.dir
	cfg.TickMs, cfg.ElectionMs = 50, 500
	cfg.UnsafeNoFsync = !c.opts.Fsync
	cfg.QuotaBackendBytes = c.opts.Quota
	cfg.BcryptCost = 4 // bcrypt's lowest
	cfg.EnableGRPCGateway = false
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	if c.opts.Cert != "" {
		cfg.ClientTLSInfo = transport.TLSInfo{CertFile: c.opts.Cert, KeyFile: c.opts.Key, TrustedCAFile: c.opts.CACert, ClientCertAuth: c.opts.ClientAuth}
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start etcd member %s: %w", m.name, err)
	}
	m.etcd = e
	return nil
}

func (m *member) wait() error {
	select {
	case <-m.etcd.Server.ReadyNotify():
		return nil
	case err := <-m.etcd.Err():
		return fmt.Errorf("start etcd member %s: %w", m.name, err)
	case <-time.After(startTimeout):
		return fmt.Errorf("start etcd member %s: not ready within %s", m.name, startTimeout)
	}
}

// Endpoints are where clients connect, one for each member.
func (c *Cluster) Endpoints() []string {
	var out []string
	for _, m := range c.members {
		out = append(out, m.client.String())
	}
	return out
}

// Close stops all members.
func (c *Cluster) Close() {
	for i := range c.members {
		c.Stop(i)
	}
}

// Stop stops member i, as a crash would: its data stays.
func (c *Cluster) Stop(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[i]
	if m.etcd == nil {
		return
	}
	m.etcd.Close()
	m.etcd = nil
	if m.client.Scheme == "unix" {
		_ = os.Remove(m.client.Path)
	}
}

// Restart starts member i after Stop, and waits until it is ready, for which
// the cluster needs a quorum.
func (c *Cluster) Restart(i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members[i].etcd != nil {
		return fmt.Errorf("etcd member %s runs", c.members[i].name)
	}
	if err := c.launch(c.members[i]); err != nil {
		return err
	}
	return c.members[i].wait()
}

// Wipe stops all members, removes their data and starts them again: the same
// endpoints, with nothing in them and at revision 1.
func (c *Cluster) Wipe() error {
	c.Close()
	for _, m := range c.members {
		if err := os.RemoveAll(filepath.Join(c.dir, m.name)); err != nil {
			return err
		}
	}
	return c.startEmpty()
}

// Client returns a plain client, for what the code under test does not do.
func (c *Cluster) Client() (*clientv3.Client, error) {
	if c.access != nil {
		return c.access.Client(c.access.Root)
	}
	cfg := clientv3.Config{Endpoints: c.Endpoints(), DialTimeout: startTimeout, Logger: zap.NewNop()}
	if c.opts.Cert != "" {
		info := transport.TLSInfo{TrustedCAFile: c.opts.CACert, CertFile: c.opts.Cert, KeyFile: c.opts.Key}
		t, err := info.ClientConfig()
		if err != nil {
			return nil, err
		}
		cfg.TLS = t
	}
	return clientv3.New(cfg)
}

// Compact makes history up to the current revision unreadable.
func (c *Cluster) Compact(ctx context.Context) (err error) {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.Close()) }()
	resp, err := cl.Get(ctx, "x")
	if err != nil {
		return err
	}
	_, err = cl.Compact(ctx, resp.Header.GetRevision(), clientv3.WithCompactPhysical())
	return err
}

// Fill writes under key until etcd has no space left, and its alarm says so.
func (c *Cluster) Fill(ctx context.Context, key string) (err error) {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.Close()) }()
	value := strings.Repeat("x", 256<<10)
	for {
		if _, err = cl.Put(ctx, key, value); errors.Is(err, rpctypes.ErrNoSpace) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
