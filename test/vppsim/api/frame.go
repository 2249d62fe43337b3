package api

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	frameHeader = 16       // msgbuf_t: 8 bytes of no use to us, length, 4 more
	lengthAt    = 8        // where in it the length stands
	maxFrame    = 16 << 20 // longest message that is read; VPP's largest are far below
)

var errFrameLength = errors.New("frame length")

func putUint32(b []byte, v uint32) { binary.BigEndian.PutUint32(b, v) }

// readFrame reads one message. The result is fresh memory.
func readFrame(r io.Reader) ([]byte, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[lengthAt:])
	if n < 2 || n > maxFrame {
		return nil, fmt.Errorf("%w %d out of range 2..%d", errFrameLength, n, maxFrame)
	}
	msg := make([]byte, n)
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, err
	}
	return msg, nil
}

// outbox takes messages without ever blocking the one main thread of VPP, and
// gives them in order to the writer of one connection. VPP's own output vector
// grows as a slow client lets it, and so does this.
type outbox struct {
	mu     sync.Mutex
	ready  sync.Cond
	buf    []byte
	last   bool // nothing follows what is in buf
	broken bool
}

func (o *outbox) init() { o.ready.L = &o.mu }

func (o *outbox) put(msg []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last || o.broken {
		return
	}
	var header [frameHeader]byte
	putUint32(header[lengthAt:], uint32(len(msg))) // messages are made here and small
	o.buf = append(append(o.buf, header[:]...), msg...)
	o.ready.Signal()
}

// finish lets the writer end when all is written.
func (o *outbox) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = true
	o.ready.Signal()
}

// abort lets the writer end at once.
func (o *outbox) abort() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = true
	o.buf = nil
	o.ready.Signal()
}

// take waits for bytes to write; spare is reused for the next ones. It returns
// nil when there will be no more.
func (o *outbox) take(spare []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) == 0 && !o.last && !o.broken {
		o.ready.Wait()
	}
	if len(o.buf) == 0 {
		return nil
	}
	out := o.buf
	o.buf = spare[:0]
	return out
}
