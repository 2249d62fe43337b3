package memif

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testQueues are both ends of one ring of four 64-byte buffers, in plain memory.
func testQueues(t *testing.T, toMaster bool) (slave, master *queue, mem []byte) {
	t.Helper()
	l := layout{s2m: 1, log2Size: 2, bufferSize: 64}
	mem = make([]byte, l.size())
	r, err := openRing(mem, 0, l.log2Size)
	if err != nil {
		t.Fatal(err)
	}
	regions := [][]byte{mem}
	slave = &queue{ring: r, regions: regions, bufferSize: 64, bufferOffset: uint32(l.bufferOffset(0)), eventFD: -1}
	slave.prepare(toMaster)
	return slave, &queue{ring: r, regions: regions, master: true, eventFD: -1}, mem
}

func TestHostileDescriptorsAreDropped(t *testing.T) {
	tests := []struct {
		name string
		bad  desc
	}{
		{"unknown region", desc{region: 1, length: 10, offset: 200}},
		{"region 65535", desc{region: 65535, length: 10}},
		{"offset behind the end", desc{length: 10, offset: 1 << 20}},
		{"length over the end", desc{length: 1 << 20, offset: 200}},
		{"offset and length overflow", desc{length: 0xffffffff, offset: 0xffffffff}},
		{"empty", desc{length: 0, offset: 200}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			slave, master, _ := testQueues(t, true)
			for range 3 { // bad, the good second half of the bad, good
				if ok, err := slave.put([]byte("good")); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			tt.bad.flags = descFlagNext
			master.ring.setDesc(0, tt.bad)
			pkt, _, err := master.take(nil)
			if err != nil || string(pkt) != "good" {
				t.Fatalf("took %q, %v", pkt, err)
			}
			if master.bad.Load() != 1 || master.own != 3 || slave.ring.tail() != 3 {
				t.Errorf("%d bad, %d slots, tail %d", master.bad.Load(), master.own, slave.ring.tail())
			}
			if pkt, _, err := master.take(nil); pkt != nil || err != nil {
				t.Errorf("then %q, %v", pkt, err)
			}
		})
	}
}

func TestChainWithoutEnd(t *testing.T) {
	slave, master, _ := testQueues(t, true)
	for slot := range uint16(4) {
		d := slave.slaveDesc(slot)
		d.flags = descFlagNext
		master.ring.setDesc(slot, d)
	}
	slave.ring.setHead(3)
	if pkt, _, err := master.take(nil); pkt != nil || err != nil || master.own != 0 {
		t.Errorf("chain with its end to come: %q, %v, at %d", pkt, err, master.own)
	}
	slave.ring.setHead(4)
	if pkt, _, err := master.take(nil); pkt != nil || err != nil || master.own != 4 || master.bad.Load() != 1 {
		t.Errorf("chain as long as the ring: %q, %v, at %d", pkt, err, master.own)
	}
}

func TestRingIndexOutOfRange(t *testing.T) {
	slave, master, _ := testQueues(t, true)
	slave.ring.setHead(5)
	if _, _, err := master.take(nil); err == nil {
		t.Error("head 5 of 4: no error")
	}
	slave, master, _ = testQueues(t, false)
	master.ring.setTail(9)
	if _, _, err := slave.take(nil); err == nil {
		t.Error("tail 9 of 4: no error")
	}
	slave, master, _ = testQueues(t, false)
	slave.ring.setHead(60000)
	if _, err := master.put([]byte("x")); err == nil {
		t.Error("head 60000 of 4: no error")
	}
	slave, _, _ = testQueues(t, true)
	slave.ring.setTail(1)
	if _, err := slave.put([]byte("x")); err == nil {
		t.Error("tail before head: no error")
	}
}

func TestHostileBufferOfMaster(t *testing.T) {
	for _, bad := range []desc{{length: 0}, {region: 3, length: 64}, {length: 64, offset: 0xfffffff0}} {
		slave, master, mem := testQueues(t, false)
		slave.ring.setDesc(0, bad)
		before := bytes.Clone(mem)
		if ok, err := master.put([]byte("secret")); ok || err == nil {
			t.Errorf("%+v: sent %v, %v", bad, ok, err)
		}
		if !bytes.Equal(before, mem) {
			t.Errorf("%+v: memory was written", bad)
		}
	}
}

func TestHeadLeavesFlagsAlone(t *testing.T) {
	slave, master, _ := testQueues(t, true)
	w := master.ring.word(4)
	*w |= uint32(ringFlagMaskInt)
	slave.ring.setHead(0xabcd)
	if slave.ring.flags() != ringFlagMaskInt || slave.ring.head() != 0xabcd {
		t.Errorf("flags %x head %x", slave.ring.flags(), slave.ring.head())
	}
}

