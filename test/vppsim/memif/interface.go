package memif

import (
	"sync"
	"sync/atomic"
	"time"
)

// Interface is one end of a memif link. While not connected it holds no
// goroutine and no file descriptor. Its methods are safe for concurrent use
// and do not wait for events.
type Interface struct {
	cfg    Config
	ev     Events
	server *Server // nil for a slave

	active atomic.Pointer[session] // the one that packets go through
	closed atomic.Bool

	mu      sync.Mutex
	session *session // from INIT or dialling until its end was announced
	adminUp bool
	dialing bool
	timer   *time.Timer // the next try of a slave
	reason  string
}

func newInterface(cfg Config, ev Events) *Interface {
	return &Interface{cfg: cfg.withDefaults(), ev: ev}
}

// SetAdminUp lets a slave connect, at once the first time. As in VPP, going
// down does not disconnect, and a master accepts its slave in either state:
// dropping packets of a down interface is left to the data plane.
func (i *Interface) SetAdminUp(up bool) {
	i.mu.Lock()
	i.adminUp = up
	i.mu.Unlock()
	if up {
		i.Kick()
	}
}

// Send copies pkt into the first ring. False means dropped: not connected, the
// ring is full, or the packet is empty or over 65,535 bytes.
func (i *Interface) Send(pkt []byte) bool {
	s := i.active.Load()
	return s != nil && s.send(pkt)
}

// Connected says whether packets can cross.
func (i *Interface) Connected() bool { return i.active.Load() != nil }

// Remote is the name of the peer's interface, empty while not connected.
func (i *Interface) Remote() (name string) {
	if s := i.active.Load(); s != nil {
		return s.peerName
	}
	return ""
}

// Reason says why the last connection, or try at one, ended; empty while
// connected. It is VPP's local or remote disconnect string.
func (i *Interface) Reason() string {
	if i.Connected() {
		return ""
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reason
}

// Close disconnects for good and frees the id. No event begins after it; one
// that had begun may still be running.
func (i *Interface) Close() {
	if i.closed.Swap(true) {
		return
	}
	if i.server != nil {
		i.server.forget(i)
	}
	i.mu.Lock()
	s := i.session
	if i.timer != nil {
		i.timer.Stop()
	}
	i.mu.Unlock()
	if s != nil {
		s.stop("interface deleted")
	}
}

// claim makes s the interface's session, unless it has one.
func (i *Interface) claim(s *session) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.session != nil || i.closed.Load() {
		return false
	}
	i.session = s
	return true
}

// current is the session there is, nil for none.
func (i *Interface) current() *session {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.session
}

// release ends s: the interface is free for the next session.
func (i *Interface) release(reason string) {
	i.mu.Lock()
	i.session = nil
	i.reason = reason
	i.mu.Unlock()
}

func (i *Interface) announceConnected(peer string) {
	if i.ev.Connected != nil && !i.closed.Load() {
		i.ev.Connected(peer)
	}
}

func (i *Interface) announceDisconnected(reason string) {
	if i.ev.Disconnected != nil && !i.closed.Load() {
		i.ev.Disconnected(reason)
	}
}

func (i *Interface) deliver(pkt []byte) {
	if i.ev.Receive != nil && !i.closed.Load() {
		i.ev.Receive(pkt)
	}
}
