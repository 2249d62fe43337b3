package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/vpp-cni/vpp-cni/test/proc"
)

// Processes is a cluster of three members, each a process of its own, so that a
// member can be killed or made to hang. Clients reach them on Unix sockets, or
// with TLS on ports of 127.0.0.1.
type Processes struct {
	Members []*proc.Process

	dir    string
	urls   []string
	access *Access
}

// nextPort tells the members of one program apart.
var nextPort atomic.Uint32

// memberCount is the least with which one can go and the others go on.
const memberCount = 3

// NewProcesses prepares a cluster in dir; program is the etcd server. With auth,
// clients and peers speak TLS with certificates, and Up turns authentication on.
func NewProcesses(program, dir string, auth bool) (*Processes, error) {
	c := &Processes{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("prepare etcd: %w", err)
	}
	var security []string
	if auth {
		var err error
		if c.access, err = newAccess(dir); err != nil {
			return nil, fmt.Errorf("prepare etcd: %w", err)
		}
		security = c.access.flags()
	}
	var peers, all []string
	for i := range memberCount {
		peer, client, err := c.addresses(i)
		if err != nil {
			return nil, fmt.Errorf("prepare etcd: %w", err)
		}
		peers, c.urls = append(peers, peer), append(c.urls, client)
		all = append(all, fmt.Sprintf("m%d=%s", i, peer))
	}
	for i := range memberCount {
		name := fmt.Sprintf("m%d", i)
		args := []string{
			"--name", name, "--data-dir", c.data(i),
			"--listen-client-urls", c.urls[i], "--advertise-client-urls", c.urls[i],
			"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
			"--initial-cluster", strings.Join(all, ","), "--initial-cluster-token", dir,
			// Several clusters and VPPs share a small machine.
			"--heartbeat-interval", "100", "--election-timeout", "1000",
			"--unsafe-no-fsync", "--log-level", "warn",
		}
		c.Members = append(c.Members, proc.New("etcd-"+name, dir, program, append(args, security...)...))
	}
	if c.access != nil {
		c.access.endpoints = c.urls
	}
	return c, nil
}

// addresses are where member i meets its peers and its clients.
func (c *Processes) addresses(i int) (peer, client string, err error) {
	scheme := "http"
	client = "unix://" + filepath.Join(c.dir, fmt.Sprintf("m%d.sock", i))
	if c.access != nil {
		scheme = "https"
		port, portErr := freePort()
		if portErr != nil {
			return "", "", portErr
		}
		client = fmt.Sprintf("https://127.0.0.1:%d", port)
	}
	port, err := freePort()
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port), client, err
}

// Access is how clients get at the cluster; nil where it is open.
func (c *Processes) Access() *Access { return c.access }

func (c *Processes) data(i int) string { return filepath.Join(c.dir, fmt.Sprintf("m%d", i)) }

// freePort is a free port below those that the kernel gives to clients (32768
// on, ip_local_port_range), so that no client gets it while a member is down.
func freePort() (int, error) {
	for try := range 200 {
		port := 10000 + (os.Getpid()*37+int(nextPort.Add(1))*101+try)%20000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port")
}

// Endpoints are where clients connect, one for each member.
func (c *Processes) Endpoints() []string { return slices.Clone(c.urls) }

// Up starts all members that do not run, and waits until the cluster has a
// leader, and where it is to have authentication, has that.
func (c *Processes) Up(ctx context.Context) error {
	for _, m := range c.Members {
		if m.Running() {
			continue
		}
		if err := m.Start(); err != nil {
			return err
		}
	}
	if err := c.WaitReady(ctx); err != nil || c.access == nil {
		return err
	}
	return c.access.Init(ctx)
}

// WaitReady waits until the cluster takes a linearizable read.
func (c *Processes) WaitReady(ctx context.Context) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	for {
		try, cancel := context.WithTimeout(ctx, time.Second)
		_, err := cl.Get(try, "x")
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for etcd: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// Leader is the number of the member that leads, as the members say that
// answer.
func (c *Processes) Leader(ctx context.Context) (int, error) {
	cl, err := c.Client()
	if err != nil {
		return 0, err
	}
	defer func() { _ = cl.Close() }()
	for i, e := range c.Endpoints() {
		try, cancel := context.WithTimeout(ctx, time.Second)
		st, err := cl.Status(try, e)
		cancel()
		if err == nil && st.Leader == st.Header.GetMemberId() {
			return i, nil
		}
	}
	return 0, errors.New("etcd has no leader")
}

// Client returns a plain client, for what the code under test does not do.
func (c *Processes) Client() (*clientv3.Client, error) {
	if c.access != nil {
		return c.access.Client(c.access.Root)
	}
	return clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), DialTimeout: startTimeout, Logger: zap.NewNop()})
}

// Compact makes history up to the current revision unreadable.
func (c *Processes) Compact(ctx context.Context) (err error) {
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

// Wipe kills all members and removes their data; Up then starts a cluster with
// nothing in it and at revision 1.
func (c *Processes) Wipe() error {
	err := c.Kill()
	for i := range c.Members {
		err = errors.Join(err, os.RemoveAll(c.data(i)))
	}
	return err
}

// Backup kills all members and copies their data aside, over an earlier copy.
func (c *Processes) Backup() error { return c.copyData("", ".backup") }

// Restore kills all members and puts the copy that Backup made in the place of
// their data.
func (c *Processes) Restore() error { return c.copyData(".backup", "") }

func (c *Processes) copyData(from, to string) error {
	if err := c.Kill(); err != nil {
		return err
	}
	for i := range c.Members {
		if err := os.RemoveAll(c.data(i) + to); err != nil {
			return err
		}
		if err := os.CopyFS(c.data(i)+to, os.DirFS(c.data(i)+from)); err != nil {
			return fmt.Errorf("copy the data of etcd member %d: %w", i, err)
		}
	}
	return nil
}

// Kill kills all members.
func (c *Processes) Kill() error {
	var errs []error
	for _, m := range c.Members {
		errs = append(errs, m.Kill())
	}
	return errors.Join(errs...)
}
