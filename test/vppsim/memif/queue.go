package memif

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// queue is one ring as one side uses it. The producer of buffers is always the
// slave: to send it moves head, while a master sends by moving tail.
type queue struct {
	ring    ring
	regions [][]byte
	master  bool
	own     uint16 // our index into the ring; the copy in shared memory is for the peer

	// A slave's queues know where their buffers are and never read it back.
	bufferSize   uint32
	bufferOffset uint32

	event   *os.File // receiving: the peer's wake-ups
	eventFD int      // sending: ours
	bad     atomic.Uint64
}

var errRing = protocolError("ring index out of range")

// slaveDesc is the descriptor of a slot with its buffer empty.
func (q *queue) slaveDesc(slot uint16) desc {
	n := uint32(slot & (q.ring.size - 1))
	return desc{length: q.bufferSize, offset: q.bufferOffset + n*q.bufferSize}
}

// available is how many slots the peer left for us, counted from our index.
func (q *queue) available(sending bool) (uint16, error) {
	var n uint16
	switch {
	case sending && q.master:
		n = q.ring.head() - q.own
	case sending:
		n = q.ring.size - (q.own - q.ring.tail())
	case q.master:
		n = q.ring.head() - q.own
	default:
		n = q.ring.tail() - q.own
	}
	if n > q.ring.size {
		return 0, errRing
	}
	return n, nil
}

// put copies one packet into the ring, over several descriptors where it does
// not fit into one. False: no room.
func (q *queue) put(pkt []byte) (bool, error) {
	free, err := q.available(true)
	if err != nil {
		return false, err
	}
	slot := q.own
	for rest := pkt; ; slot++ {
		if slot-q.own == free {
			return false, nil
		}
		d := q.sendDesc(slot)
		buf := d.buffer(q.regions)
		if len(buf) == 0 {
			return false, refuse("descriptor %d has no buffer", slot&(q.ring.size-1))
		}
		n := copy(buf, rest)
		rest = rest[n:]
		d.length, d.flags = uint32(n), 0 // at most a packet
		if len(rest) > 0 {
			d.flags = descFlagNext
		}
		q.ring.setDesc(slot, d)
		if len(rest) == 0 {
			break
		}
	}
	q.own = slot + 1
	if q.master {
		q.ring.setTail(q.own)
	} else {
		q.ring.setHead(q.own)
	}
	q.wake()
	return true, nil
}

func (q *queue) sendDesc(slot uint16) desc {
	if q.master {
		return q.ring.desc(slot)
	}
	return q.slaveDesc(slot)
}

// wake tells the peer, unless it polls. A full counter needs no telling.
func (q *queue) wake() {
	if q.ring.flags()&ringFlagMaskInt != 0 {
		return
	}
	one := [8]byte{1}
	_, _ = unix.Write(q.eventFD, one[:])
}

// take moves the next packet into buf, grown as needed. Nil without an error:
// none is there. Packets with a bad descriptor are dropped and counted.
func (q *queue) take(buf []byte) (pkt, grown []byte, err error) {
	for {
		n, err := q.available(false)
		if err != nil {
			return nil, buf, err
		}
		used, good := uint16(0), true
		buf = buf[:0]
		for more := true; more; used++ {
			if used == n {
				if n < q.ring.size {
					return nil, buf, nil // the rest of the chain is still to come
				}
				good = false // no room for a rest
				break
			}
			d := q.ring.desc(q.own + used)
			more = d.flags&descFlagNext != 0
			part := d.buffer(q.regions)
			good = good && len(part) > 0 && len(buf)+len(part) <= maxPacket
			if good {
				buf = append(buf, part...)
			}
		}
		q.giveBack(used)
		if good {
			return buf, buf, nil
		}
		q.bad.Add(1)
	}
}

// giveBack returns n slots to the peer, for a slave with their buffers whole
// again: a master shortens them to the packet.
func (q *queue) giveBack(n uint16) {
	if !q.master {
		for s := q.own; s != q.own+n; s++ {
			q.ring.setDesc(s, q.slaveDesc(s))
		}
	}
	q.own += n
	if q.master {
		q.ring.setTail(q.own)
	} else {
		q.ring.setHead(q.own + q.ring.size)
	}
}

// prepare writes a slave's ring for the first time: empty, or with all its
// buffers offered to the master.
func (q *queue) prepare(sending bool) {
	q.ring.setCookie(cookie)
	q.ring.setTail(0)
	for s := uint16(0); s != q.ring.size; s++ {
		q.ring.setDesc(s, q.slaveDesc(s))
	}
	if sending {
		q.ring.setHead(0)
		return
	}
	q.ring.setHead(q.ring.size)
}
