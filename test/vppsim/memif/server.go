package memif

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/test/vppsim/sockfile"
)

// socketMode is what VPP leaves on a socket file with the usual umask
// (VPP-FACTS.md).
const socketMode = 0o775

// Server serves one listening socket for all masters on it, with one goroutine
// and what their connections need.
type Server struct {
	path     string
	listener *net.UnixListener

	mu       sync.Mutex
	closed   bool
	masters  map[uint32]*Interface
	sessions map[*session]struct{}
}

// Listen makes the socket file at path and listens on it. As in VPP a dead
// socket's file is taken over; a live one's, and any other file, is an error.
func Listen(path string) (*Server, error) {
	if err := clearPath(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen for memif: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := sockfile.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("memif socket: %w", err), l.Close())
	}
	s := &Server{path: path, listener: l, masters: map[uint32]*Interface{}, sessions: map[*session]struct{}{}}
	go s.accept()
	return s, nil
}

func clearPath(path string) error {
	st, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("memif socket: %w", err)
	}
	if st.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("memif socket %s: file already exists", path)
	}
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("memif socket %s: active listener", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("memif socket: %w", err)
	}
	return nil
}

// AddMaster puts a master on the socket. It is admin-down. The result is nil
// where the id is taken, VPP says -68 to that, or the server closed.
func (s *Server) AddMaster(cfg Config, ev Events) *Interface {
	cfg.Master, cfg.Socket = true, s.path
	i := newInterface(cfg, ev)
	i.server = s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.masters[cfg.ID] != nil {
		return nil
	}
	s.masters[cfg.ID] = i
	return i
}

// Close ends listening and closes every master. The socket file stays, as VPP
// leaves it.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	masters := make([]*Interface, 0, len(s.masters))
	for _, i := range s.masters {
		masters = append(masters, i)
	}
	sessions := make([]*session, 0, len(s.sessions))
	for c := range s.sessions {
		sessions = append(sessions, c)
	}
	s.mu.Unlock()
	_ = s.listener.Close()
	for _, i := range masters {
		i.Close()
	}
	for _, c := range sessions {
		c.stop("interface deleted")
	}
}

func (s *Server) master(id uint32) *Interface {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.masters[id]
}

func (s *Server) forget(i *Interface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.masters[i.cfg.ID] == i {
		delete(s.masters, i.cfg.ID)
	}
}

// accept ends when the listener does. Being out of descriptors passes.
func (s *Server) accept() {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		c := &session{conn: conn, server: s}
		if !s.track(c) {
			_ = conn.Close()
			return
		}
		go func() {
			defer s.untrack(c)
			c.run(c.greet, c.handleMaster)
		}()
	}
}

func (s *Server) track(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sessions[c] = struct{}{}
	return true
}

func (s *Server) untrack(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
}

// isClosed says that the other side has gone.
func isClosed(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}
