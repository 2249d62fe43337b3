// Package plugins makes the host agent's parts plugins of cn-infra, which gives
// them their life cycle and status check. It is glue: what the parts do stands
// in schema/store, vpp, hostplan, rundir, deviceplugin and daemon.
package plugins

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ligato/cn-infra/infra"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/gateway"
	"github.com/vpp-cni/vpp-cni/agent/hostplan"
	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/agent/rundir"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/config"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// Store is the connection to etcd.
type Store struct {
	infra.PluginName
	Config store.Config
	Log    *logrus.Entry

	*store.Store
	cancel context.CancelFunc
	done   chan struct{}
}

// Init checks the configuration; etcd need not be there.
func (p *Store) Init() error {
	s, err := store.Open(p.Config)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	p.Store = s
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		watchCredentials(ctx, s.CheckCredentials, credentialsPause, p.Log)
	}()
	return nil
}

// Close ends the connection.
func (p *Store) Close() error {
	if p.Store == nil {
		return nil
	}
	p.cancel()
	<-p.done
	return p.Store.Close()
}

// VPP is the connection to the host's VPP and the pods' directories beside it.
type VPP struct {
	infra.PluginName
	Config config.File
	Log    *logrus.Entry

	dirs *rundir.Driver
	lock *rundir.Lock
	vpp  *settled
}

// Init makes the run-dir and locks it: a second agent on it ends here, before it
// has told anybody of itself. VPP need not be there.
func (p *VPP) Init() error {
	dirs, err := rundir.New(rundir.Config{
		RunDir: p.Config.RunDir, SocketMode: p.Config.Agent.SocketMode, SocketGroup: p.Config.Agent.SocketGroup, Log: p.Log,
	})
	if err != nil {
		return err
	}
	if p.lock, err = rundir.NewLock(p.Config.RunDir); err != nil {
		return err
	}
	p.dirs = dirs
	p.vpp = &settled{
		VPP:  vpp.New(vpp.Config{Socket: p.Config.Agent.VPPSocket, RunDir: p.Config.RunDir, Clear: dirs.Clear, Logger: p.Log}),
		dirs: dirs,
	}
	return nil
}

// Close gives the run-dir free. The connection ends with the reconciler that runs
// it.
func (p *VPP) Close() error {
	if p.lock == nil {
		return nil
	}
	return errors.Join(p.dirs.Close(), p.lock.Close())
}

// settled is VPP whose sockets get the configured mode and group.
type settled struct {
	*vpp.VPP
	dirs *rundir.Driver
}

// Put makes want so, and settles the socket where VPP made one for it. Where VPP
// connects, the pod is let make the socket.
func (s *settled) Put(ctx context.Context, want, have model.Object) error {
	socket, ours := served(want)
	if socket == "" {
		return s.VPP.Put(ctx, want, have)
	}
	if !ours {
		if err := s.dirs.PodServes(socket); err != nil {
			return err
		}
	}
	if err := s.VPP.Put(ctx, want, have); err != nil || !ours {
		return err
	}
	return s.dirs.Settle(socket)
}

// PutAll is Put for many objects.
func (s *settled) PutAll(ctx context.Context, want, have []model.Object) []error {
	errs := make([]error, len(want))
	var may []int
	var wants, haves []model.Object
	for n, o := range want {
		if socket, ours := served(o); socket != "" && !ours {
			if errs[n] = s.dirs.PodServes(socket); errs[n] != nil {
				continue
			}
		}
		may, wants, haves = append(may, n), append(wants, o), append(haves, have[n])
	}
	for i, err := range s.VPP.PutAll(ctx, wants, haves) {
		if socket, ours := served(wants[i]); ours && err == nil {
			err = s.dirs.Settle(socket)
		}
		errs[may[i]] = err
	}
	return errs
}

// Dump also tells which pods make sockets themselves: an agent that starts learns
// it from VPP.
func (s *settled) Dump(ctx context.Context) ([]model.Object, error) {
	objects, err := s.VPP.Dump(ctx)
	for _, o := range objects {
		switch i := o.(type) {
		case model.Memif:
			if !i.Master {
				s.dirs.Learn(i.Socket)
			}
		case model.VhostUser:
			if !i.Server {
				s.dirs.Learn(i.Socket)
			}
		}
	}
	return objects, err
}

// served is the socket of an interface in a pod's directory, and whether the
// host's VPP serves it.
func served(o model.Object) (socket string, ours bool) {
	switch i := o.(type) {
	case model.Memif:
		if i.Dir != "" {
			return i.Socket, i.Master
		}
	case model.VhostUser:
		if i.Dir != "" {
			return i.Socket, i.Server
		}
	}
	return "", false
}

