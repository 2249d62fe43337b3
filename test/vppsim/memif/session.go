package memif

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	handshakeTimeout = 5 * time.Second
	sendTimeout      = time.Second
	lingerTimeout    = 200 * time.Millisecond
)

// session is one connection from its first message to its end. One goroutine
// reads the control channel, one more each receive queue.
type session struct {
	conn     *net.UnixConn
	server   *Server    // nil for a slave's
	ifc      *Interface // a master's: nil until INIT named it
	peerName string     // set before the session is active

	regions   [][]byte
	rings     []announcedRing // a master's, as told and not yet opened
	rx, tx    []*queue
	receivers sync.WaitGroup

	regionFile *os.File       // a slave's own region, until told
	outbox     []func() error // what a slave has still to tell

	txMu  sync.Mutex // guards tx[0] and the memory against the end
	ended atomic.Bool

	announced bool // Connected was told

	mu     sync.Mutex // guards reason, and ifc against stop
	reason string     // why we end it, empty if the peer does
}

// announcedRing is one ADD_RING. The file descriptor is the session's.
type announcedRing struct {
	addRing
	fd int
}

// run serves the connection until it ends.
func (s *session) run(greet func() error, handle func(m *message, fd int) error) {
	s.setDeadline(time.Now().Add(handshakeTimeout))
	err := greet()
	for err == nil {
		var m message
		var fd int
		if m, fd, err = s.read(); err == nil {
			err = handle(&m, fd)
		}
	}
	s.finish(err)
}

// stop ends the session from outside. Only the first reason counts.
func (s *session) stop(reason string) {
	s.mu.Lock()
	if s.reason == "" {
		s.reason = reason
	}
	i := s.ifc
	s.mu.Unlock()
	s.ended.Store(true)
	if i != nil {
		i.active.CompareAndSwap(s, nil)
	}
	_ = s.conn.SetReadDeadline(longAgo)
}

// longAgo as a deadline wakes the reader.
var longAgo = time.Unix(1, 0)

// setDeadline sets the deadline of reading; stop's wins over it.
func (s *session) setDeadline(t time.Time) {
	_ = s.conn.SetReadDeadline(t)
	if s.ended.Load() {
		_ = s.conn.SetReadDeadline(longAgo)
	}
}

// remoteDisconnect is the reason that a peer gave for its end.
type remoteDisconnect string

func (e remoteDisconnect) Error() string { return string(e) }

// finish tells the peer, stops the receivers, unmaps, and frees the interface
// for its next session.
func (s *session) finish(err error) {
	reason := s.endReason(err)
	s.ended.Store(true)
	if s.ifc != nil {
		s.ifc.active.CompareAndSwap(s, nil)
	}
	if !errors.Is(err, io.EOF) {
		s.sayGoodbye(reason)
	}
	_ = s.conn.Close()
	for _, q := range s.rx {
		_ = q.event.Close()
	}
	s.receivers.Wait()
	s.txMu.Lock()
	for _, q := range s.tx {
		_ = unix.Close(q.eventFD)
	}
	s.closeRings()
	if s.regionFile != nil {
		_ = s.regionFile.Close()
	}
	for _, mem := range s.regions {
		_ = unix.Munmap(mem)
	}
	s.rx, s.tx, s.regions = nil, nil, nil
	s.txMu.Unlock()
	if s.ifc == nil {
		return
	}
	if s.announced {
		s.ifc.announceDisconnected(reason)
	}
	s.ifc.release(reason)
}

func (s *session) endReason(err error) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.reason != "":
		return s.reason
	case errors.Is(err, io.EOF):
		return "disconnected"
	case err.Error() == "":
		return "disconnect received"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	}
	return err.Error()
}

