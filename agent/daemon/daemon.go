// Package daemon is the run loop that both agents share: it follows desired
// values in etcd, has them planned, lets package reconcile make VPP match, and
// writes statuses back. It also serves health, metrics and the report for
// vpp-cnictl. What a value means belongs to hostplan and podplan, the life
// cycle of a program to its main package.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/report"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// The defaults of Config.
const (
	DefaultAudit = time.Minute
	DefaultGrace = time.Second
	// DefaultHoldPause is Config.HoldPause where that is 0.
	DefaultHoldPause = 2 * time.Second
)

// Tree is the part of etcd that an agent works on, with keys relative to its
// root.
type Tree interface {
	Follow(ctx context.Context, prefix string, f store.Follower) error
	List(ctx context.Context, prefix string) (map[string]store.Entry, int64, error)
	PutGuarded(ctx context.Context, guardKey string, guardRev int64, key string, value []byte) (held bool, err error)
	DeleteIfAbsent(ctx context.Context, guardKey, key string) (held bool, err error)
}

// VPP is the driver of a VPP, with what statuses tell of its interfaces.
type VPP interface {
	reconcile.Driver
	Run(ctx context.Context) error
	Events() <-chan vpp.Event
	Info() vpp.Info
	Interface(tag model.Tag) (vpp.InterfaceState, bool)
	RefreshInterfaces(ctx context.Context) error
}

// Attachment is what a desired value asks for. It has the fields of the plans
// of hostplan and podplan.
type Attachment struct {
	Objects          []model.Object
	Interface        model.Tag
	SocketPath       string
	Message          string
	ApplicationOwned bool
	// Failed is why nothing is to be made; Message says more.
	Failed schema.Reason
}

// Contract tells the daemon what keys and values mean. A status stands under
// Statuses by the same name as its desired value under Desired.
type Contract struct {
	// Desired and Statuses are prefixes with their final slash.
	Desired, Statuses string
	// Check says whether a key is one of the contract's.
	Check func(key string) error
	// Plan turns a value into objects. Its errors make that attachment Failed.
	Plan func(key string, value []byte) (Attachment, error)
	// Interfaces are the identities of the interface that the key may have in
	// VPP, whatever the value says.
	Interfaces func(key string) []model.ID
	// Release is the key of the operator's word on what is held; empty: none.
	Release string
}

func (c Contract) statusKey(desired string) string {
	return c.Statuses + strings.TrimPrefix(desired, c.Desired)
}

func (c Contract) desiredKey(status string) string {
	return c.Desired + strings.TrimPrefix(status, c.Statuses)
}

// Config sets up a Daemon.
type Config struct {
	// Node is the node's name for the report.
	Node string
	// Instance is this start of the agent: the operator's word names it.
	Instance string
	Tree     Tree
	VPP      VPP
	Contract Contract
	// Drivers are those beside VPP.
	Drivers []reconcile.Driver
	// Audit is the time between two comparisons of everything; 0: DefaultAudit.
	Audit time.Duration
	// Grace is how long an attachment may be on its way before a Pending status
	// is written; 0: DefaultGrace. An ADD that goes well is one status write.
	Grace time.Duration
	// HoldPause is the time between two looks for what ends a hold; 0:
	// DefaultHoldPause.
	HoldPause time.Duration
	// Metrics may be nil.
	Metrics *Metrics
	Log     *logrus.Entry
	// OnState is called, one call at a time, when State has changed. It may be
	// nil and must not block.
	OnState func(State)
}

// State is where the daemon as a whole stands.
type State struct {
	// Etcd is nil while the view of etcd is known to be right.
	Etcd error
	// VPP is the connection to VPP.
	VPP vpp.Info
	// Pass is nil after a full pass over everything since VPP was connected.
	Pass error
	// Held counts the attachments that stay in VPP though etcd does not know of
	// them.
	Held int
	// Fenced is why the daemon must not act, nil while it may; see SetFenced.
	Fenced error
}

// Ready is nil where all parts work.
func (s State) Ready() error { return errors.Join(s.Fenced, s.Etcd, s.VPP.Err, s.Pass) }

var (
	errNoSnapshot = errors.New("the desired state has not been read yet")
	errNoPass     = errors.New("no full pass has been made yet")
)

