package memif

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// end is one interface under test, with what its events told.
type end struct {
	*Interface
	packets      chan []byte
	connected    chan string
	disconnected chan string
}

func newEnd() *end {
	return &end{
		packets:      make(chan []byte, 1<<16),
		connected:    make(chan string, 16),
		disconnected: make(chan string, 16),
	}
}

func (e *end) events() Events {
	return Events{
		Connected:    func(peer string) { e.connected <- peer },
		Disconnected: func(reason string) { e.disconnected <- reason },
		Receive:      func(pkt []byte) { e.packets <- bytes.Clone(pkt) },
	}
}

func listen(t *testing.T, path string) *Server {
	t.Helper()
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func addMaster(t *testing.T, s *Server, cfg Config) *end {
	t.Helper()
	e := newEnd()
	e.Interface = s.AddMaster(cfg, e.events())
	if e.Interface == nil {
		t.Fatalf("AddMaster(%d): id taken", cfg.ID)
	}
	e.SetAdminUp(true)
	t.Cleanup(e.Close)
	return e
}

func addSlave(t *testing.T, cfg Config) *end {
	t.Helper()
	e := newEnd()
	e.Interface = NewSlave(cfg, e.events())
	e.SetAdminUp(true)
	t.Cleanup(e.Close)
	return e
}

func get[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing came", what)
		panic("unreachable")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// link is a connected pair.
func link(t *testing.T, master, slave Config) (m, s *end) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "memif.sock")
	m = addMaster(t, listen(t, path), master)
	slave.Socket = path
	s = addSlave(t, slave)
	if got := get(t, "slave connected", s.connected); got != master.InterfaceName {
		t.Errorf("slave's peer = %q, want %q", got, master.InterfaceName)
	}
	if got := get(t, "master connected", m.connected); got != slave.InterfaceName {
		t.Errorf("master's peer = %q, want %q", got, slave.InterfaceName)
	}
	return m, s
}

func TestPacketsCrossBothWays(t *testing.T) {
	for _, mode := range []Mode{Ethernet, IP} {
		m, s := link(t,
			Config{ID: 7, Mode: mode, Secret: "same", InterfaceName: "memif0/7"},
			Config{ID: 7, Mode: mode, Secret: "same", InterfaceName: "memif1/7"})
		if !s.Send([]byte("up")) || string(get(t, "at master", m.packets)) != "up" {
			t.Error("slave to master: wrong packet")
		}
		if !m.Send([]byte("down")) || string(get(t, "at slave", s.packets)) != "down" {
			t.Error("master to slave: wrong packet")
		}
		if m.Remote() != "memif1/7" || s.Remote() != "memif0/7" {
			t.Errorf("remotes %q and %q", m.Remote(), s.Remote())
		}
	}
}

// randomPacket has its number, its length and bytes that follow from both.
func randomPacket(n uint32, size int) []byte {
	pkt := make([]byte, size)
	r := rand.New(rand.NewPCG(uint64(n), uint64(size))) // reproducible on purpose
	for i := range pkt {
		pkt[i] = byte(r.Uint32())
	}
	binary.BigEndian.PutUint32(pkt, n)
	return pkt
}

func TestManyPacketsInOrderAndWhole(t *testing.T) {
	const packets = 20000
	m, s := link(t,
		Config{ID: 1, InterfaceName: "m"},
		Config{ID: 1, InterfaceName: "s", RingSize: 5, BufferSize: 512})
	var wg sync.WaitGroup
	for _, dir := range []struct {
		name     string
		from, to *end
	}{{"slave to master", s, m}, {"master to slave", m, s}} {
		wg.Add(2)
		sizes := rand.New(rand.NewPCG(1, 2)) // reproducible on purpose
		want := make([]int, packets)
		for n := range want {
			want[n] = 4 + sizes.IntN(3000)
		}
		go func() {
			defer wg.Done()
			for n, size := range want {
				pkt := randomPacket(uint32(n), size)
				for !dir.from.Send(pkt) {
					time.Sleep(50 * time.Microsecond)
				}
			}
		}()
		go func() {
			defer wg.Done()
			for n, size := range want {
				select {
				case got := <-dir.to.packets:
					if !bytes.Equal(got, randomPacket(uint32(n), size)) {
						t.Errorf("%s: packet %d is not what was sent", dir.name, n)
						return
					}
				case <-time.After(20 * time.Second):
					t.Errorf("%s: packet %d did not come", dir.name, n)
					return
				}
			}
		}()
	}
	wg.Wait()
}

func TestLargestPacket(t *testing.T) {
	m, s := link(t, Config{ID: 1, InterfaceName: "m"}, Config{ID: 1, InterfaceName: "s"})
	pkt := randomPacket(9, maxPacket)
	for _, dir := range []struct{ from, to *end }{{m, s}, {s, m}} {
		if !dir.from.Send(pkt) || !bytes.Equal(get(t, "large packet", dir.to.packets), pkt) {
			t.Error("large packet: wrong")
		}
		if dir.from.Send(make([]byte, maxPacket+1)) || dir.from.Send(nil) {
			t.Error("a packet of impossible size was sent")
		}
	}
}