// Reconciler makes VPP match what etcd says.
type Reconciler struct {
	infra.PluginName
	Config   config.File
	Node     schema.Node
	Store    *Store
	VPP      *VPP
	Presence *Presence
	Gateway  *Gateway
	// Devices is nil where the agent is no device plugin.
	Devices *DevicePlugin
	Health  *Health
	Log     *logrus.Entry
	// Failed is called if the run loop ends by itself.
	Failed func(error)

	daemon *daemon.Daemon
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.Mutex
	listeners []func(daemon.State)
}

// Init makes the run loop. It does not run before all plugins are there.
func (p *Reconciler) Init() error {
	for _, part := range []infra.PluginName{p.Store.PluginName, p.VPP.PluginName, p.PluginName} {
		p.Health.Register(part, nil)
	}
	planner := hostplan.Planner{RunDir: p.Config.RunDir, BootID: p.Config.BootID(), NoSlave: !p.Config.Agent.HostMemifSlave}
	d, err := daemon.New(daemon.Config{
		Node: string(p.Node), Instance: p.Presence.info.Instance,
		Tree: p.tree(),
		VPP:  p.VPP.vpp,
		Contract: daemon.Contract{
			Desired: schema.HostInterfacesPrefix, Statuses: schema.HostStatusesPrefix,
			Check: func(key string) error { _, err := schema.ParseHostKey(key); return err },
			Plan: func(key string, value []byte) (daemon.Attachment, error) {
				plan, err := planner.Decode(key, value)
				return daemon.Attachment(plan), err
			},
			Interfaces: hostplan.Interfaces, Release: schema.ReleaseKey,
		},
		Drivers: []reconcile.Driver{p.VPP.dirs, p.Gateway},
		Metrics: allMetrics(p.Gateway.Gateway),
		Audit:   time.Duration(p.Config.Agent.AuditInterval),
		Log:     p.Log,
		OnState: p.changed,
	})
	if err != nil {
		return err
	}
	p.daemon = d
	p.Presence.Listen(d.SetFenced)
	p.Listen(p.Presence.changed)
	if p.Devices != nil {
		p.Listen(p.Devices.changed)
	}
	return nil
}

// tree is the node's part of etcd, for the agent that has the node's name.
func (p *Reconciler) tree() daemon.Tree {
	tree := p.Store.Subtree(p.Store.Keys().NodePrefix(p.Node)).OwnedBy(p.Presence.Presence)
	if p.Devices == nil {
		return tree
	}
	return counted{Tree: tree, counter: p.Devices.counter}
}

// allMetrics are those of the run loop and of the gateway.
func allMetrics(g *gateway.Gateway) *daemon.Metrics {
	m := daemon.NewMetrics()
	m.Register(g.Collectors()...)
	return m
}

// Listen has f called with every new state of the run loop. f must not block.
func (p *Reconciler) Listen(f func(daemon.State)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners = append(p.listeners, f)
}

// AfterInit starts the run loop.
func (p *Reconciler) AfterInit() error {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	p.changed(p.daemon.State())
	go func() {
		defer close(p.done)
		if err := p.daemon.Run(ctx); err != nil {
			p.Failed(fmt.Errorf("reconciler: %w", err))
		}
	}()
	return nil
}

func (p *Reconciler) changed(s daemon.State) {
	p.Health.Report(p.Store.PluginName, s.Etcd)
	p.Health.Report(p.VPP.PluginName, s.VPP.Err)
	p.Health.Report(p.PluginName, s.Pass)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.listeners {
		f(s)
	}
}

// Close ends the run loop. VPP keeps everything.
func (p *Reconciler) Close() error {
	if p.cancel != nil {
		p.cancel()
		<-p.done
	}
	return nil
}

// HTTP serves health, metrics and the report for vpp-cnictl.
type HTTP struct {
	infra.PluginName
	Address    string
	Reconciler *Reconciler
	Health     *Health
	Log        *logrus.Entry
	// Failed is called if the server ends by itself.
	Failed func(error)

	ctx      context.Context // the plugin's life, from Init to Close
	cancel   context.CancelFunc
	listener net.Listener
	done     chan struct{}
}

// Init listens: an agent that cannot ends here, before it has told anybody of
// itself.
func (p *HTTP) Init() error {
	p.ctx, p.cancel = context.WithCancel(context.Background())
	l, err := daemon.Listen(p.ctx, p.Address)
	if err != nil {
		p.cancel()
		return err
	}
	p.listener = l
	return nil
}

// AfterInit serves: all that is served is there.
func (p *HTTP) AfterInit() error {
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		if err := daemon.Serve(p.ctx, p.listener, p.Reconciler.daemon.Handler(p.Health.Checks), p.Log); err != nil {
			p.Failed(err)
		}
	}()
	return nil
}

// Close ends the server.
func (p *HTTP) Close() error {
	if p.done != nil {
		p.cancel()
		<-p.done
	}
	return nil
}

var errStopping = errors.New("the agent is stopping")
