package plugins

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ligato/cn-infra/infra"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/config"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/schema/version"
)

const (
	// bootIDFile is the kernel's random id of this boot (proc(5)).
	bootIDFile = "/proc/sys/kernel/random/boot_id"
	// revokeLimit bounds the farewell; with etcd away the lease ends by itself.
	revokeLimit = 2 * time.Second
	// retryPause is the time between two attempts to write.
	retryPause = time.Second
)

// Presence tells the cluster that this node has an agent, and how it stands:
// schema.AgentInfo under a lease.
type Presence struct {
	infra.PluginName
	Config     config.File
	Node       schema.Node
	Store      *Store
	Reconciler *Reconciler
	Health     *Health
	Log        *logrus.Entry

	presence *store.Presence
	cancel   context.CancelFunc
	done     chan struct{}

	mu   sync.Mutex
	info schema.AgentInfo
	wake chan struct{}
}

// Init makes this start's identity.
func (p *Presence) Init() error {
	instance := make([]byte, 8)
	if _, err := rand.Read(instance); err != nil {
		return fmt.Errorf("instance id: %w", err)
	}
	boot, err := os.ReadFile(bootIDFile)
	if err != nil {
		p.Log.WithField("err", err).Warn("boot id not known")
	}
	p.info = schema.AgentInfo{
		Node: p.Node, AgentVersion: version.Version, Instance: hex.EncodeToString(instance), PID: os.Getpid(),
		BootID: strings.TrimSpace(string(boot)), RunDir: p.Config.RunDir, Since: now(),
	}
	p.wake = make(chan struct{}, 1)
	p.Health.Register(p.PluginName, nil)
	p.Reconciler.Listen(p.changed)
	return nil
}

// AfterInit announces the agent; etcd need not be there.
func (p *Presence) AfterInit() error {
	ctx, cancel := context.WithCancel(context.Background())
	presence, err := p.Store.Announce(ctx, p.Store.Keys().Agent(p.Node), time.Duration(p.Config.Agent.LeaseTTL))
	if err != nil {
		cancel()
		return err
	}
	p.presence, p.cancel, p.done = presence, cancel, make(chan struct{})
	go p.run(ctx)
	return nil
}

// changed takes a new state of the run loop.
func (p *Presence) changed(s daemon.State) {
	p.mu.Lock()
	old := p.info
	p.info = describe(old, s)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// describe is what the cluster is told of a state.
func describe(old schema.AgentInfo, s daemon.State) schema.AgentInfo {
	out := old
	out.VPPVersion, out.VPPPID = s.VPP.Version, s.VPP.PID
	out.Ready, out.Reason, out.Message = true, "", ""
	switch {
	case s.VPP.Err != nil:
		out.Ready, out.Reason, out.Message = false, schema.ReasonVPPDown, s.VPP.Err.Error()
		out.VPPPID = 0
	case s.Pass != nil:
		out.Ready, out.Reason, out.Message = false, schema.ReasonProgramming, s.Pass.Error()
		if errors.Is(s.Pass, vpp.ErrDown) {
			out.Reason = schema.ReasonVPPDown
		}
	}
	if out.Ready != old.Ready || out.Reason != old.Reason {
		out.Since = now()
	}
	return out
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// run writes the newest info whenever there is one.
func (p *Presence) run(ctx context.Context) {
	defer close(p.done)
	again := time.NewTimer(0)
	defer again.Stop()
	var written schema.AgentInfo
	var told lastError
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-again.C:
		}
		p.mu.Lock()
		info := p.info
		p.mu.Unlock()
		if info == written {
			continue
		}
		err := p.write(ctx, info)
		if ctx.Err() != nil {
			return
		}
		p.Health.Report(p.PluginName, err)
		if told.news(err) {
			p.Log.WithField("err", err).Warn("presence not written, will be tried again")
		}
		if err != nil {
			again.Reset(retryPause)
			continue
		}
		p.Log.WithFields(logrus.Fields{"ready": info.Ready, "reason": info.Reason}).Info("presence written")
		written = info
	}
}

// lastError keeps an error that comes again from being told again.
type lastError struct{ text string }

// news says whether err is an error other than the one before. No error ends it.
func (l *lastError) news(err error) bool {
	if err == nil {
		l.text = ""
		return false
	}
	same := l.text == err.Error()
	l.text = err.Error()
	return !same
}

func (p *Presence) write(ctx context.Context, info schema.AgentInfo) error {
	value, err := schema.Encode(info)
	if err != nil {
		return err
	}
	return p.presence.Set(ctx, value)
}

// Close takes the agent's key and lease away.
func (p *Presence) Close() error {
	if p.cancel == nil {
		return nil
	}
	p.Health.Report(p.PluginName, errStopping)
	ctx, cancel := context.WithTimeout(context.Background(), revokeLimit)
	defer cancel()
	if err := p.presence.Close(ctx); err != nil {
		p.Log.WithField("err", err).Warn("presence not taken back, the lease ends by itself")
	}
	p.cancel()
	<-p.done
	return nil
}