func TestFullRingDrops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memif.sock")
	entered, leave := make(chan struct{}, 1<<10), make(chan struct{})
	m := listen(t, path).AddMaster(Config{ID: 1}, Events{Receive: func([]byte) {
		entered <- struct{}{}
		<-leave
	}})
	t.Cleanup(func() { close(leave) })
	s := addSlave(t, Config{ID: 1, Socket: path, RingSize: 3})
	get(t, "connected", s.connected)
	sent := 0
	for s.Send([]byte("x")) {
		if sent++; sent == 1 {
			get(t, "first packet", entered)
		}
	}
	if sent != 9 {
		t.Errorf("%d packets fit, want 8 in the ring and 1 at the receiver", sent)
	}
	m.Close()
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name          string
		master, slave Config
		want          string
	}{
		{"wrong secret", Config{Secret: "a"}, Config{Secret: "b"}, "incorrect secret"},
		{"no secret", Config{Secret: "a"}, Config{}, "secret required"},
		{"prefix of the secret", Config{Secret: "abc"}, Config{Secret: "ab"}, "incorrect secret"},
		{"other mode", Config{Mode: IP}, Config{Mode: Ethernet}, "mode mismatch"},
		{"unknown id", Config{ID: 1}, Config{ID: 2}, "unmatched interface id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.slave.Socket = filepath.Join(t.TempDir(), "memif.sock")
			m := addMaster(t, listen(t, tt.slave.Socket), tt.master)
			s := addSlave(t, tt.slave)
			eventually(t, "no reason: "+s.Reason(), func() bool { return s.Reason() == tt.want })
			if s.Connected() || m.Connected() || s.Send([]byte("x")) || m.Send([]byte("x")) {
				t.Error("connected all the same")
			}
			if len(s.disconnected)+len(m.disconnected)+len(s.connected) > 0 {
				t.Error("events without a connection")
			}
		})
	}
}

func TestSecretIsNotAskedFor(t *testing.T) {
	link(t, Config{InterfaceName: "m"}, Config{Secret: "given", InterfaceName: "s"})
}

func TestSecondSlaveIsRefused(t *testing.T) {
	m, first := link(t, Config{ID: 3, InterfaceName: "m"}, Config{ID: 3, InterfaceName: "s"})
	second := addSlave(t, Config{ID: 3, Socket: first.cfg.Socket})
	eventually(t, "second slave was not refused", func() bool { return second.Reason() == "already connected" })
	if !first.Send([]byte("still")) || string(get(t, "at master", m.packets)) != "still" {
		t.Error("the first slave suffered")
	}
	first.Close()
	get(t, "master disconnected", m.disconnected)
	get(t, "second slave connected", second.connected)
}

func TestSecondMasterIsRefused(t *testing.T) {
	s := listen(t, filepath.Join(t.TempDir(), "memif.sock"))
	first := addMaster(t, s, Config{ID: 3})
	if s.AddMaster(Config{ID: 3}, Events{}) != nil {
		t.Error("two masters of one id")
	}
	first.Close()
	if s.AddMaster(Config{ID: 3}, Events{}) == nil {
		t.Error("a closed master's id is still taken")
	}
}

func TestManyMastersOnOneSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memif.sock")
	server := listen(t, path)
	for id := range uint32(50) {
		m := addMaster(t, server, Config{ID: id})
		s := addSlave(t, Config{ID: id, Socket: path, RingSize: 4})
		get(t, "connected", s.connected)
		s.Send([]byte{byte(id)})
		if got := get(t, "packet", m.packets); got[0] != byte(id) {
			t.Errorf("master %d got slave %d's packet", id, got[0])
		}
	}
}

func TestSlaveReconnectsAfterMasterRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memif.sock")
	server := listen(t, path)
	addMaster(t, server, Config{ID: 1})
	s := addSlave(t, Config{ID: 1, Socket: path})
	get(t, "connected", s.connected)
	server.Close()
	if got := get(t, "disconnected", s.disconnected); got != "interface deleted" {
		t.Errorf("reason %q", got)
	}
	if s.Connected() || s.Send([]byte("x")) {
		t.Error("still connected")
	}
	m := addMaster(t, listen(t, path), Config{ID: 1})
	get(t, "connected again", s.connected)
	if !s.Send([]byte("again")) || string(get(t, "at master", m.packets)) != "again" {
		t.Error("wrong packet")
	}
}

func TestMasterTakesSlaveThatComesBack(t *testing.T) {
	m, s := link(t, Config{ID: 1, InterfaceName: "m"}, Config{ID: 1, InterfaceName: "s"})
	for range 5 {
		s.Close()
		s = addSlave(t, Config{ID: 1, Socket: s.cfg.Socket})
		get(t, "slave connected", s.connected)
		get(t, "master disconnected", m.disconnected)
		get(t, "master connected", m.connected)
		if !m.Send([]byte("x")) || string(get(t, "at slave", s.packets)) != "x" {
			t.Error("wrong packet")
		}
	}
}

func TestKickTriesAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memif.sock")
	s := addSlave(t, Config{ID: 1, Socket: path})
	eventually(t, "no try", func() bool { return s.Reason() != "" })
	addMaster(t, listen(t, path), Config{ID: 1})
	start := time.Now()
	s.Kick()
	get(t, "connected", s.connected)
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func TestAdminDownSlaveDoesNotConnect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memif.sock")
	addMaster(t, listen(t, path), Config{ID: 1})
	e := newEnd()
	e.Interface = NewSlave(Config{ID: 1, Socket: path}, e.events())
	t.Cleanup(e.Close)
	e.Kick()
	time.Sleep(50 * time.Millisecond)
	if e.Connected() {
		t.Error("connected while down")
	}
	e.SetAdminUp(true)
	get(t, "connected", e.connected)
	e.SetAdminUp(false)
	if !e.Connected() {
		t.Error("VPP's link stays up when the interface goes down")
	}
}
