package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
)

// TestConnections: no more than so many at a time, and one that says nothing is
// closed.
func TestConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{Connections: 3, Accepts: 100, Handshake: 500 * time.Millisecond})
	path := w.open(myPod)
	var conns []net.Conn
	closed := 0
	for range 6 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		conns = append(conns, c)
	}
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		b := make([]byte, 1)
		if _, err := c.Read(b); errors.Is(err, io.EOF) {
			closed++
		}
	}
	if closed != 3 {
		t.Errorf("%d of 6 connections were closed at once, want 3", closed)
	}
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("a connection that says nothing stays open: %v", err)
		}
	}
	if _, err := w.client().Get(w.ctx(), "x"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestRates: requests are slowed down, those of another pod are not; what waits
// for too long is refused.
func TestRates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{Requests: 20, Writes: 0.5, Patience: 300 * time.Millisecond})
	mine, other := etcdserverpb.NewKVClient(dial(t, w.open(myPod))), etcdserverpb.NewKVClient(dial(t, w.open("p2")))
	w.set(myPod, "interfaces/net1", "mine")
	begin := time.Now()
	refused, n := 0, 0
	for time.Since(begin) < 4*time.Second {
		done := make(chan error, 30)
		for range 30 {
			go func() {
				_, err := mine.Range(w.ctx(), &etcdserverpb.RangeRequest{Key: []byte("x")})
				done <- err
			}()
		}
		for range 30 {
			err := <-done
			switch {
			case err == nil:
				n++
			case status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "etcdserver: too many requests"):
				refused++
			default:
				t.Fatal(err)
			}
		}
		at := time.Now()
		if _, err := other.Range(w.ctx(), &etcdserverpb.RangeRequest{Key: []byte("x")}); err != nil || time.Since(at) > 250*time.Millisecond {
			t.Errorf("another pod waits for %s: %v", time.Since(at), err)
		}
	}
	if most := 40 + 20*int(time.Since(begin).Seconds()+1); n > most || refused == 0 {
		t.Errorf("%d requests in %s, %d refused; want at most %d", n, time.Since(begin), refused, most)
	}
	failed := 0
	for i := range 20 {
		_, err := mine.Put(w.ctx(), &etcdserverpb.PutRequest{Key: []byte("status/net1"), Value: []byte(ready(fmt.Sprint(i)))})
		if status.Code(err) == codes.ResourceExhausted {
			failed++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if failed == 0 {
		t.Error("20 writes at once, none was refused")
	}
}

// TestWatchLimits: watches and watch streams are counted, and their places are
// free again when they end.
func TestWatchLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{Watches: 5, Watchers: 2, Requests: 1000})
	conn := dial(t, w.open(myPod))
	create := &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: &etcdserverpb.WatchCreateRequest{RangeEnd: []byte{0}}}}
	cancel := &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CancelRequest{CancelRequest: &etcdserverpb.WatchCancelRequest{WatchId: 2}}}
	a := newWatcher(t, conn)
	for i := range 7 {
		r := a.controlled(create)
		if refused := i >= 5; r.Canceled != refused || refused && !strings.Contains(r.CancelReason, "etcdserver: too many requests") {
			t.Errorf("watch %d: %v", i, r)
		}
	}
	a.controlled(cancel)
	if r := a.controlled(create); r.Canceled {
		t.Errorf("in the place of one that was canceled: %v", r)
	}
	b := newWatcher(t, conn)
	if r := b.controlled(create); !r.Canceled {
		t.Errorf("watches are counted by stream, not by pod: %v", r)
	}
	c := newWatcher(t, conn)
	eventually(t, "the third stream's end", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return status.Code(c.err) == codes.ResourceExhausted
	})
}