func TestMaskedInterruptIsNotSent(t *testing.T) {
	efd, err := unix.Eventfd(0, unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(efd) //nolint:errcheck // a test's
	slave, master, _ := testQueues(t, true)
	slave.eventFD = efd
	rung := func() bool {
		var b [8]byte
		_, err := unix.Read(efd, b[:])
		return err == nil
	}
	if _, err := slave.put([]byte("x")); err != nil || !rung() {
		t.Error("no interrupt")
	}
	*master.ring.word(4) |= uint32(ringFlagMaskInt)
	if _, err := slave.put([]byte("x")); err != nil || rung() {
		t.Error("interrupt although masked")
	}
}

// rawSlave is a hand-driven peer of a master.
type rawSlave struct {
	t *testing.T
	s *session
}

func dialRaw(t *testing.T, path string) *rawSlave {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r := &rawSlave{t: t, s: &session{conn: conn}}
	if m := r.read(); m.kind() != msgHello {
		t.Fatalf("first message is %d", m.kind())
	}
	return r
}

func (r *rawSlave) read() message {
	r.t.Helper()
	_ = r.s.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	m, _, err := r.s.read()
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *rawSlave) send(m message, fd int) {
	r.t.Helper()
	if err := r.s.send1(m, fd); err != nil {
		r.t.Fatal(err)
	}
}

// wantReason reads up to DISCONNECT.
func (r *rawSlave) wantReason(want string) {
	r.t.Helper()
	for {
		m := r.read()
		if m.kind() == msgDisconnect {
			if got := m.disconnect().reason; got != want {
				r.t.Errorf("reason %q, want %q", got, want)
			}
			return
		}
	}
}

// memfd is a memory file with or without a seal.
func memfd(t *testing.T, size int64, seal int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seal); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestHostileHandshakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memif.sock")
	m := addMaster(t, listen(t, path), Config{ID: 1})
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close() //nolint:errcheck // a test's
	hi := initRequest{version: version, id: 1}.encode()
	sealed, page := memfd(t, 4096, unix.F_SEAL_SHRINK), addRegion{size: 4096}.encode()
	s2m := func(r addRing) message { r.flags |= ringFlagS2M; return r.encode() }
	type step struct {
		m  message
		fd int
	}
	tests := []struct {
		name  string
		steps []step
		want  string
	}{
		{"old version", []step{{initRequest{version: 1}.encode(), -1}}, "unsupported version"},
		{"region before INIT", []step{{page, sealed}}, "unexpected message received"},
		{"unknown message", []step{{newMessage(99), -1}}, "unknown message type (0x63)"},
		{"INIT twice", []step{{hi, -1}, {hi, -1}}, "unexpected message received"},
		{"region without fd", []step{{hi, -1}, {page, -1}}, "missing memory region fd"},
		{"region that is no memory file", []step{{hi, -1}, {page, int(zero.Fd())}}, "memory region is not sealed against shrinking"},
		{"region that can shrink", []step{{hi, -1}, {page, memfd(t, 4096, 0)}}, "memory region is not sealed against shrinking"},
		{"region over its file", []step{{hi, -1}, {addRegion{size: 4097}.encode(), sealed}}, "memory region of 4097 bytes in a file of 4096"},
		{"region of 2^64-1", []step{{hi, -1}, {addRegion{size: 1<<64 - 1}.encode(), sealed}}, "memory region of 18446744073709551615 bytes in a file of 4096"},
		{"second region first", []step{{hi, -1}, {addRegion{index: 1, size: 4096}.encode(), sealed}}, "unexpected region index"},
		{"ring without fd", []step{{hi, -1}, {addRing{}.encode(), -1}}, "missing ring interrupt fd"},
		{"ring out of order", []step{{hi, -1}, {addRing{index: 1}.encode(), sealed}}, "unexpected ring index"},
		{"private headers", []step{{hi, -1}, {addRing{privateHeader: 4}.encode(), sealed}}, "private headers not supported"},
		{"ring in no region", []step{{hi, -1}, {addRing{}.encode(), sealed}, {newMessage(msgConnect), -1}}, "ring in unknown region 0"},
		{"ring over the end", []step{{hi, -1}, {page, sealed}, {s2m(addRing{log2Size: 10}), sealed}, {newMessage(msgConnect), -1}}, "ring at 0 is not inside its region"},
		{"ring far out", []step{{hi, -1}, {page, sealed}, {s2m(addRing{offset: 0xfffffffc}), sealed}, {newMessage(msgConnect), -1}}, "ring at 4294967292 is not inside its region"},
		{"ring of 2^200", []step{{hi, -1}, {page, sealed}, {s2m(addRing{log2Size: 200}), sealed}, {newMessage(msgConnect), -1}}, "ring of 2^200 descriptors"},
		{"ring without cookie", []step{{hi, -1}, {page, sealed}, {s2m(addRing{}), sealed}, {newMessage(msgConnect), -1}}, "wrong cookie on ring 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := dialRaw(t, path)
			for n, s := range tt.steps {
				r.send(s.m, s.fd)
				if n < len(tt.steps)-1 {
					if got := r.read(); got.kind() != msgAck {
						t.Fatalf("step %d: answer %d %q", n, got.kind(), got.disconnect().reason)
					}
				}
			}
			r.wantReason(tt.want)
			eventually(t, "the master is still taken", func() bool { return m.current() == nil })
		})
	}
	s := addSlave(t, Config{ID: 1, Socket: path})
	get(t, "connected after all that", s.connected)
}

func TestInterruptThatIsAlwaysReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memif.sock")
	addMaster(t, listen(t, path), Config{ID: 1})
	region := memfd(t, 4096, unix.F_SEAL_SHRINK)
	if _, err := unix.Pwrite(region, []byte{0x20, 0x1f, 0xe3, 0x03}, 0); err != nil { // a ring's cookie
		t.Fatal(err)
	}
	r := dialRaw(t, path)
	r.send(initRequest{version: version, id: 1}.encode(), -1)
	r.send(addRegion{size: 4096}.encode(), region)
	r.send(addRing{flags: ringFlagS2M}.encode(), region)
	r.send(newMessage(msgConnect), -1)
	r.wantReason("interrupt fd cannot be waited on")
}
