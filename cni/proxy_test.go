package main

import (
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between the plugin and etcd, so that etcd can be slow, mute or
// away for one test. It passes bytes, and knows no gRPC.
type proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	open    *sync.Cond
	paused  bool          // towards etcd, and back
	mute    bool          // back
	delay   time.Duration // of each read, both ways
	waiting int           // connections with bytes that wait
	conns   []net.Conn
	wg      sync.WaitGroup
}

// newProxy puts a proxy before w's etcd.
func newProxy(t *testing.T, w *world) *proxy {
	t.Helper()
	path := filepath.Join(w.dir, "p.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: strings.TrimPrefix(w.endpoint, "unix://")}
	p.open = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	w.endpoint = "unix://" + path
	t.Cleanup(p.close)
	return p
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("unix", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		p.wg.Go(func() { p.copy(out, in, false) })
		p.wg.Go(func() { p.copy(in, out, true) })
	}
}

func (p *proxy) copy(to, from net.Conn, back bool) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		for p.paused || p.mute && back {
			p.waiting++
			p.open.Wait()
			p.waiting--
		}
		delay := p.delay
		p.mu.Unlock()
		time.Sleep(delay)
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// pause holds all bytes back.
func (p *proxy) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = true
}

// slow makes each message wait.
func (p *proxy) slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// silence holds etcd's answers back.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

// held says whether somebody's bytes wait.
func (p *proxy) held() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting > 0
}

// resume lets all bytes go on that were held back.
func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused, p.mute = false, false
	p.open.Broadcast()
}

// drop cuts all connections, with the bytes that were held back.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	p.paused, p.mute = false, false
	p.open.Broadcast()
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.drop()
	p.wg.Wait()
}
