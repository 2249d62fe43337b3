package vpp

import (
	"context"
	"sync"
)

// EventKind is a sort of event.
type EventKind int

// The kinds of events.
const (
	// EventConnected: VPP is there. PID, Version, Epoch and NewVPP are set.
	EventConnected EventKind = iota + 1
	// EventDisconnected: VPP is gone. Err is set.
	EventDisconnected
	// EventInterfacesChanged: a link, an admin state or an interface changed.
	EventInterfacesChanged
)

func (k EventKind) String() string {
	switch k {
	case EventConnected:
		return "connected"
	case EventDisconnected:
		return "disconnected"
	case EventInterfacesChanged:
		return "interfaces changed"
	default:
		return "unknown"
	}
}

// Event is a hint on when to look.
type Event struct {
	Kind    EventKind
	PID     uint32
	Version string
	// Epoch is that of Info, for EventConnected.
	Epoch uint64
	// NewVPP: this VPP is not the one of the last EventConnected that was read;
	// it has nothing of ours.
	NewVPP bool
	Err    error
}

// mailbox holds at most one event on the connection and one on interfaces, and
// never makes the sender wait.
type mailbox struct {
	out  chan Event
	wake chan struct{}

	mu        sync.Mutex
	conn      *Event
	changes   uint64 // of interfaces that were put in
	told      uint64 // how many of them what was read last spoke of
	delivered uint32 // PID of the last EventConnected that was read
}

func newMailbox() *mailbox {
	return &mailbox{out: make(chan Event), wake: make(chan struct{}, 1)}
}

func (m *mailbox) put(e Event) {
	m.mu.Lock()
	if e.Kind == EventInterfacesChanged {
		m.changes++
	} else {
		m.conn = &e
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// next is the event to send, and a function that takes it out of the mailbox.
func (m *mailbox) next() (Event, func(), bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil {
		sent := m.conn
		e := *sent
		e.NewVPP = e.Kind == EventConnected && e.PID != m.delivered
		return e, func() { m.taken(sent) }, true
	}
	if seen := m.changes; seen != m.told {
		// One that is put in after the reader has this, and before it is taken out,
		// is another.
		return Event{Kind: EventInterfacesChanged}, func() { m.told = seen }, true
	}
	return Event{}, nil, false
}

func (m *mailbox) taken(e *Event) {
	if e.Kind == EventConnected {
		m.delivered = e.PID
	}
	if m.conn == e {
		m.conn = nil
	}
}

// run hands events over until ctx ends.
func (m *mailbox) run(ctx context.Context) {
	for {
		e, taken, ok := m.next()
		var out chan Event
		if ok {
			out = m.out
		}
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case out <- e:
			m.mu.Lock()
			taken()
			m.mu.Unlock()
		}
	}
}
