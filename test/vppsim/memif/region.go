package memif

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// mapRegion maps a region that the peer made. It takes fd in any case. Only a
// memory file that can no longer shrink is accepted: reading behind the end of
// a mapped file kills the process. VPP seals its regions so too.
func mapRegion(fd int, size uint64) ([]byte, error) {
	defer unix.Close(fd) //nolint:errcheck // the mapping keeps the file
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return nil, refuse("memory region is not sealed against shrinking")
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("fstat memory region: %w", err)
	}
	if size == 0 || st.Size < 0 || size > uint64(st.Size) || size > math.MaxInt {
		return nil, refuse("memory region of %d bytes in a file of %d", size, st.Size)
	}
	mem, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap memory region: %w", err)
	}
	return mem, nil
}

// makeRegion makes a sealed memory file and maps it.
func makeRegion(name string, size uint64) (fd int, mem []byte, err error) {
	if size > math.MaxUint32 {
		return -1, nil, fmt.Errorf("memif region of %d bytes: descriptors address 4 GiB", size)
	}
	fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, nil, fmt.Errorf("memfd: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if err = unix.Ftruncate(fd, int64(size)); err != nil {
		return -1, nil, fmt.Errorf("size memory region: %w", err)
	}
	if _, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK); err != nil {
		return -1, nil, fmt.Errorf("seal memory region: %w", err)
	}
	mem, err = unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return -1, nil, fmt.Errorf("mmap memory region: %w", err)
	}
	return fd, mem, nil
}

// layout is where a slave puts rings and buffers in its one region, the same
// place as VPP: all slave-to-master rings, all master-to-slave rings, then the
// buffers in the order of the rings.
type layout struct {
	s2m, m2s   int
	log2Size   uint8
	bufferSize uint32
}

func (l layout) ringBytes() uint64 { return ringHeader + descSize<<l.log2Size }

func (l layout) rings() uint64 { return uint64(l.s2m + l.m2s) } // both are at most 255

func (l layout) size() uint64 {
	return l.rings() * (l.ringBytes() + uint64(l.bufferSize)<<l.log2Size)
}

// ringOffset is the place of the n-th ring, those from master counted behind
// those to it.
func (l layout) ringOffset(n int) uint64 { return uint64(n) * l.ringBytes() } // n < rings

// bufferOffset is the place of the first buffer of the n-th ring.
func (l layout) bufferOffset(n int) uint64 {
	return l.rings()*l.ringBytes() + uint64(n)*uint64(l.bufferSize)<<l.log2Size // n < rings
}
