package store_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// relay passes TCP bytes on to one address, and can fall silent without closing
// anything, as a network that drops packets does.
type relay struct {
	addr string
	gate sync.RWMutex // held for writing: silent
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	is(t, err, nil)
	r := &relay{addr: l.Addr().String()}
	t.Cleanup(func() { _ = l.Close() })
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

func (r *relay) pass(to io.WriteCloser, from io.Reader) {
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

// TestFollowNoticesSilence: a connection that neither breaks nor brings anything
// must not pass for an idle cluster; an idle cluster must not pass for a dead one.
func TestFollowNoticesSilence(t *testing.T) {
	e := newEnv(t, etcdtest.Options{TCP: true})
	e.put(hostKey(e, 1), "a")
	r := newRelay(t, strings.TrimPrefix(e.cluster.Endpoints()[0], "http://"))
	s := openStore(t, store.Config{Endpoints: []string{r.addr}, RequestTimeout: time.Second, ProgressInterval: 300 * time.Millisecond})
	m := follow(e, s)
	eventually(t, "view", m.view, "host/c1/net1=a")
	time.Sleep(3 * time.Second) // far over the limit for silence
	same(t, "calls of an idle cluster", m.told(), "snapshot host/c1/net1")

	r.gate.Lock()
	e.put(hostKey(e, 1), "b")
	eventually(t, "view in silence", m.view, "host/c1/net1=a (stale)")
	r.gate.Unlock()
	eventually(t, "view after it", m.view, "host/c1/net1=b")
}
