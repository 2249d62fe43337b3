package api

import (
	"fmt"
	"net"

	"github.com/sirupsen/logrus"
	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/codec"
)

// Client is one connection to the API socket.
type Client struct {
	server *Server
	conn   *net.UnixConn
	outbox outbox

	// Set once by sockclnt_create, under the server's lock.
	index uint32
	name  string
}

func newClient(s *Server, conn *net.UnixConn) *Client {
	c := &Client{server: s, conn: conn}
	c.outbox.init()
	return c
}

// Index is the client_index that sockclnt_create_reply told; zero before it.
func (c *Client) Index() uint32 {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.index
}

// Name is what the client called itself.
func (c *Client) Name() string {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.name
}

// Decode reads the request into msg, which must be of the entry's type.
func (r Request) Decode(msg govpp.Message) error {
	if err := codec.DecodeMsg(r.data, msg); err != nil {
		return fmt.Errorf("decode %s: %w", msg.GetMessageName(), err)
	}
	return nil
}

// Send queues a reply, details or event message; it never blocks. Context
// counts for messages that carry one.
func (c *Client) Send(msg govpp.Message, context uint32) {
	data, err := c.server.table.encode(msg, c.index, context)
	if err != nil {
		c.server.log.WithFields(logrus.Fields{"client": c.name, "err": err}).Error("API message lost")
		return
	}
	c.outbox.put(data)
}

// Reply queues a reply with its retval, which is the first field of every reply
// that has one, whatever msg holds in it.
func (c *Client) Reply(msg govpp.Message, context uint32, retval int32) {
	data, err := c.server.table.encode(msg, c.index, context)
	if err != nil {
		c.server.log.WithFields(logrus.Fields{"client": c.name, "err": err}).Error("API message lost")
		return
	}
	if len(data) >= 10 {
		putUint32(data[6:], uint32(retval)) // two's complement on the wire
	}
	c.outbox.put(data)
}

// Control handles the messages of the socket itself. False: it is another one.
func (s *Server) Control(c *Client, r Request) bool {
	switch r.ID {
	case sockclntCreateID:
		s.create(c, r)
	case sockclntDeleteID:
		s.delete(c, r)
	default:
		return false
	}
	return true
}

func (s *Server) create(c *Client, r Request) {
	req := &memclnt.SockclntCreate{}
	if err := r.Decode(req); err != nil {
		s.log.WithField("err", err).Warn("sockclnt_create is broken")
		return
	}
	s.mu.Lock()
	delete(s.created, c.index)
	s.next++
	c.index = s.next
	c.name = req.Name
	if _, alive := s.conns[c]; alive {
		s.created[c.index] = c
	}
	s.mu.Unlock()

	c.Send(&memclnt.SockclntCreateReply{
		Index:        c.index,
		MessageTable: s.table.listing,
	}, r.Context)
	s.log.WithFields(logrus.Fields{"client": req.Name, "id": c.index}).Debug("API client connected")
}

// delete ends the connection after the reply. A response of 1 is VPP's word for
// success (src/vlibmemory/socket_api.c).
func (s *Server) delete(c *Client, r Request) {
	req := &memclnt.SockclntDelete{}
	if err := r.Decode(req); err != nil {
		s.log.WithField("err", err).Warn("sockclnt_delete is broken")
		return
	}
	if req.Index != c.index {
		c.Send(&memclnt.SockclntDeleteReply{Response: -1}, r.Context)
		return
	}
	c.Send(&memclnt.SockclntDeleteReply{Response: 1}, r.Context)
	s.mu.Lock()
	delete(s.created, c.index)
	s.mu.Unlock()
	c.outbox.finish()
}

func (c *Client) abort() {
	c.outbox.abort()
	_ = c.conn.Close()
}

// write ends the connection too, so that the reader ends with it.
func (c *Client) write() {
	defer c.server.wg.Done()
	defer func() { _ = c.conn.Close() }()
	var spare []byte
	for {
		out := c.outbox.take(spare)
		if out == nil {
			return
		}
		if _, err := c.conn.Write(out); err != nil {
			c.outbox.abort()
			return
		}
		if cap(out) > 1<<20 {
			out = nil
		}
		spare = out
	}
}
