package vpp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.fd.io/govpp/adapter"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/codec"
)

// The frames of VPP's API socket (msgbuf_t of src/vlibmemory/memory_api.h): 16
// bytes, of which the length at 8 matters, then the message.
const (
	frameHeader = 16
	lengthAt    = 8
	// shortest is a reply's id and context.
	shortest = 6
	// longest bounds a message in bytes. VPP's longest, the table of its
	// messages, has under 400 KB.
	longest = 4 << 20
)

// The ids of the messages that every client knows before it has the table
// (src/vlibmemory/vl_memory_msg_enum.h), and their contexts, of no meaning.
const (
	createID      = 15
	createContext = 123
	deleteContext = 124
)

// leaveTime bounds saying goodbye to a VPP.
const leaveTime = 100 * time.Millisecond

// wire is a connection to VPP's API socket. GoVPP's own has three faults for a
// VPP that is not well: it takes any length that a frame says and allocates it,
// it writes without a deadline, and it does not tell that VPP has closed the
// connection. This one ends at a frame that cannot be, and at a count that the
// message is too short for.
type wire struct {
	path    string
	timeout time.Duration
	on      adapter.MsgCallback

	conn  *net.UnixConn
	from  *bufio.Reader
	begun bool
	index uint32
	// ids is VPP's table, by name and CRC; counts are its messages with a count
	// of 32 bits. They do not change once connected.
	ids    map[string]uint16
	counts map[uint16]count
	// gone is closed when nothing comes from VPP any more; why says why.
	gone chan struct{}
	why  error

	// leaving tells the reader to end: GoVPP may hold it up by 100 ms a message.
	leaving atomic.Bool
	writing sync.Mutex
}

var _ adapter.VppAPI = (*wire)(nil)

func newWire(path string, timeout time.Duration) *wire {
	return &wire{path: path, timeout: timeout, on: func(uint16, []byte) {}, gone: make(chan struct{})}
}

// SetMsgCallback sets who gets VPP's messages; it is called before Connect.
func (w *wire) SetMsgCallback(on adapter.MsgCallback) { w.on = on }

// WaitReady waits for nothing: who connects tries again.
func (w *wire) WaitReady() error { return nil }

// Connect dials and makes this process an API client of VPP. Nothing is read
// before begin.
func (w *wire) Connect() error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: w.path, Net: "unix"})
	if err != nil {
		return err
	}
	w.conn = conn
	w.from = bufio.NewReaderSize(conn, 64<<10)
	if err := w.create(); err != nil {
		return errors.Join(err, conn.Close())
	}
	return nil
}

// begin reads what VPP says from now on. It comes after GoVPP has its table of
// messages, which it does not guard.
func (w *wire) begin() {
	w.begun = true
	go w.read()
}

// create sends sockclnt_create and takes the table of messages.
func (w *wire) create() error {
	msg, err := codec.EncodeMsg(&memclnt.SockclntCreate{Name: clientName}, createID)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(msg[2:], createContext)
	if err = w.write(msg); err != nil {
		return fmt.Errorf("sockclnt_create: %w", err)
	}
	if err = w.conn.SetReadDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	answer, err := readFrame(w.from, nil)
	if err != nil {
		return fmt.Errorf("sockclnt_create: %w", err)
	}
	var reply memclnt.SockclntCreateReply
	if err := codec.DecodeMsg(answer, &reply); err != nil {
		return fmt.Errorf("sockclnt_create: %w", err)
	}
	if reply.Response != 0 {
		return fmt.Errorf("sockclnt_create: VPP answered %d", reply.Response)
	}
	w.index = reply.Index
	w.ids = make(map[string]uint16, len(reply.MessageTable))
	for _, m := range reply.MessageTable {
		name, _, _ := strings.Cut(m.Name, "\x00")
		w.ids[strings.TrimSuffix(name, "\x13")] = m.Index
	}
	w.counts = countsOf(w.ids)
	return w.conn.SetReadDeadline(time.Time{})
}

// Disconnect takes leave of VPP if it still reads.
func (w *wire) Disconnect() error {
	w.leaving.Store(true)
	_ = w.conn.CloseRead() // fails where VPP has closed it
	if w.begun {
		<-w.gone
	}
	for name, id := range w.ids {
		if !strings.HasPrefix(name, "sockclnt_delete_") || strings.HasPrefix(name, "sockclnt_delete_reply_") {
			continue
		}
		if msg, err := codec.EncodeMsg(&memclnt.SockclntDelete{Index: w.index}, id); err == nil {
			address(msg, w.index, deleteContext)
			_ = w.writeWithin(msg, leaveTime) // a VPP that is gone is left already
		}
	}
	return w.conn.Close()
}

// GetMsgID is the id that this VPP gave a message.
func (w *wire) GetMsgID(name, crc string) (uint16, error) {
	if id, ok := w.ids[name+"_"+crc]; ok {
		return id, nil
	}
	return 0, &adapter.UnknownMsgError{MsgName: name, MsgCrc: crc}
}

// SendMsg writes one message. Where VPP does not take it for the time of a call
// the connection is broken off, as whoever waits in a write holds up all others:
// that is the one way in which a VPP that hangs loses us.
func (w *wire) SendMsg(context uint32, msg []byte) error {
	if len(msg) < 10 {
		return fmt.Errorf("message of %d bytes, a request has 10 at least", len(msg))
	}
	address(msg, w.index, context)
	return w.write(msg)
}

// address fills in the head of a request behind its id.
func address(msg []byte, client, context uint32) {
	binary.BigEndian.PutUint32(msg[2:], client)
	binary.BigEndian.PutUint32(msg[6:], context)
}

func (w *wire) write(msg []byte) error { return w.writeWithin(msg, w.timeout) }

func (w *wire) writeWithin(msg []byte, d time.Duration) error {
	frame := make([]byte, frameHeader, frameHeader+len(msg))
	binary.BigEndian.PutUint32(frame[lengthAt:], uint32(len(msg))) // #nosec G115 -- messages are made here and small
	frame = append(frame, msg...)
	w.writing.Lock()
	defer w.writing.Unlock()
	if err := w.conn.SetWriteDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	_, err := w.conn.Write(frame)
	if err == nil {
		return nil
	}
	// Half a frame may be out.
	_ = w.conn.CloseRead()
	_ = w.conn.CloseWrite()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("it has not read for %v", d)
	}
	return err
}

// read hands on what comes until the connection ends or VPP says what cannot be.
func (w *wire) read() {
	defer close(w.gone)
	buf := make([]byte, 8<<10)
	for !w.leaving.Load() {
		msg, err := readFrame(w.from, buf)
		if err != nil {
			w.why = fmt.Errorf("connection lost: %w", err)
			return
		}
		if len(msg) < shortest {
			w.why = fmt.Errorf("it sent a message of %d bytes, a reply has %d at least", len(msg), shortest)
			return
		}
		id := binary.BigEndian.Uint16(msg)
		if c, ok := w.counts[id]; ok && !c.fits(msg) {
			w.why = fmt.Errorf("it sent message %d with a count that its %d bytes do not hold", id, len(msg))
			return
		}
		w.on(id, msg)
	}
}

// readFrame reads one message, into buf where it fits.
func readFrame(r io.Reader, buf []byte) ([]byte, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[lengthAt:])
	if n > longest {
		return nil, fmt.Errorf("a message of %d bytes, at most %d are taken", n, longest)
	}
	if int(n) > len(buf) {
		buf = make([]byte, n)
	}
	_, err := io.ReadFull(r, buf[:n])
	return buf[:n], err
}
