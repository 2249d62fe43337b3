package vppsim_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	govpp "go.fd.io/govpp/api"
	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/binapi/vhost_user"
	"go.fd.io/govpp/codec"
)

// rawClient speaks to the API socket byte by byte.
type rawClient struct {
	conn  net.Conn
	index uint32
	ids   map[string]uint16
	first uint16
	count int
}

func rawDial(tb testing.TB, path string) *rawClient {
	tb.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	c := &rawClient{conn: conn, ids: map[string]uint16{}}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	hello, err := codec.EncodeMsg(&memclnt.SockclntCreate{Name: "fuzz"}, 15)
	if err != nil {
		tb.Fatal(err)
	}
	c.send(hello)
	var reply memclnt.SockclntCreateReply
	if err := codec.DecodeMsg(c.receive(tb), &reply); err != nil {
		tb.Fatal(err)
	}
	c.index, c.first = reply.Index, 64
	for _, e := range reply.MessageTable {
		c.ids[e.Name] = e.Index
	}
	c.count = len(reply.MessageTable)
	return c
}

func (c *rawClient) send(msg []byte) {
	frame := make([]byte, 16, 16+len(msg))
	binary.BigEndian.PutUint32(frame[8:], uint32(len(msg)))
	_, _ = c.conn.Write(append(frame, msg...)) // a VPP that has ended takes nothing
}

func (c *rawClient) receive(tb testing.TB) []byte {
	tb.Helper()
	header := make([]byte, 16)
	if _, err := io.ReadFull(c.conn, header); err != nil {
		tb.Fatal(err)
	}
	msg := make([]byte, binary.BigEndian.Uint32(header[8:]))
	if _, err := io.ReadFull(c.conn, msg); err != nil {
		tb.Fatal(err)
	}
	return msg
}

// FuzzMessages sends requests with contents of any sort, of any length and in
// any order. The simulator does not break, except where VPP itself does (then it
// says so by ending its life), and answers the next client.
func FuzzMessages(f *testing.F) {
	sim := start(f)
	c := rawDial(f, sim.APISocket())
	_ = c.conn.Close()
	// A script is length, place in the table, and content behind the header.
	add := func(msgs ...govpp.Message) {
		var script []byte
		for _, m := range msgs {
			data, err := codec.EncodeMsg(m, 0)
			if err != nil {
				f.Fatal(err)
			}
			id := c.ids[m.GetMessageName()+"_"+m.GetCrcString()] - c.first
			script = binary.BigEndian.AppendUint16(append(script, byte(len(data)-10)), id)
			script = append(script, data[10:]...)
		}
		f.Add(script)
	}
	all := ^interface_types.InterfaceIndex(0)
	add(&interfaces_api.SwInterfaceDump{SwIfIndex: all}, &ip.IPTableDump{}, &l2.BridgeDomainDump{BdID: ^uint32(0), SwIfIndex: all}, &memif.MemifDump{})
	add(&memif.MemifSocketFilenameAddDelV2{IsAdd: true, SocketID: 1, SocketFilename: "m.sock"}, &memif.MemifCreateV2{SocketID: 1, RingSize: 1 << 30, BufferSize: 65535},
		&interfaces_api.SwInterfaceSetFlags{SwIfIndex: 1, Flags: 1}, &memif.MemifDelete{SwIfIndex: 1})
	add(&memif.MemifCreateV2{Mode: memif.MEMIF_MODE_API_PUNT_INJECT})
	add(&l2.BridgeDomainAddDelV2{BdID: ^uint32(0), IsAdd: true}, &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: all, BdID: 1, Enable: true})
	add(&ip.IPRouteAddDelV2{IsAdd: true, Route: ip.IPRouteV2{NPaths: 255}}, &ip.IPTableAddDelV2{IsAdd: true, Table: ip.IPTable{TableID: ^uint32(0)}})
	add(&vhost_user.CreateVhostUserIfV2{IsServer: true, SockFilename: "v.sock"}, &interfaces_api.CreateSubif{SwIfIndex: 1, OuterVlanID: 65535}, &interfaces_api.DeleteSubif{SwIfIndex: 2})
	sim.Close()
	f.Fuzz(func(t *testing.T, script []byte) {
		if bytes.IndexByte(script, '/') >= 0 {
			return // a socket's path: the simulator would serve it, as VPP does
		}
		sim := start(t)
		c := rawDial(t, sim.APISocket())
		defer func() { _ = c.conn.Close() }()
		go func() { _, _ = io.Copy(io.Discard, c.conn) }()
		for n := 0; len(script) >= 3 && n < 64; n++ {
			size, id := int(script[0]), binary.BigEndian.Uint16(script[1:])
			script = script[3:]
			size = min(size, len(script))
			msg := make([]byte, 10, 10+size)
			binary.BigEndian.PutUint16(msg, c.first+id%uint16(c.count+8)) // some ids that nobody has
			binary.BigEndian.PutUint32(msg[2:], c.index)
			binary.BigEndian.PutUint32(msg[6:], uint32(n))
			c.send(append(msg, script[:size]...))
			script = script[size:]
		}
		if !sim.Alive() {
			return // as VPP
		}
		answers(t, sim)
	})
}

// FuzzStream writes anything at all to the API socket. The next client is
// answered.
func FuzzStream(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 64))
	f.Add(append(append(make([]byte, 8), 0, 0, 0, 2, 0, 0, 0, 0), 0, 15))
	f.Add(append(append(make([]byte, 8), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0), 0, 15))
	f.Add(append(append(make([]byte, 8), 0, 0, 0, 6, 0, 0, 0, 0), 0, 15, 0, 0, 0, 123))
	f.Fuzz(func(t *testing.T, data []byte) {
		sim := start(t)
		conn, err := net.Dial("unix", sim.APISocket())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = conn.Write(data)
		answers(t, sim)
	})
}

// answers wants the answer to a ping of a client that behaves; a VPP that ends
// its life meanwhile owes none.
func answers(t *testing.T, sim interface {
	APISocket() string
	Alive() bool
},
) {
	t.Helper()
	conn, err := net.Dial("unix", sim.APISocket())
	if err == nil {
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		hello, encodeErr := codec.EncodeMsg(&memclnt.SockclntCreate{Name: "next"}, 15)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		c := &rawClient{conn: conn}
		c.send(hello)
		_, err = io.ReadFull(conn, make([]byte, 16))
	}
	if err != nil && sim.Alive() {
		t.Fatalf("the next client is not answered: %v", err)
	}
}
