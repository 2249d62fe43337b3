package memif

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// The time a new connection waits for the interface's old one to be gone.
const takeOverTimeout = time.Second

func (s *session) greet() error {
	return s.send1(hello{
		name:       "vppsim",
		minVersion: version, maxVersion: version,
		maxRegion:  maxRegion,
		maxM2SRing: maxRing, maxS2MRing: maxRing,
		maxLog2RingSize: maxLog2RingSize,
	}.encode(), -1)
}

// handleMaster answers one message of a slave.
func (s *session) handleMaster(m *message, fd int) error {
	kind := m.kind()
	if kind != msgAddRegion && kind != msgAddRing {
		closeFD(fd)
	}
	if kind < msgAck || kind > msgDisconnect {
		return refuse("unknown message type (0x%x)", kind)
	}
	connected := s.peerName != ""
	switch {
	case kind == msgDisconnect:
		return remoteDisconnect(m.disconnect().reason)
	case kind == msgAck:
		return nil
	case kind == msgInit && s.ifc == nil:
		return s.acked(s.acceptInit(m.init()))
	case kind == msgAddRegion && s.ifc != nil && !connected:
		return s.acked(s.acceptRegion(m.addRegion(), fd))
	case kind == msgAddRing && s.ifc != nil && !connected:
		return s.acked(s.acceptRing(m.addRing(), fd))
	case kind == msgConnect && s.ifc != nil && !connected:
		return s.acceptConnect(m.name())
	}
	if kind == msgAddRegion || kind == msgAddRing {
		closeFD(fd)
	}
	return refuse("unexpected message received")
}

func (s *session) acked(err error) error {
	if err != nil {
		return err
	}
	return s.send1(newMessage(msgAck), -1)
}

// acceptInit checks in the order of memif_msg_receive_init.
func (s *session) acceptInit(r initRequest) error {
	if r.version != version {
		return refuse("unsupported version")
	}
	i := s.server.master(r.id)
	if i == nil {
		return refuse("unmatched interface id")
	}
	if old := i.current(); old != nil && !old.ended.Load() {
		return refuse("already connected")
	}
	if r.mode != i.cfg.Mode {
		return refuse("mode mismatch")
	}
	if i.cfg.Secret != "" {
		if r.secret == "" {
			return refuse("secret required")
		}
		if r.secret != i.cfg.Secret {
			return refuse("incorrect secret")
		}
	}
	return s.takeOver(i)
}

// takeOver makes the interface ours, after the session before has ended.
func (s *session) takeOver(i *Interface) error {
	for end := time.Now().Add(takeOverTimeout); !i.claim(s); time.Sleep(time.Millisecond) {
		if i.closed.Load() {
			return refuse("unmatched interface id")
		}
		if old := i.current(); old != nil && !old.ended.Load() || time.Now().After(end) {
			return refuse("already connected")
		}
	}
	s.mu.Lock()
	s.ifc = i
	s.mu.Unlock()
	if i.closed.Load() {
		return refuse("interface deleted")
	}
	return nil
}

func (s *session) acceptRegion(r addRegion, fd int) error {
	switch {
	case fd < 0:
		return refuse("missing memory region fd")
	case int(r.index) != len(s.regions):
		closeFD(fd)
		return refuse("unexpected region index")
	case r.index > maxRegion:
		closeFD(fd)
		return refuse("too many regions")
	}
	mem, err := mapRegion(fd, r.size)
	if err != nil {
		return err
	}
	s.regions = append(s.regions, mem)
	return nil
}

func (s *session) acceptRing(r addRing, fd int) error {
	if fd < 0 {
		return refuse("missing ring interrupt fd")
	}
	same := uint16(0)
	for _, o := range s.rings {
		if o.flags&ringFlagS2M == r.flags&ringFlagS2M {
			same++
		}
	}
	var err error
	switch {
	case r.privateHeader != 0:
		err = refuse("private headers not supported")
	case r.index != same:
		err = refuse("unexpected ring index")
	case r.index > maxRing:
		err = refuse("too many rings")
	}
	if err != nil {
		closeFD(fd)
		return err
	}
	s.rings = append(s.rings, announcedRing{addRing: r, fd: fd})
	return nil
}

func (s *session) acceptConnect(peerName string) error {
	for n, r := range s.rings {
		s.rings[n].fd = -1 // openQueue takes it
		if err := s.openQueue(r); err != nil {
			return err
		}
	}
	s.rings = nil
	if peerName == "" {
		peerName = "unnamed"
	}
	s.activate(peerName)
	if err := s.send1(encodeName(msgConnected, s.ifc.cfg.InterfaceName), -1); err != nil {
		return err
	}
	s.receive()
	return nil
}

// openQueue opens an announced ring as one of a master's queues. It takes the
// ring's descriptor.
func (s *session) openQueue(r announcedRing) error {
	if int(r.region) >= len(s.regions) {
		closeFD(r.fd)
		return refuse("ring in unknown region %d", r.region)
	}
	ring, err := openRing(s.regions[r.region], r.offset, r.log2Size)
	if err == nil && ring.cookie() != cookie {
		err = refuse("wrong cookie on ring %d", r.index)
	}
	if err != nil {
		closeFD(r.fd)
		return err
	}
	q := &queue{ring: ring, regions: s.regions, master: true, eventFD: -1}
	if r.flags&ringFlagS2M == 0 {
		if err = unix.SetNonblock(r.fd, true); err != nil {
			closeFD(r.fd)
			return fmt.Errorf("interrupt fd: %w", err)
		}
		q.eventFD = r.fd
		s.tx = append(s.tx, q)
		return nil
	}
	if q.event, err = pollable(r.fd); err != nil {
		return err
	}
	s.rx = append(s.rx, q)
	return nil
}
