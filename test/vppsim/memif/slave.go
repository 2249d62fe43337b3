package memif

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// retryInterval is between two tries of a slave. VPP's is up to 3 s.
const retryInterval = 2 * time.Second

// NewSlave makes a slave. It is admin-down; once up it connects, and reconnects
// every 2 s.
func NewSlave(cfg Config, ev Events) *Interface {
	cfg.Master = false
	return newInterface(cfg, ev)
}

// Kick makes a slave that is up and not connected try at once.
func (i *Interface) Kick() {
	if i.cfg.Master || !i.startDialing() {
		return
	}
	go i.dial()
}

// startDialing says whether there is need to, and none doing it.
func (i *Interface) startDialing() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.adminUp || i.dialing || i.session != nil || i.closed.Load() {
		return false
	}
	if i.timer != nil {
		i.timer.Stop()
	}
	i.dialing = true
	return true
}

// dial connects, serves the connection to its end, and sets the next try.
func (i *Interface) dial() {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: i.cfg.Socket, Net: "unixpacket"})
	i.mu.Lock()
	i.dialing = false
	if err != nil {
		i.reason = err.Error()
		i.retry()
		i.mu.Unlock()
		return
	}
	if i.closed.Load() {
		i.mu.Unlock()
		_ = conn.Close()
		return
	}
	s := &session{conn: conn, ifc: i}
	i.session = s
	i.mu.Unlock()
	s.run(func() error { return nil }, s.handleSlave)
	i.mu.Lock()
	i.retry()
	i.mu.Unlock()
}

// retry sets the timer of the next try. The caller holds mu.
func (i *Interface) retry() {
	if !i.adminUp || i.closed.Load() {
		return
	}
	if i.timer == nil {
		i.timer = time.AfterFunc(retryInterval, func() {
			if i.startDialing() {
				i.dial()
			}
		})
		return
	}
	i.timer.Reset(retryInterval)
}

// handleSlave answers one message of a master.
func (s *session) handleSlave(m *message, fd int) error {
	closeFD(fd)
	switch kind := m.kind(); {
	case kind < msgAck || kind > msgDisconnect:
		return refuse("unknown message type (0x%x)", kind)
	case kind == msgAck:
		return s.tellNext()
	case kind == msgDisconnect:
		return remoteDisconnect(m.disconnect().reason)
	case kind == msgHello && s.regions == nil:
		return s.introduce(m.hello())
	case kind == msgConnected && s.regions != nil && s.peerName == "":
		name := m.name()
		if name == "" {
			name = "unnamed"
		}
		s.activate(name)
		s.receive()
		return nil
	}
	return refuse("unexpected message received")
}

// introduce makes the shared memory and begins to tell the master about it.
// Each further message waits for the acknowledgement of the one before: a VPP
// that gets several at once answers the first and then sits on the rest.
func (s *session) introduce(h hello) error {
	if h.minVersion > version || h.maxVersion < version {
		return refuse("incompatible protocol version")
	}
	cfg := s.ifc.cfg
	l := layout{
		s2m:        min(int(h.maxS2MRing)+1, int(cfg.TxQueues)),
		m2s:        min(int(h.maxM2SRing)+1, int(cfg.RxQueues)),
		log2Size:   min(h.maxLog2RingSize, uint8(cfg.RingSize)), // at most 14
		bufferSize: uint32(cfg.BufferSize),
	}
	fd, mem, err := makeRegion(fmt.Sprintf("memif %d region 0", cfg.ID), l.size())
	if err != nil {
		return err
	}
	s.regionFile = os.NewFile(uintptr(fd), "memif region")
	s.regions = [][]byte{mem}
	if err := s.openQueues(l); err != nil {
		return err
	}
	s.outbox = append(s.outbox, func() error {
		defer s.regionFile.Close() //nolint:errcheck // the mapping keeps the file
		return s.tell(addRegion{size: l.size()}.encode(), fd)
	})
	s.queueRings(l)
	s.outbox = append(s.outbox, func() error {
		return s.tell(encodeName(msgConnect, cfg.InterfaceName), -1)
	})
	return s.tell(initRequest{version: version, id: cfg.ID, mode: cfg.Mode, secret: cfg.Secret, name: cfg.AppName}.encode(), -1)
}

// tellNext sends the message that waited for an acknowledgement, if any.
func (s *session) tellNext() error {
	if len(s.outbox) == 0 {
		return nil
	}
	next := s.outbox[0]
	s.outbox = s.outbox[1:]
	return next()
}

// tell is send1, but a master that closed is no error: it may have said why,
// and reading finds out.
func (s *session) tell(m message, fd int) error {
	err := s.send1(m, fd)
	if err != nil && isClosed(err) {
		return nil
	}
	return err
}

func (s *session) openQueues(l layout) error {
	for n := range l.s2m + l.m2s {
		r, err := openRing(s.regions[0], uint32(l.ringOffset(n)), l.log2Size) // makeRegion checked the size
		if err != nil {
			return err
		}
		efd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("eventfd: %w", err)
		}
		q := &queue{
			ring: r, regions: s.regions, eventFD: -1,
			bufferSize: l.bufferSize, bufferOffset: uint32(l.bufferOffset(n)), // as above
		}
		q.prepare(n < l.s2m)
		if n < l.s2m {
			q.eventFD = efd
			s.tx = append(s.tx, q)
			continue
		}
		if q.event, err = pollable(efd); err != nil {
			return err
		}
		s.rx = append(s.rx, q)
	}
	return nil
}

func (s *session) queueRings(l layout) {
	for n := range l.s2m + l.m2s {
		m := addRing{index: uint16(n), offset: uint32(l.ringOffset(n)), log2Size: l.log2Size} // as above
		if n < l.s2m {
			m.flags = ringFlagS2M
			s.outbox = append(s.outbox, func() error { return s.tell(m.encode(), s.tx[n].eventFD) })
			continue
		}
		m.index -= uint16(l.s2m) // at most 255
		s.outbox = append(s.outbox, func() error { return s.tellFile(m.encode(), s.rx[n-l.s2m]) })
	}
}

// tellFile passes the descriptor of a file without making it a blocking one,
// as File.Fd would.
func (s *session) tellFile(m message, q *queue) error {
	raw, err := q.event.SyscallConn()
	if err != nil {
		return fmt.Errorf("interrupt fd: %w", err)
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = s.tell(m, int(fd)) }); err != nil { // a descriptor
		return fmt.Errorf("interrupt fd: %w", err)
	}
	return sent
}