// Daemon is the run loop.
type Daemon struct {
	cfg    Config
	log    *logrus.Entry
	engine *reconcile.Engine
	inbox  *inbox
	pub    *publisher
	// fence wakes the loop when SetFenced was called.
	fence chan struct{}
	// verifying is full while as many comparisons are under way as may be.
	verifying chan struct{}

	// What follows belongs to the loop.
	records map[string]*record
	// marked are the records whose status needs a look.
	marked map[*record]struct{}
	// orphans are statuses without a desired value, by status key.
	orphans map[string]bool
	// held are attachments that etcd has forgotten, by desired key.
	held map[string]*record
	// rev is the revision up to which the desired values are known.
	rev int64
	// listening: the operator's word that comes now is about what is held.
	listening bool
	// snapshot is false before the first one.
	snapshot bool
	// vppSeen is true after the first news of VPP, up while it is connected.
	vppSeen, up bool
	pid         uint32
	// epoch is the connection to VPP of the last full pass.
	epoch uint64
	due   dues
	// drifted are the objects of drift that are not mended yet, by when found.
	drifted map[model.ID]time.Time
	rested  time.Time // before it, interfaces are not read again

	mu    sync.Mutex // guards what follows, for readers outside the loop
	state State
	// told is the state that OnState has seen.
	told State
	// afresh is true from a fence until all that was known is forgotten.
	afresh bool
	// stopPass ends the pass under way, nil between passes.
	stopPass func()
	// pending are the attachments that are not ready, for the report.
	pending map[string]report.Pending
	// heldKnown is held for the report.
	heldKnown []report.Held
}

// New checks cfg and makes a daemon that does nothing before Run.
func New(cfg Config) (*Daemon, error) {
	if cfg.Audit <= 0 {
		cfg.Audit = DefaultAudit
	}
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.HoldPause <= 0 {
		cfg.HoldPause = DefaultHoldPause
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	engine, err := reconcile.New(reconcile.Options{
		Terminal: vpp.Terminal,
		// A call that was not answered by a VPP that answers pings is a failure of
		// its object. If VPP hangs, the pings tell within a moment.
		Down: func(err error) bool { return errors.Is(err, vpp.ErrDown) && !cfg.VPP.Info().Connected },
		Hold: true,
	}, append([]reconcile.Driver{cfg.VPP}, cfg.Drivers...)...)
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	state := State{Etcd: errNoSnapshot, VPP: cfg.VPP.Info(), Pass: errNoPass}
	return &Daemon{
		cfg: cfg, log: cfg.Log, engine: engine, inbox: newInbox(), fence: make(chan struct{}, 1),
		verifying: make(chan struct{}, maxVerify),
		pub:       newPublisher(cfg.Tree, cfg.Contract, cfg.Metrics, cfg.Log),
		records:   map[string]*record{}, marked: map[*record]struct{}{}, orphans: map[string]bool{},
		held: map[string]*record{}, drifted: map[model.ID]time.Time{},
		state: state, told: state,
		pending: map[string]report.Pending{},
	}, nil
}

// Run works until ctx ends and returns nil then. It leaves everything in VPP as
// it is.
func (d *Daemon) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.cfg.VPP.Run(ctx) })
	g.Go(func() error { return d.cfg.Tree.Follow(ctx, d.cfg.Contract.Desired, d.inbox) })
	g.Go(func() error { return d.pub.run(ctx) })
	g.Go(func() error { return d.loop(ctx) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// State is where the daemon stands now.
func (d *Daemon) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

// setState publishes a new state where it differs.
func (d *Daemon) setState(edit func(*State)) {
	d.mu.Lock()
	old := d.told
	edit(&d.state)
	now := d.state
	d.told = now
	d.mu.Unlock()
	if same(old, now) {
		return
	}
	d.cfg.Metrics.connected(now)
	if d.cfg.OnState != nil {
		d.cfg.OnState(now)
	}
}

func same(a, b State) bool {
	return text(a.Fenced) == text(b.Fenced) && text(a.Etcd) == text(b.Etcd) && text(a.Pass) == text(b.Pass) && text(a.VPP.Err) == text(b.VPP.Err) &&
		a.VPP.Connected == b.VPP.Connected && a.VPP.PID == b.VPP.PID && a.Held == b.Held && a.VPP.Version == b.VPP.Version
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
