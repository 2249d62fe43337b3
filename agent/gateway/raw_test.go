package gateway_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// raw is a client that does as it likes. It reads what it is sent, and opens no
// window for data.
type raw struct {
	t    *testing.T
	c    net.Conn
	f    *http2.Framer
	enc  *hpack.Encoder
	head bytes.Buffer
	next uint32
	// ended is closed when the connection is.
	ended chan struct{}
}

func newRaw(t *testing.T, path string) *raw {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	r := &raw{t: t, c: c, f: http2.NewFramer(c, c), next: 1, ended: make(chan struct{})}
	r.enc = hpack.NewEncoder(&r.head)
	_, err = c.Write([]byte(http2.ClientPreface))
	if err == nil {
		err = r.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		for {
			if _, err := r.f.ReadFrame(); err != nil {
				return
			}
		}
	}()
	return r
}

// over says whether the connection has ended.
func (r *raw) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// begin begins a stream.
func (r *raw) begin(method string) uint32 {
	r.head.Reset()
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		_ = r.enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}) // a bytes.Buffer takes all
	}
	id := r.next
	r.next += 2
	r.sent(r.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.head.Bytes(), EndHeaders: true}))
	return id
}

// call makes a whole request.
func (r *raw) call(method string, m proto.Message) {
	r.sent(r.f.WriteData(r.begin(method), true, message(r.t, m)))
}

// sent looks at nothing: the connection may be closed by now.
func (*raw) sent(error) {}

// message is m as it stands on a stream.
func message(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

// readsAll is a transaction of n ranges over all keys.
func readsAll(n int) *etcdserverpb.TxnRequest {
	txn := &etcdserverpb.TxnRequest{}
	for range n {
		txn.Success = append(txn.Success, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestRange{
			RequestRange: &etcdserverpb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}},
		}})
	}
	return txn
}
