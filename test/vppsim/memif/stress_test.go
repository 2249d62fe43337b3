package memif

import (
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestClosingUnderTraffic ends links from either side while packets cross, in
// both directions and out of callbacks: memory must not go while it is used.
func TestClosingUnderTraffic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memif.sock")
	pkt := make([]byte, 3000)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var server *Server
	for round := range 20 {
		if round%4 == 0 {
			if server != nil {
				server.Close()
			}
			server = listen(t, path)
		}
		m, s := newEnd(), newEnd()
		m.Interface = server.AddMaster(Config{ID: uint32(round), RingSize: 4}, Events{
			Connected: func(string) { m.connected <- "" },
			Receive:   func(p []byte) { m.Send(p) },
		})
		s.Interface = NewSlave(Config{ID: uint32(round), Socket: path, RingSize: 4}, Events{
			Connected: func(string) { s.connected <- "" },
			Receive:   func(p []byte) { s.Send(p) },
		})
		s.SetAdminUp(true)
		get(t, "slave connected", s.connected)
		get(t, "master connected", m.connected)
		for _, e := range []*end{m, s} {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for {
					select {
					case <-stop:
						return
					default:
						e.Send(pkt)
						time.Sleep(10 * time.Microsecond)
					}
				}
			}()
		}
		time.Sleep(10 * time.Millisecond)
		first, second := m, s
		if round%2 == 0 {
			first, second = s, m
		}
		first.Close()
		time.Sleep(time.Duration(round%3) * time.Millisecond)
		second.Close()
		if m.Send(pkt) || s.Send(pkt) || m.Connected() || s.Connected() {
			t.Fatal("a closed interface sends")
		}
	}
	close(stop)
	wg.Wait()
}
