package memif

import (
	"bytes"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// socketPair is a control channel.
func socketPair(tb testing.TB) (a, b *net.UnixConn) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	conns := make([]*net.UnixConn, 2)
	for n, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			tb.Fatal(err)
		}
		conns[n] = c.(*net.UnixConn)
	}
	return conns[0], conns[1]
}

// descriptors are what a hostile peer passes along with its messages.
type descriptors struct{ sealed, open, tiny, event, device int }

func newDescriptors(tb testing.TB) descriptors {
	tb.Helper()
	memory := func(size int64, seals int) int {
		fd, err := unix.MemfdCreate("fuzz", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
		if err != nil {
			tb.Fatal(err)
		}
		_ = unix.Ftruncate(fd, size)
		// A ring's cookie, so that what follows it is reached.
		_, _ = unix.Pwrite(fd, le.AppendUint32(nil, cookie), 0)
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		return fd
	}
	event, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		tb.Fatal(err)
	}
	device, err := unix.Open("/dev/zero", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	d := descriptors{sealed: memory(4096, unix.F_SEAL_SHRINK), open: memory(4096, 0), tiny: memory(1, unix.F_SEAL_SHRINK), event: event, device: device}
	tb.Cleanup(func() {
		for _, fd := range []int{d.sealed, d.open, d.tiny, d.event, d.device} {
			_ = unix.Close(fd)
		}
	})
	return d
}

// of are the descriptors that one byte of a script asks for: none, one of any
// sort, or several.
func (d descriptors) of(b byte) []int {
	switch b % 8 {
	case 0:
		return nil
	case 1:
		return []int{d.sealed}
	case 2:
		return []int{d.open}
	case 3:
		return []int{d.tiny}
	case 4:
		return []int{d.event}
	case 5:
		return []int{d.device}
	case 6:
		return []int{d.event, d.sealed, d.device}
	default:
		many := make([]int, 60) // more than the reader has room for
		for i := range many {
			many[i] = d.event
		}
		return many
	}
}

// sizeOf is the length that one byte of a script gives its message.
func sizeOf(b byte) int {
	switch b >> 3 % 4 {
	case 1:
		return int(b>>5) * 16 // too short, or empty
	case 2:
		return messageSize + int(b>>5) // too long
	default:
		return messageSize
	}
}

// say sends a script: a byte for descriptors and length, then the message.
func say(c *net.UnixConn, d descriptors, script []byte) {
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	for len(script) > 0 {
		head := script[0]
		script = script[1:]
		m := make([]byte, messageSize+8)
		n := copy(m[:messageSize], script)
		script = script[n:]
		var oob []byte
		if fds := d.of(head); len(fds) > 0 {
			oob = unix.UnixRights(fds...)
		}
		if _, _, err := c.WriteMsgUnix(m[:sizeOf(head)], oob, nil); err != nil {
			return
		}
	}
}

func openFiles(tb testing.TB) int {
	tb.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(names)
}

// FuzzControl plays a conversation of whole, short and long messages with
// descriptors of all sorts to a master or a slave, which must end it, come to
// rest, and keep none of the descriptors.
func FuzzControl(f *testing.F) {
	type step struct {
		head byte
		m    message
	}
	add := func(master bool, steps ...step) {
		var b []byte
		for _, s := range steps {
			b = append(append(b, s.head), s.m[:]...)
		}
		f.Add(master, b)
	}
	hi := initRequest{version: version, id: 1, secret: "s", name: "fuzz"}.encode()
	region, s2m, m2s := addRegion{size: 4096}.encode(), addRing{flags: ringFlagS2M}.encode(), addRing{}.encode()
	add(true, step{0, hi}, step{1, region}, step{4, s2m}, step{4, m2s}, step{0, newMessage(msgConnect)})
	add(true, step{6, hi}, step{7, region}, step{7, s2m}, step{0, newMessage(msgConnect)})
	add(true, step{0, hi}, step{1, region}, step{5, s2m}, step{0, newMessage(msgConnect)}, step{7, newMessage(msgAck)})
	add(true, step{0, hi}, step{2, region}, step{3, region}, step{5, addRegion{size: 1 << 62}.encode()})
	add(true, step{0, hi}, step{1, addRegion{size: 1<<64 - 1}.encode()})
	add(true, step{0, hi}, step{1, region}, step{4, addRing{flags: ringFlagS2M, offset: 0xfffffffc, log2Size: 255}.encode()}, step{0, newMessage(msgConnect)})
	add(true, step{1 << 3, hi}, step{2<<3 | 1<<5, hi}, step{0, newMessage(99)})
	add(false, step{0, hello{minVersion: version, maxVersion: version, maxLog2RingSize: 3}.encode()}, step{0, newMessage(msgAck)},
		step{0, newMessage(msgAck)}, step{7, newMessage(msgAck)}, step{0, newMessage(msgAck)}, step{6, encodeName(msgConnected, "peer")})
	add(false, step{0, hello{minVersion: version, maxVersion: version, maxS2MRing: 65535, maxM2SRing: 65535, maxLog2RingSize: 255}.encode()})
	add(false, step{0, disconnect{code: 1, reason: "because"}.encode()})
	d := newDescriptors(f)
	f.Fuzz(func(t *testing.T, master bool, script []byte) {
		before := openFiles(t)
		i, done, theirs := converse(t, master)
		say(theirs, d, script)
		_ = theirs.Close()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the session does not end")
		}
		if i.current() != nil || i.Connected() {
			t.Fatal("the interface is still taken")
		}
		if after := openFiles(t); after > before {
			t.Fatalf("%d descriptors before, %d after", before, after)
		}
	})
}

