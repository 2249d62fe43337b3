package api_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/codec"
	"go.uber.org/goleak"

	"github.com/vpp-cni/vpp-cni/test/vppsim/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers control_ping and nothing else.
type echo struct {
	server chan *api.Server

	mu     sync.Mutex
	served *api.Server
	other  []uint16 // ids of messages not in the table
	closed int
}

func (e *echo) Message(c *api.Client, r api.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.served == nil {
		e.served = <-e.server
	}
	switch {
	case r.Entry == nil:
		e.other = append(e.other, r.ID)
	case e.served.Control(c, r):
	case r.Entry.Name == "control_ping":
		c.Reply(&memclnt.ControlPingReply{VpePID: 7}, r.Context, -5)
	}
}

func (e *echo) Closed(*api.Client) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed++
}

func listen(t *testing.T) (*api.Server, *echo, string) {
	t.Helper()
	table, err := api.NewTable([]api.File{{Name: "memclnt", Version: "2.1.0", CRC: memclnt.VersionCrc, Messages: memclnt.AllMessages()}})
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	path := filepath.Join(t.TempDir(), "api.sock")
	e := &echo{server: make(chan *api.Server, 1)}
	s, err := api.Listen(path, table, e, log)
	if err != nil {
		t.Fatal(err)
	}
	e.server <- s
	t.Cleanup(func() {
		s.Abort()
		s.Wait()
	})
	return s, e, path
}

// wire speaks frames by hand.
type wire struct {
	t    *testing.T
	conn net.Conn
}

func connect(t *testing.T, path string) *wire {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &wire{t: t, conn: conn}
}

func (w *wire) send(msg []byte) {
	w.t.Helper()
	frame := make([]byte, 16, 16+len(msg))
	binary.BigEndian.PutUint32(frame[8:], uint32(len(msg)))
	if _, err := w.conn.Write(append(frame, msg...)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) receive() []byte {
	w.t.Helper()
	if err := w.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	header := make([]byte, 16)
	if _, err := io.ReadFull(w.conn, header); err != nil {
		w.t.Fatal(err)
	}
	msg := make([]byte, binary.BigEndian.Uint32(header[8:]))
	if _, err := io.ReadFull(w.conn, msg); err != nil {
		w.t.Fatal(err)
	}
	return msg
}

// hungUp wants the end of the connection and nothing before it.
func (w *wire) hungUp() {
	w.t.Helper()
	if err := w.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	if n, err := w.conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Errorf("read %d bytes, %v; want the connection closed", n, err)
	}
}

func encode(t *testing.T, msg govpp.Message, id uint16, index, context uint32) []byte {
	t.Helper()
	data, err := codec.EncodeMsg(msg, id)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(data[2:], index)
	binary.BigEndian.PutUint32(data[6:], context)
	return data
}

// create registers the client and gives its index and the table.
func (w *wire) create(name string) (uint32, map[string]uint16) {
	w.t.Helper()
	msg, err := codec.EncodeMsg(&memclnt.SockclntCreate{Name: name}, 15)
	if err != nil {
		w.t.Fatal(err)
	}
	binary.BigEndian.PutUint32(msg[2:], 123)
	w.send(msg)
	answer := w.receive()
	if id, context := binary.BigEndian.Uint16(answer), binary.BigEndian.Uint32(answer[6:]); id != 16 || context != 123 {
		w.t.Fatalf("sockclnt_create_reply with id %d, context %d", id, context)
	}
	var r memclnt.SockclntCreateReply
	if err := codec.DecodeMsg(answer, &r); err != nil {
		w.t.Fatal(err)
	}
	ids := make(map[string]uint16)
	for _, e := range r.MessageTable {
		ids[e.Name] = e.Index
	}
	return r.Index, ids
}

func TestProtocol(t *testing.T) {
	s, e, path := listen(t)
	w := connect(t, path)
	index, ids := w.create("by hand")
	if got := s.Clients(); len(got) != 1 || got[0].Name() != "by hand" || got[0].Index() != index {
		t.Errorf("clients: %v", got)
	}
	ping, known := ids["control_ping_51077d14"]
	if !known {
		t.Fatalf("no control_ping in the table: %v", ids)
	}
	w.send(encode(t, &memclnt.ControlPing{}, 60000, index, 1))
	w.send(encode(t, &memclnt.ControlPing{}, ping, index, 4711))
	answer := w.receive()
	var pong memclnt.ControlPingReply
	if err := codec.DecodeMsg(answer, &pong); err != nil {
		t.Fatal(err)
	}
	if context := binary.BigEndian.Uint32(answer[2:]); context != 4711 || pong.Retval != -5 || pong.VpePID != 7 {
		t.Errorf("context %d, %+v", context, pong)
	}
	e.mu.Lock()
	if len(e.other) != 1 || e.other[0] != 60000 {
		t.Errorf("ids without a message: %v", e.other)
	}
	e.mu.Unlock()
}

func TestDeleteEndsTheConnection(t *testing.T) {
	s, _, path := listen(t)
	w := connect(t, path)
	index, _ := w.create("short stay")
	w.send(encode(t, &memclnt.SockclntDelete{Index: index + 1}, 17, index, 1))
	var r memclnt.SockclntDeleteReply
	if err := codec.DecodeMsg(w.receive(), &r); err != nil || r.Response != -1 {
		t.Errorf("delete of another index: %+v, %v", r, err)
	}
	w.send(encode(t, &memclnt.SockclntDelete{Index: index}, 17, index, 2))
	if err := codec.DecodeMsg(w.receive(), &r); err != nil || r.Response != 1 {
		t.Errorf("delete: %+v, %v; VPP's success is 1", r, err)
	}
	w.hungUp()
	if got := s.Clients(); len(got) != 0 {
		t.Errorf("%d clients left", len(got))
	}
}

func TestBrokenFrames(t *testing.T) {
	tests := []struct {
		name  string
		bytes []byte
	}{
		{"length 0", make([]byte, 16)},
		{"length 1", append(append(make([]byte, 8), 0, 0, 0, 1, 0, 0, 0, 0), 1)},
		{"length of gigabytes", append(make([]byte, 8), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, _, path := listen(t)
			w := connect(t, path)
			if _, err := w.conn.Write(test.bytes); err != nil {
				t.Fatal(err)
			}
			w.hungUp()
			other := connect(t, path)
			other.create("unharmed")
			if got := len(s.Clients()); got != 1 {
				t.Errorf("%d clients, want 1", got)
			}
		})
	}
}

func TestHalfAMessage(t *testing.T) {
	_, e, path := listen(t)
	w := connect(t, path)
	if _, err := w.conn.Write([]byte{0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if err := w.conn.Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		e.mu.Lock()
		closed := e.closed
		e.mu.Unlock()
		if closed == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the connection was never given up")
		}
		time.Sleep(time.Millisecond)
	}
}

// A client that reads nothing holds up nobody.
func TestSlowReader(t *testing.T) {
	_, _, path := listen(t)
	slow := connect(t, path)
	index, ids := slow.create("slow")
	ping := encode(t, &memclnt.ControlPing{}, ids["control_ping_51077d14"], index, 1)
	for range 20000 {
		slow.send(ping)
	}
	w := connect(t, path)
	quick, ids := w.create("quick")
	w.send(encode(t, &memclnt.ControlPing{}, ids["control_ping_51077d14"], quick, 5))
	w.receive()
}

func TestTableNames(t *testing.T) {
	twice := api.File{Name: "memclnt", Messages: memclnt.AllMessages()}
	if _, err := api.NewTable([]api.File{twice, twice}); err == nil {
		t.Error("a table with every name twice")
	}
}