// sayGoodbye sends DISCONNECT and lets the peer read it: closing at once with
// messages of its own unread would show it a reset instead.
func (s *session) sayGoodbye(reason string) {
	if s.send1(disconnect{reason: reason}.encode(), -1) != nil {
		return
	}
	_ = s.conn.CloseWrite()
	_ = s.conn.SetReadDeadline(time.Now().Add(lingerTimeout))
	for {
		_, fd, err := s.read()
		if err != nil {
			return
		}
		closeFD(fd)
	}
}

func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

func (s *session) closeRings() {
	for _, r := range s.rings {
		closeFD(r.fd)
	}
	s.rings = nil
}

// read gets one message and the file descriptor that came with it, -1 for none.
func (s *session) read() (m message, fd int, err error) {
	var oob [64]byte
	n, oobn, _, _, err := s.conn.ReadMsgUnix(m[:], oob[:])
	if errors.Is(err, unix.ECONNRESET) {
		// The peer closed with messages of ours unread. What it said before
		// is still to be read.
		n, oobn, _, _, err = s.conn.ReadMsgUnix(m[:], oob[:])
	}
	fd = receivedFD(oob[:oobn])
	if err != nil {
		closeFD(fd)
		return m, -1, fmt.Errorf("read memif message: %w", err)
	}
	if n != messageSize {
		closeFD(fd)
		return m, -1, refuse("malformed message of %d bytes", n)
	}
	return m, fd, nil
}

// receivedFD is the first descriptor passed; further ones are closed.
func receivedFD(oob []byte) int {
	fd := -1
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1
	}
	for _, c := range msgs {
		fds, err := unix.ParseUnixRights(&c)
		if err != nil {
			continue // credentials
		}
		for _, f := range fds {
			if fd < 0 {
				fd = f
				continue
			}
			closeFD(f)
		}
	}
	return fd
}

// send1 sends one message, with a descriptor unless fd is negative.
func (s *session) send1(m message, fd int) error {
	var oob []byte
	if fd >= 0 {
		oob = unix.UnixRights(fd)
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	if _, _, err := s.conn.WriteMsgUnix(m[:], oob, nil); err != nil {
		return fmt.Errorf("send memif message: %w", err)
	}
	return nil
}

// activate lets packets cross.
func (s *session) activate(peerName string) {
	s.peerName = peerName
	s.ifc.active.Store(s)
	if s.ended.Load() { // stop came between and wins
		s.ifc.active.CompareAndSwap(s, nil)
	}
	s.setDeadline(time.Time{})
}

// receive announces the connection and starts the readers of its queues.
func (s *session) receive() {
	s.announced = true
	s.ifc.announceConnected(s.peerName)
	for _, q := range s.rx {
		s.receivers.Add(1)
		go s.receiveQueue(q)
	}
}

func (s *session) receiveQueue(q *queue) {
	defer s.receivers.Done()
	buf := make([]byte, 0, defaultBuffer)
	var counter [8]byte
	for {
		for !s.ended.Load() {
			var pkt []byte
			var err error
			if pkt, buf, err = q.take(buf); err != nil {
				s.stop(err.Error())
				return
			}
			if pkt == nil {
				break
			}
			s.ifc.deliver(pkt)
		}
		if n, err := q.event.Read(counter[:]); err != nil || n == 0 {
			return
		}
	}
}

func (s *session) send(pkt []byte) bool {
	if len(pkt) == 0 || len(pkt) > maxPacket {
		return false
	}
	s.txMu.Lock()
	defer s.txMu.Unlock()
	if s.ended.Load() || len(s.tx) == 0 {
		return false
	}
	sent, err := s.tx[0].put(pkt)
	if err != nil {
		s.stop(err.Error())
	}
	return sent
}

// pollable makes a file of a wake-up descriptor. One that cannot be waited on,
// such as a file that is always readable, is refused. It takes fd.
func pollable(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		closeFD(fd)
		return nil, fmt.Errorf("interrupt fd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memif interrupt")
	if err := f.SetReadDeadline(time.Time{}); err != nil {
		_ = f.Close()
		return nil, refuse("interrupt fd cannot be waited on")
	}
	return f, nil
}
