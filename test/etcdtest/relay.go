package etcdtest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Relay passes TCP bytes on to one endpoint, and can fall silent without closing
// anything, as a network that drops packets does.
type Relay struct {
	addr string
	gate sync.RWMutex // held for writing: silent

	mu     sync.Mutex
	silent bool
}

// NewRelay passes on to endpoint, which is of a cluster with Options.TCP, until
// the test ends.
func NewRelay(tb testing.TB, endpoint string) *Relay {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &Relay{addr: l.Addr().String()}
	tb.Cleanup(func() {
		_ = l.Close()
		r.Resume() // else etcd waits for its connections
	})
	to := strings.TrimPrefix(endpoint, "http://")
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go r.pass(in, out)
			go r.pass(out, in)
		}
	}()
	return r
}

// Endpoint is where clients of the relay connect.
func (r *Relay) Endpoint() string { return r.addr }

// Silence keeps all bytes back from now on.
func (r *Relay) Silence() { r.set(true) }

// Resume lets them go on.
func (r *Relay) Resume() { r.set(false) }

func (r *Relay) set(silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent == silent {
		return
	}
	r.silent = silent
	if silent {
		r.gate.Lock()
	} else {
		r.gate.Unlock()
	}
}

func (r *Relay) pass(to io.WriteCloser, from io.Reader) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		r.gate.RLock()
		_, err = to.Write(buf[:n])
		r.gate.RUnlock()
		if err != nil {
			return
		}
	}
}