// TestMessageSize: a message that is too long is refused, and costs nobody else.
func TestMessageSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	kv := etcdserverpb.NewKVClient(dial(t, w.open(myPod)))
	_, err := kv.Range(w.ctx(), &etcdserverpb.RangeRequest{Key: make([]byte, 100<<10)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a key of 100 KiB: %v", err)
	}
	if _, err = kv.Range(w.ctx(), &etcdserverpb.RangeRequest{Key: []byte("x")}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestBytes: a pod that sends as fast as it can is read no faster than it may.
func TestBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{Bytes: 100 << 10, Requests: 1e6, MessageBytes: 64 << 10})
	kv := etcdserverpb.NewKVClient(dial(t, w.open(myPod)))
	begin := time.Now()
	for range 20 { // 1 MB
		if _, err := kv.Range(w.ctx(), &etcdserverpb.RangeRequest{Key: make([]byte, 50<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took < 7*time.Second {
		t.Errorf("1 MB in %s, at 100 kB/s", took)
	}
}

// TestStreams: streams that never become a request are no cheaper than one that is
// refused: they are not read faster than about twice the requests.
func TestStreams(t *testing.T) {
	t.Parallel()
	const method = "/etcdserverpb.KV/Range"
	for name, abuse := range map[string]struct {
		contentType, path string
		then              func(f *http2.Framer, id uint32) error
	}{
		"reset": {"application/grpc", method, func(f *http2.Framer, id uint32) error {
			return f.WriteRSTStream(id, http2.ErrCodeCancel)
		}},
		"message too long": {"application/grpc", method, func(f *http2.Framer, id uint32) error {
			return f.WriteData(id, true, []byte{0, 0x7f, 0, 0, 0})
		}},
		"no method":      {"application/grpc", "x", func(f *http2.Framer, id uint32) error { return f.WriteData(id, true, nil) }},
		"no gRPC at all": {"text/plain", method, func(f *http2.Framer, id uint32) error { return f.WriteData(id, true, nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gateway.Limits{Requests: 10})
			c, err := net.Dial("unix", w.open(myPod))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			go func() { _, _ = io.Copy(io.Discard, c) }()
			const seconds = 3
			if err = c.SetDeadline(time.Now().Add(seconds * time.Second)); err != nil {
				t.Fatal(err)
			}
			f := http2.NewFramer(c, nil)
			if _, err = io.WriteString(c, http2.ClientPreface); err == nil {
				err = f.WriteSettings()
			}
			var block bytes.Buffer
			enc := hpack.NewEncoder(&block)
			streams := 0
			for ; err == nil; streams++ {
				block.Reset()
				for _, h := range [][2]string{
					{":method", "POST"},
					{":scheme", "http"},
					{":path", abuse.path},
					{":authority", "x"},
					{"content-type", abuse.contentType},
					{"te", "trailers"},
				} {
					err = errors.Join(err, enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}))
				}
				id := uint32(2*streams + 1)
				err = errors.Join(err, f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}), abuse.then(f, id))
			}
			// The kernel holds some hundred small messages that have not been read.
			if !errors.Is(err, os.ErrDeadlineExceeded) || streams > 2*10*(seconds+1)+1000 {
				t.Errorf("%d streams in %d s, then %v; 10 requests/s are allowed", streams, seconds, err)
			}
			t.Logf("%d streams", streams)
		})
	}
}

// TestSlowReader: a client that does not read its watch costs no memory that
// grows: it is passed by, and told so when it reads again.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{History: 20, Untaken: time.Hour})
	conn := dial(t, w.open(myPod))
	stream, err := etcdserverpb.NewWatchClient(conn).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err = stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: &etcdserverpb.WatchCreateRequest{RangeEnd: []byte{0}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); err != nil {
		t.Fatal(err)
	}
	// More than the windows of stream and connection take.
	value := strings.Repeat("x", 8<<10)
	for range 300 {
		w.set(myPod, "interfaces/net1", value)
	}
	events := 0
	for {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if resp.CompactRevision != 0 {
			break
		}
		events += len(resp.Events)
		if events >= 300 {
			t.Fatal("all was kept for a client that did not read")
		}
	}
	t.Logf("passed by after %d of 300 events", events)
}
