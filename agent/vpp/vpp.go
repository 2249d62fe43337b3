package vpp

import (
	"context"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// DefaultCallTimeout bounds one call where Config gives nothing.
const DefaultCallTimeout = 5 * time.Second

// defaultWorkers is how many calls may be under way at once. VPP's main thread
// does one thing at a time; more than this only fills its socket.
const defaultWorkers = 256

// Config says which VPP to drive and what of it is ours.
type Config struct {
	// Socket is the path of VPP's binary API socket.
	Socket string
	// RunDir is the agent's directory; the host agent's pods have their sockets
	// in RunDir/pods/<pod>.
	RunDir string
	// SocketRoot is the directory under which a memif socket is ours. Empty:
	// RunDir/pods, or nothing where RunDir is empty too.
	SocketRoot string
	// Clear takes away what stands in the place of a socket that VPP is about to
	// serve. nil: nothing is taken away.
	Clear func(ctx context.Context, socket string) error
	// CallTimeout bounds one call to VPP. 0: DefaultCallTimeout.
	CallTimeout time.Duration
	// Logger gets what happens to the connection. nil: nothing is logged.
	Logger *logrus.Entry
	// Workers is how many calls may be under way at once. 0: 256.
	Workers int
}

func (c Config) withDefaults() Config {
	if c.CallTimeout <= 0 {
		c.CallTimeout = DefaultCallTimeout
	}
	if c.Workers <= 0 {
		c.Workers = defaultWorkers
	}
	if c.SocketRoot == "" && c.RunDir != "" {
		c.SocketRoot = filepath.Join(c.RunDir, "pods")
	}
	if c.SocketRoot != "" {
		c.SocketRoot = filepath.Clean(c.SocketRoot)
	}
	if c.Clear == nil {
		c.Clear = func(context.Context, string) error { return nil }
	}
	if c.Logger == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		c.Logger = logrus.NewEntry(quiet)
	}
	return c
}

// VPP is one VPP over its lives: the connection to it and what is known of it.
// Safe for concurrent use.
type VPP struct {
	cfg    Config
	log    *logrus.Entry
	events *mailbox
	index  *index
	gate   gate

	mu   sync.Mutex
	sess *session // nil: not connected
	info Info

	// structure is held for reading while interfaces, sockets, bridge domains or
	// tables are made or removed, and for writing while they are dumped: a dump
	// never shows a create half done.
	structure sync.RWMutex
	// pinging lets one Ping run at a time: VPP's finished event names no ping.
	pinging sync.Mutex
}

// New makes the driver. Nothing is connected before Run.
func New(cfg Config) *VPP {
	QuietGoVPP()
	cfg = cfg.withDefaults()
	return &VPP{
		cfg:    cfg,
		log:    cfg.Logger,
		events: newMailbox(),
		index:  newIndex(),
		info:   Info{Err: errNotYet},
	}
}

// Info is the state of the connection.
type Info struct {
	Connected bool
	// PID is VPP's process id as VPP tells it, 0 if there was none yet.
	PID     uint32
	Version string
	// Epoch is another number whenever VPP is connected or answers again: what was
	// learned in one epoch holds in it.
	Epoch uint64
	// Err says why VPP is not there, or that it does not answer.
	Err error
}

// Info tells whether VPP is there.
func (v *VPP) Info() Info {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.info
}

// Events gives hints on when to look: connected, disconnected, interfaces
// changed. Events are coalesced: a reader that is slow sees the latest of each.
// The channel is never closed; nothing comes after Run has ended.
func (v *VPP) Events() <-chan Event { return v.events.out }

// InterfaceState is how an interface of ours stands in VPP.
type InterfaceState struct {
	// Name is VPP's, such as memif1/0.
	Name      string
	SwIfIndex uint32
	MAC       model.MAC
	// MTU is the L3 MTU in bytes.
	MTU             uint32
	AdminUp, LinkUp bool
}

// Interface tells how an interface stands, from the last dump, our own writes
// and VPP's events. It asks nothing of VPP.
func (v *VPP) Interface(tag model.Tag) (InterfaceState, bool) {
	return v.index.state(tag)
}

// RefreshInterfaces reads all interfaces again, for Interface.
func (v *VPP) RefreshInterfaces(ctx context.Context) error {
	return v.refresh(ctx)
}
