package memif

import (
	"sync/atomic"
	"unsafe"
)

const (
	ringHeader = 128 // cookie, flags, head; from 64 on tail; descriptors follow
	descSize   = 16
)

// ring is one ring in shared memory. Head shares a 32-bit word with the flags,
// which the other side writes; tail has a word of its own.
type ring struct {
	mem  []byte // header and descriptors
	size uint16
}

// desc is a descriptor: a private copy, so that what was checked is what is used.
type desc struct {
	flags, region  uint16
	length, offset uint32
}

// openRing finds a ring in a region. The region's length and the offset are
// the peer's word and may be anything.
func openRing(region []byte, offset uint32, log2Size uint8) (ring, error) {
	if log2Size > maxLog2RingSize {
		return ring{}, refuse("ring of 2^%d descriptors", log2Size)
	}
	end := uint64(offset) + ringHeader + descSize<<log2Size
	if offset%4 != 0 || end > uint64(len(region)) {
		return ring{}, refuse("ring at %d is not inside its region", offset)
	}
	return ring{mem: region[offset:end:end], size: 1 << log2Size}, nil
}

func (r *ring) word(offset int) *uint32 {
	_ = r.mem[offset+3]
	return (*uint32)(unsafe.Pointer(&r.mem[offset])) // aligned and inside: openRing and the line above
}

func (r *ring) cookie() uint32     { return atomic.LoadUint32(r.word(0)) }
func (r *ring) setCookie(c uint32) { atomic.StoreUint32(r.word(0), c) }

func (r *ring) flags() uint16 { return uint16(atomic.LoadUint32(r.word(4))) } // the lower half is meant

func (r *ring) head() uint16 { return uint16(atomic.LoadUint32(r.word(4)) >> 16) } // a 16-bit value

// setHead leaves the flags as they are, also when they change meanwhile.
func (r *ring) setHead(head uint16) {
	w := r.word(4)
	for {
		old := atomic.LoadUint32(w)
		if atomic.CompareAndSwapUint32(w, old, old&0xffff|uint32(head)<<16) {
			return
		}
	}
}

func (r *ring) tail() uint16     { return uint16(atomic.LoadUint32(r.word(64))) } // the lower half is meant
func (r *ring) setTail(t uint16) { atomic.StoreUint32(r.word(64), uint32(t)) }

func (r *ring) descOffset(slot uint16) int {
	return ringHeader + int(slot&(r.size-1))*descSize
}

func (r *ring) desc(slot uint16) desc {
	o := r.descOffset(slot)
	first := atomic.LoadUint32(r.word(o))
	return desc{
		flags:  uint16(first),       // the lower half is meant
		region: uint16(first >> 16), // a 16-bit value
		length: atomic.LoadUint32(r.word(o + 4)),
		offset: atomic.LoadUint32(r.word(o + 8)),
	}
}

func (r *ring) setDesc(slot uint16, d desc) {
	o := r.descOffset(slot)
	atomic.StoreUint32(r.word(o), uint32(d.flags)|uint32(d.region)<<16)
	atomic.StoreUint32(r.word(o+4), d.length)
	atomic.StoreUint32(r.word(o+8), d.offset)
}

// buffer is the memory that d speaks of, nil if any of it is outside.
func (d desc) buffer(regions [][]byte) []byte {
	if int(d.region) >= len(regions) {
		return nil
	}
	mem := regions[d.region]
	end := uint64(d.offset) + uint64(d.length)
	if end > uint64(len(mem)) {
		return nil
	}
	return mem[d.offset:end:end]
}
