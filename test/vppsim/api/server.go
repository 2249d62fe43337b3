package api

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sort"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/test/vppsim/sockfile"
)

// firstClientIndex: VPP marks the indexes of socket clients with the top bit.
const firstClientIndex = 1 << 31

// Handler is what a VPP does with its clients. Calls for one client come in the
// order of its messages, calls for different clients at the same time.
type Handler interface {
	// Message handles one message. Those of the socket itself go on to
	// Server.Control.
	Message(c *Client, r Request)
	// Closed tells that the client is gone, with or without sockclnt_delete.
	Closed(c *Client)
}

// Request is one message that came in. Entry is nil for an id that the table
// does not have.
type Request struct {
	Entry       *Entry
	ID          uint16
	ClientIndex uint32
	Context     uint32
	data        []byte
}

// Server listens on one API socket.
type Server struct {
	table    *Table
	handler  Handler
	log      logrus.FieldLogger
	listener *net.UnixListener
	wg       sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	conns   map[*Client]struct{}
	created map[uint32]*Client // by client index
	next    uint32
}

// Listen takes over the socket path, as VPP does, and serves it until Abort.
// The file's mode is VPP's, 0775.
func Listen(path string, table *Table, handler Handler, log logrus.FieldLogger) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("API socket %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("API socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := sockfile.Chmod(path, 0o775); err != nil { // VPP's own mode for its sockets
		return nil, errors.Join(fmt.Errorf("API socket: %w", err), l.Close())
	}
	s := &Server{
		table: table, handler: handler, log: log, listener: l,
		conns: make(map[*Client]struct{}), created: make(map[uint32]*Client),
		next: firstClientIndex,
	}
	s.wg.Add(1)
	go s.accept()
	return s, nil
}

// Abort stops listening and breaks every connection, without waiting and
// without a word to the clients. The socket file stays.
func (s *Server) Abort() {
	s.mu.Lock()
	s.closed = true
	conns := make([]*Client, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()

	_ = s.listener.Close()
	for _, c := range conns {
		c.abort()
	}
}

// DropConnections breaks every connection; new ones are accepted.
func (s *Server) DropConnections() {
	for _, c := range s.connections() {
		c.abort()
	}
}

// Wait returns when nothing of the server runs any more, after Abort.
func (s *Server) Wait() { s.wg.Wait() }

func (s *Server) connections() []*Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Client, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// Clients are the clients between sockclnt_create and their end, by index.
func (s *Server) Clients() []*Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	clients := make([]*Client, 0, len(s.created))
	for _, c := range s.created {
		clients = append(clients, c)
	}
	sort.Slice(clients, func(i, j int) bool { return clients[i].index < clients[j].index })
	return clients
}

func (s *Server) accept() {
	defer s.wg.Done()
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.log.WithField("err", err).Warn("accept on the API socket ended")
			}
			return
		}
		c := newClient(s, conn)
		if !s.register(c) {
			_ = conn.Close()
			return
		}
		go c.write()
		go s.read(c)
	}
}

func (s *Server) register(c *Client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.wg.Add(2) // reader and writer
	return true
}

func (s *Server) read(c *Client) {
	defer s.wg.Done()
	r := bufio.NewReaderSize(c.conn, 64<<10)
	for {
		data, err := readFrame(r)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				s.log.WithFields(logrus.Fields{"client": c.name, "err": err}).Debug("API connection broke")
			}
			break
		}
		s.handler.Message(c, s.request(data))
	}
	s.mu.Lock()
	delete(s.conns, c)
	delete(s.created, c.index)
	s.mu.Unlock()
	c.outbox.finish()
	s.handler.Closed(c)
}

// request reads what stands at a fixed place in a message. sockclnt_create has
// no client index yet.
func (s *Server) request(data []byte) Request {
	r := Request{ID: binary.BigEndian.Uint16(data), data: data}
	r.Entry = s.table.lookupID(r.ID)
	switch {
	case r.ID == sockclntCreateID && len(data) >= 6:
		r.Context = binary.BigEndian.Uint32(data[2:])
	case len(data) >= 10:
		r.ClientIndex = binary.BigEndian.Uint32(data[2:])
		r.Context = binary.BigEndian.Uint32(data[6:])
	}
	return r
}
