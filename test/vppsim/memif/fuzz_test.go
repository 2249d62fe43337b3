package memif

import (
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

// FuzzControl plays a conversation of whole messages, the last of them cut
// short, to a master or a slave, which must end it or not, and come to rest.
func FuzzControl(f *testing.F) {
	add := func(master bool, ms ...message) {
		var b []byte
		for _, m := range ms {
			b = append(b, m[:]...)
		}
		f.Add(master, b)
	}
	hi := initRequest{version: version, id: 1, secret: "s", name: "fuzz"}.encode()
	add(true, hi, addRegion{size: 4096}.encode(), addRing{flags: ringFlagS2M}.encode(), newMessage(msgConnect))
	add(true, newMessage(99))
	add(false, hello{minVersion: version, maxVersion: version, maxLog2RingSize: 3}.encode(), newMessage(msgAck),
		newMessage(msgAck), newMessage(msgAck), newMessage(msgAck), encodeName(msgConnected, "peer"))
	add(false, disconnect{code: 1, reason: "because"}.encode())
	f.Fuzz(func(t *testing.T, master bool, b []byte) {
		ours, theirs := socketPair(t)
		server := &Server{masters: map[uint32]*Interface{}, sessions: map[*session]struct{}{}}
		i := newInterface(Config{ID: 1, Secret: "s", Master: master, RingSize: 3}, Events{})
		server.masters[1] = i
		s := &session{conn: ours, server: server}
		handle := s.handleMaster
		if !master {
			s.ifc, i.session, handle = i, s, s.handleSlave
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.run(func() error { return nil }, handle)
		}()
		region, err := unix.MemfdCreate("fuzz", unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(region) //nolint:errcheck // a test's
		_ = unix.Ftruncate(region, 4096)
		_, _ = unix.FcntlInt(uintptr(region), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
		_ = theirs.SetWriteDeadline(time.Now().Add(time.Second))
		for len(b) > 0 {
			n := min(len(b), messageSize)
			if _, _, err := theirs.WriteMsgUnix(b[:n], unix.UnixRights(region), nil); err != nil {
				break
			}
			b = b[n:]
		}
		_ = theirs.Close()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the session does not end")
		}
		if i.current() != nil || i.Connected() {
			t.Fatal("the interface is still taken")
		}
	})
}

// FuzzRing lets a peer write anything at all into shared memory between
// packets; nothing may be read or written outside it, and all comes to rest.
func FuzzRing(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add([]byte{0x20, 0x1f, 0xe3, 0x03, 0, 0, 3, 0}, false)
	f.Fuzz(func(t *testing.T, memory []byte, toMaster bool) {
		l := layout{s2m: 1, log2Size: 2, bufferSize: 64}
		mem := make([]byte, l.size())
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
			var pkt []byte
			pkt, buf, _ = to.take(buf)
			if len(pkt) > maxPacket {
				t.Fatalf("a packet of %d bytes", len(pkt))
			}
		}
	})
}
