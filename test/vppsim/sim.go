package vppsim

import (
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/test/vppsim/dataplane"
)

// Version is what show_version says.
const Version = "25.10-release"

// Config says where a simulated VPP lives.
type Config struct {
	// APISocket is the path of the API socket. Its directory must exist.
	APISocket string
	// RuntimeDir is VPP's runtime-dir, where relative memif socket names go.
	// Empty: the directory of APISocket.
	RuntimeDir string
	// PID is the process id that control_ping tells in the first life. 0, and
	// every later life: a fresh one, unique in this process.
	PID uint32
	// Logger gets what VPP would log. nil: nothing is logged.
	Logger logrus.FieldLogger
}

// lastPID makes the fake process ids of one test binary differ. They are above
// what Linux gives (PID_MAX_LIMIT, 4194304), so that nobody can signal them.
var lastPID atomic.Uint32

const firstFakePID = 5_000_000

func freshPID() uint32 { return firstFakePID + lastPID.Add(1) }

// Sim is a simulated VPP over its lives: it can die and come back on the same
// API socket. Safe for concurrent use.
type Sim struct {
	*faults
	cfg Config
	log logrus.FieldLogger

	mu  sync.Mutex
	vpp *vpp // the current or last life
}

// Start runs a simulated VPP until Close, Kill or a fault that kills it.
func Start(cfg Config) (*Sim, error) {
	if cfg.APISocket == "" {
		return nil, fmt.Errorf("start simulated VPP: no API socket given")
	}
	if cfg.RuntimeDir == "" {
		cfg.RuntimeDir = filepath.Dir(cfg.APISocket)
	}
	s := &Sim{faults: newFaults(), cfg: cfg, log: cfg.Logger}
	if s.log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		s.log = quiet
	}
	if err := s.boot(cfg.PID); err != nil {
		return nil, err
	}
	return s, nil
}

// boot begins a life. The caller holds s.mu or is the only one.
func (s *Sim) boot(pid uint32) error {
	if pid == 0 {
		pid = freshPID()
	}
	v, err := startVPP(s.cfg, pid, s.faults, s.log)
	if err != nil {
		return fmt.Errorf("start simulated VPP on %s: %w", s.cfg.APISocket, err)
	}
	s.vpp = v
	return nil
}

func (s *Sim) current() *vpp {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vpp
}

// Close ends the simulated VPP: nothing of it runs afterwards. Socket files
// stay, that of the API too, as VPP leaves them at an orderly end. It may be
// called after Kill and more than once.
func (s *Sim) Close() { s.end("closed") }

// Kill ends it as a crash would: connections break without a word, memif peers
// are cut off, all socket files stay.
func (s *Sim) Kill() { s.end("killed") }

func (s *Sim) end(why string) {
	v := s.current()
	v.crash(why)
	v.wait()
}

// Restart kills what still lives and begins an empty VPP with a new PID on the
// same socket path. Faults stay set, except that nothing hangs any more.
func (s *Sim) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vpp.crash("restarted")
	s.vpp.wait()
	s.Resume()
	return s.boot(0)
}

// Done is closed when the present life ends.
func (s *Sim) Done() <-chan struct{} { return s.current().quit }

// Alive tells whether there is a life now; it waits for a Restart under way.
func (s *Sim) Alive() bool { return !s.current().dead() }

// PID is the process id of the present life.
func (s *Sim) PID() uint32 { return s.current().pid }

// APISocket is the path of the API socket.
func (s *Sim) APISocket() string { return s.cfg.APISocket }

// Plane is the data plane of the present life, for tests that look at packets
// and counters.
func (s *Sim) Plane() *dataplane.Plane { return s.current().plane }

// Clients are the names of the API clients that are connected now.
func (s *Sim) Clients() []string {
	names := []string{}
	for _, c := range s.current().server.Clients() {
		names = append(names, c.Name())
	}
	return names
}

// DropConnections breaks every API connection; VPP itself lives on.
func (s *Sim) DropConnections() { s.current().server.DropConnections() }
