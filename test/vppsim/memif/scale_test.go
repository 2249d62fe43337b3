package memif

import (
	"fmt"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// TestDisconnectedInterfacesAreCheap holds many interfaces that have no peer to
// what a simulator of 10,000 attachments can afford.
func TestDisconnectedInterfacesAreCheap(t *testing.T) {
	const count = 4000
	dir := t.TempDir()
	goroutines, heap := runtime.NumGoroutine(), heapBytes()
	server := listen(t, filepath.Join(dir, "masters.sock"))
	all := make([]*Interface, 0, 2*count)
	for n := range uint32(count) {
		all = append(all,
			server.AddMaster(Config{ID: n}, Events{}),
			NewSlave(Config{ID: n, Socket: filepath.Join(dir, fmt.Sprintf("s%d", n%50))}, Events{}))
	}
	for _, i := range all {
		i.SetAdminUp(true)
	}
	last := all[len(all)-1]
	eventually(t, "the last slave did not try", func() bool { return last.Reason() != "" })
	eventually(t, "goroutines remain", func() bool { return runtime.NumGoroutine() <= goroutines+1 })
	if each := (heapBytes() - heap) / int64(len(all)); each > 2000 {
		t.Errorf("%d bytes each", each)
	}
	before := cpuTime(t)
	time.Sleep(retryInterval)
	if used := cpuTime(t) - before; used > retryInterval/2 {
		t.Errorf("%v of processor time in %v with nothing to do but try", used, retryInterval)
	}
	for _, i := range all {
		i.Close()
	}
}

// TestIdleLinkUsesNoProcessor looks for polling.
func TestIdleLinkUsesNoProcessor(t *testing.T) {
	link(t, Config{ID: 1, InterfaceName: "m"}, Config{ID: 1, InterfaceName: "s"})
	before := cpuTime(t)
	time.Sleep(500 * time.Millisecond)
	if used := cpuTime(t) - before; used > 100*time.Millisecond {
		t.Errorf("%v of processor time in 500ms", used)
	}
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkSendReceive(b *testing.B) {
	path := filepath.Join(b.TempDir(), "memif.sock")
	server, err := Listen(path)
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	got := make(chan struct{}, 1<<10)
	m := server.AddMaster(Config{}, Events{Receive: func([]byte) { got <- struct{}{} }})
	s := NewSlave(Config{Socket: path}, Events{})
	s.SetAdminUp(true)
	for !s.Connected() || !m.Connected() {
		time.Sleep(time.Millisecond)
	}
	pkt := make([]byte, 1000)
	b.SetBytes(int64(len(pkt)))
	for b.Loop() {
		for !s.Send(pkt) {
			runtime.Gosched()
		}
		<-got
	}
	s.Close()
}