// converse starts one side of a session; done is closed at its end.
func converse(t *testing.T, master bool) (i *Interface, done chan struct{}, theirs *net.UnixConn) {
	t.Helper()
	ours, theirs := socketPair(t)
	server := &Server{masters: map[uint32]*Interface{}, sessions: map[*session]struct{}{}}
	i = newInterface(Config{ID: 1, Secret: "s", Master: master, RingSize: 3}, Events{})
	server.masters[1] = i
	s := &session{conn: ours, server: server}
	handle := s.handleMaster
	if !master {
		s.ifc, i.session, handle = i, s, s.handleSlave
	}
	done = make(chan struct{})
	go func() {
		defer close(done)
		s.run(func() error { return nil }, handle)
	}()
	return i, done, theirs
}

// FuzzRing lets a peer write anything at all into shared memory, also between
// packets; nothing may be read or written outside it, and all comes to rest.
func FuzzRing(f *testing.F) {
	f.Add([]byte{}, []byte{}, true)
	f.Add([]byte{0x20, 0x1f, 0xe3, 0x03, 0, 0, 3, 0}, []byte{}, false)
	// Head and tail of the ring, then a descriptor's length, region and offset.
	f.Add([]byte{}, []byte{6, 0, 0xff, 0xff, 64, 0, 0xff, 0xff, 132, 0, 0xff, 0xff, 136, 0, 0xf0, 0xff, 138, 0, 0xff, 0xff}, true)
	f.Add([]byte{}, []byte{6, 0, 4, 0, 128, 0, 1, 0, 144, 0, 1, 0, 160, 0, 1, 0, 176, 0, 1, 0}, false)
	f.Fuzz(func(t *testing.T, memory, writes []byte, toMaster bool) {
		const guard = 4096
		l := layout{s2m: 1, log2Size: 2, bufferSize: 64}
		all := bytes.Repeat([]byte{0xa5}, guard+int(l.size())+guard)
		mem := all[guard : guard+int(l.size()) : guard+int(l.size())]
		clear(mem)
		r, err := openRing(mem, 0, l.log2Size)
		if err != nil {
			t.Fatal(err)
		}
		slave := &queue{ring: r, regions: [][]byte{mem}, bufferSize: 64, bufferOffset: uint32(l.bufferOffset(0)), eventFD: -1}
		slave.prepare(toMaster)
		master := &queue{ring: r, regions: [][]byte{mem}, master: true, eventFD: -1}
		copy(mem, memory)
		var buf []byte
		for range 10 {
			from, to := master, slave
			if toMaster {
				from, to = slave, master
			}
			_, _ = from.put(make([]byte, 100))
			if len(writes) >= 4 { // two bytes at an offset
				copy(mem[int(le.Uint16(writes))%len(mem):], writes[2:4])
				writes = writes[4:]
			}
			var pkt []byte
			pkt, buf, _ = to.take(buf)
			if len(pkt) > maxPacket {
				t.Fatalf("a packet of %d bytes", len(pkt))
			}
		}
		if edge := bytes.Repeat([]byte{0xa5}, guard); !bytes.Equal(all[:guard], edge) || !bytes.Equal(all[guard+len(mem):], edge) {
			t.Fatal("memory outside the region was written")
		}
	})
}
