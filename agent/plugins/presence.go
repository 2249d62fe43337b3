package plugins

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
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
	// revokeLimit bounds the farewell; with etcd away the lease ends by itself.
	revokeLimit = 2 * time.Second
	// retryPause is the time between two attempts to write.
	retryPause = time.Second
	// lockPause is the time between two looks at the run-dir's lock.
	lockPause = 5 * time.Second
)

// Presence tells the cluster that this node has an agent, and how it stands:
// schema.AgentInfo under a lease. One agent of a node has it; another does
// nothing meanwhile.
type Presence struct {
	infra.PluginName
	Config config.File
	Node   schema.Node
	Store  *Store
	VPP    *VPP
	Health *Health
	Log    *logrus.Entry
	// Failed is called when this agent must not go on.
	Failed func(error)

	*store.Presence
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{}

	mu        sync.Mutex
	info      schema.AgentInfo
	taken     error // who else has the node's name
	listeners []func(error)
	// before is the instance that stood there when this one first looked.
	before string
}

// Init makes this start's identity. It makes no round trip.
func (p *Presence) Init() error {
	instance := make([]byte, 8)
	if _, err := rand.Read(instance); err != nil {
		return fmt.Errorf("instance id: %w", err)
	}
	p.info = schema.AgentInfo{
		Node: p.Node, AgentVersion: version.Version, Instance: hex.EncodeToString(instance), PID: os.Getpid(),
		BootID: p.Config.BootID(), RunDir: p.Config.RunDir, Since: now(),
		Reason: schema.ReasonProgramming, Message: errStarting.Error(),
	}
	if p.info.BootID == "" {
		p.Log.WithField("file", p.Config.BootIDFile).Warn("boot id not known")
	}
	value, err := schema.Encode(p.info)
	if err != nil {
		return err
	}
	p.wake = make(chan struct{}, 1)
	p.Health.Register(p.PluginName, nil)
	p.Presence, err = p.Store.Presence(store.Claim{
		Key: p.Store.Keys().Agent(p.Node), TTL: time.Duration(p.Config.Agent.LeaseTTL), Value: value,
		Yields: p.yields, Changed: p.owner,
	})
	return err
}

// Listen has f called when another agent is found to have the node's name, and
// with nil when this one has it. f must not block.
func (p *Presence) Listen(f func(error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners = append(p.listeners, f)
}

// AfterInit announces the agent; etcd need not be there.
func (p *Presence) AfterInit() error {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	p.Start(ctx)
	go p.run(ctx)
	return nil
}

// yields says whether the presence that was found is this agent's own, or that
// of an agent that is dead: it stood there when this one first looked, it ran on
// this boot of this machine, on the run-dir whose lock this one has. Whoever
// comes later lives, whatever it says of itself.
func (p *Presence) yields(value []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	other, err := schema.Decode[schema.AgentInfo](value)
	if err != nil {
		return false
	}
	if other.Instance == p.info.Instance {
		return true
	}
	if p.before == "" {
		p.before = other.Instance
	}
	dead := other.Instance == p.before && p.info.BootID != "" && other.BootID == p.info.BootID && other.RunDir == p.info.RunDir
	if dead {
		p.Log.WithFields(logrus.Fields{"instance": other.Instance, "pid": other.PID}).Info("the agent before this one is dead, its presence is taken over")
	}
	return dead
}

// owner takes who has the node's name.
func (p *Presence) owner(taken error) {
	p.mu.Lock()
	p.taken = taken
	listeners := p.listeners
	p.mu.Unlock()
	if taken != nil {
		p.Log.WithField("err", taken).Error("another agent has this node's name: this one touches nothing until that one is gone")
	} else {
		p.Log.Info("this agent has the node's name")
	}
	p.report(nil)
	for _, f := range listeners {
		f(taken)
	}
	p.look()
}

// report tells the health of the presence. That another agent has it goes first.
func (p *Presence) report(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken != nil {
		err = p.taken
	}
	p.Health.Report(p.PluginName, err)
}

// changed takes a new state of the run loop.
func (p *Presence) changed(s daemon.State) {
	p.mu.Lock()
	old := p.info
	p.info = describe(old, s)
	p.mu.Unlock()
	p.look()
}

// look has run look.
func (p *Presence) look() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// describe is what the cluster is told of a state.
func describe(old schema.AgentInfo, s daemon.State) schema.AgentInfo {
	out := old
	out.VPPVersion, out.VPPPID = s.VPP.Version, s.VPP.PID
	out.Held = s.Held
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

// now is for people: no time that decides anything is compared with it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// run writes the newest info whenever there is one, and looks after the lock.
func (p *Presence) run(ctx context.Context) {
	defer close(p.done)
	again := time.NewTimer(0)
	defer again.Stop()
	lock := time.NewTicker(lockPause)
	defer lock.Stop()
	var w writer
	for {
		select {
		case <-ctx.Done():
			return
		case <-lock.C:
			if err := p.VPP.lock.Keep(); err != nil {
				p.Failed(err)
			}
			continue
		case <-p.wake:
		case <-again.C:
		}
		if !p.write(ctx, &w) {
			again.Reset(retryPause)
		}
	}
}

// writer is what came of the writes so far.
type writer struct {
	written schema.AgentInfo
	told    lastError
}

// write writes the newest info where it has changed, and says whether that is
// done with. While another agent has the key, it is not written, and owner says
// when to look again.
func (p *Presence) write(ctx context.Context, w *writer) bool {
	p.mu.Lock()
	info := p.info
	p.mu.Unlock()
	if info == w.written {
		return true
	}
	value, err := schema.Encode(info)
	if err == nil {
		err = p.Set(ctx, value)
	}
	if ctx.Err() != nil {
		return true
	}
	p.report(err)
	var taken *store.TakenError
	switch {
	case errors.As(err, &taken):
		return true
	case err != nil:
		if w.told.news(err) {
			p.Log.WithField("err", err).Warn("presence not written, will be tried again")
		}
		return false
	}
	w.told.news(nil)
	w.written = info
	p.Log.WithFields(logrus.Fields{"ready": info.Ready, "reason": info.Reason}).Info("presence written")
	return true
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

// Close takes the agent's key and lease away.
func (p *Presence) Close() error {
	if p.cancel == nil {
		return nil
	}
	p.Health.Report(p.PluginName, errStopping)
	p.cancel()
	<-p.done
	ctx, cancel := context.WithTimeout(context.Background(), revokeLimit)
	defer cancel()
	if err := p.Presence.Close(ctx); err != nil {
		p.Log.WithField("err", err).Warn("presence not taken back, the lease ends by itself")
	}
	return nil
}
