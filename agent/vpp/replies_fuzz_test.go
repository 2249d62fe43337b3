package vpp_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.fd.io/govpp/adapter/socketclient"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/core"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

const (
	frameHeader = 16 // of VPP's API socket: the length stands at 8
	callTimeout = 200 * time.Millisecond
	// flood is how often a message comes that does not end.
	flood   = 50_000
	endless = 254
)

// liar stands between the driver and a VPP and changes what VPP answers.
type liar struct {
	tb     testing.TB
	l      net.Listener
	target string

	mu     sync.Mutex
	script []byte // what is left of it; each lie takes three bytes
	conns  []net.Conn
	wg     sync.WaitGroup
}

func startLiar(tb testing.TB, target string, script []byte) *liar {
	tb.Helper()
	l, err := net.Listen("unix", filepath.Join(tb.TempDir(), "liar.sock"))
	if err != nil {
		tb.Fatal(err)
	}
	r := &liar{tb: tb, l: l, target: target, script: script}
	r.wg.Go(r.accept)
	return r
}

func (r *liar) path() string { return r.l.Addr().String() }

func (r *liar) close() {
	_ = r.l.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *liar) accept() {
	for {
		front, err := r.l.Accept()
		if err != nil {
			return
		}
		back, err := net.Dial("unix", r.target)
		if err != nil {
			_ = front.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, front, back)
		r.mu.Unlock()
		r.wg.Go(func() { _, _ = io.Copy(back, front); _ = back.Close() })
		r.wg.Go(func() { r.answer(front, back); _ = front.Close(); _ = back.Close() })
	}
}

// answer hands VPP's messages on, each with the script's next lie.
func (r *liar) answer(front io.Writer, back io.Reader) {
	for {
		var header [frameHeader]byte
		if _, err := io.ReadFull(back, header[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint32(header[8:]))
		if _, err := io.ReadFull(back, msg); err != nil {
			return
		}
		if !r.tell(front, header, msg) {
			return
		}
	}
}

func (r *liar) next() (op, at, value byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.script) < 3 {
		return 0, 0, 0
	}
	op, at, value = r.script[0], r.script[1], r.script[2]
	r.script = r.script[3:]
	return op, at, value
}

// tell writes one message; false ends the connection.
func (r *liar) tell(w io.Writer, header [frameHeader]byte, msg []byte) bool {
	op, at, value := r.next()
	where := int(at) % (len(msg) + 1)
	times := 1
	switch op % 16 {
	case 1: // another id
		binary.BigEndian.PutUint16(msg, uint16(at)<<8|uint16(value))
	case 2: // another context
		if len(msg) >= 6 {
			binary.BigEndian.PutUint32(msg[2:], uint32(at)<<17|uint32(value))
		}
	case 3: // cut short
		msg = msg[:where]
	case 4: // a huge number
		if where+4 <= len(msg) {
			binary.BigEndian.PutUint32(msg[where:], 0xffffffff)
		}
	case 5: // another byte
		if where < len(msg) {
			msg[where] = value
		}
	case 6: // longer than it is
		msg = append(msg, make([]byte, int(value)*64)...)
	case 7: // not at all
		return true
	case 8: // twice
		times = 2
	case 9: // without end, or nearly so
		times = flood
		if value == endless {
			times = math.MaxInt
		}
	case 10: // a length that is a lie
		binary.BigEndian.PutUint32(header[8:], uint32(value)<<24|uint32(at))
		_, _ = w.Write(append(header[:], msg...))
		return true
	case 11: // half of it, and the end
		_, _ = w.Write(append(header[:], msg[:where/2]...))
		return false
	case 12: // the end
		return false
	case 13: // strings without an end
		for i := where; i < len(msg) && i < where+64; i++ {
			msg[i] = 'x'
		}
	case 14: // a large number that is not all ones
		if where+4 <= len(msg) {
			binary.BigEndian.PutUint32(msg[where:], uint32(value)<<20)
		}
	}
	binary.BigEndian.PutUint32(header[8:], uint32(len(msg)))
	frame := append(header[:], msg...)
	for range times {
		if _, err := w.Write(frame); err != nil {
			return false
		}
	}
	return true
}

// FuzzReplies lets a VPP with interfaces of ours tell lies, in any order: other
// ids and contexts, cut and endless messages, huge counts, other tags, dumps that
// do not end, a broken connection. The driver's calls end in their time, with
// whatever error, it takes no more memory than a dump may, and it ends when it is
// told to.
func FuzzReplies(f *testing.F) {
	f.Add([]byte{})           // nothing but the truth
	for message := range 20 { // of the dumps: interfaces, sockets, memifs
		f.Add(append(make([]byte, 3*(5+message)), 13, 70, 0)) // a tag without an end
	}
	for op := range byte(16) {
		for _, at := range []byte{0, 2, 6, 10, 20} {
			f.Add([]byte{op, at, 255})                                              // in the greeting
			f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, op, at, 255})          // in the first dump
			f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, op, at, 255}) // in its second message
		}
	}
	sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(f.TempDir(), "api.sock")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(sim.Close)
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 300 {
			return
		}
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := sim.Restart(); err != nil {
			t.Fatal(err)
		}
		o := furnish(t, sim.APISocket())
		r := startLiar(t, sim.APISocket(), script)
		defer r.close()
		v := vpp.New(vpp.Config{Socket: r.path(), RunDir: "/run/vpp-cni", CallTimeout: callTimeout})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = v.Run(ctx) }()
		for range 20 {
			if v.Info().Connected {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		for _, c := range calls(v, o) {
			start := time.Now()
			_ = c.call(ctx)
			if took := time.Since(start); took > 10*time.Second { // a call may take several round trips
				t.Errorf("%s took %v", c.name, took)
			}
		}
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("the driver does not end")
		}
		var after runtime.MemStats
		runtime.ReadMemStats(&after)
		if after.Sys > before.Sys+(1<<30) {
			t.Errorf("%d MB more memory", (after.Sys-before.Sys)>>20)
		}
	})
}

// patient is a driver whose calls have a minute, connected through a liar with a
// script.
func patient(t *testing.T, socket string, script []byte) *vpp.VPP {
	t.Helper()
	r := startLiar(t, socket, script)
	v := vpp.New(vpp.Config{Socket: r.path(), RunDir: "/run/vpp-cni", CallTimeout: time.Minute})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = v.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; r.close() })
	for !v.Info().Connected {
		time.Sleep(time.Millisecond)
	}
	return v
}

// TestNoLies: where nothing is a lie the calls of FuzzReplies find what stands in
// VPP, give net2 its mark and its tag back, and put net1 in a leftover's place.
func TestNoLies(t *testing.T) {
	sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(t.TempDir(), "api.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	o := furnish(t, sim.APISocket())
	v, ctx := patient(t, sim.APISocket(), nil), t.Context()
	net2, net3 := netMemif("net2"), netMemif("net3")
	steps := map[string]struct {
		mark      model.Mark // of net2; empty: its own
		leftovers int
	}{
		"dump":             {"", 2},
		"loss of the mark": {model.LostMark, 2},
		"loss of the tag":  {"", 3},
		"reclaim":          {"", 1},
		"put and delete":   {"", 0},
	}
	for _, c := range calls(v, o) {
		if err := c.call(ctx); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		want, ok := steps[c.name]
		if !ok {
			continue
		}
		objects, err := v.Dump(ctx)
		if err != nil {
			t.Fatal(err)
		}
		have, leftovers := map[model.ID]model.Object{}, 0
		for _, o := range objects {
			have[o.ID()] = o
			if model.Leftover(o.ID()) {
				leftovers++
			}
		}
		if leftovers != want.leftovers {
			t.Errorf("after %s: %d leftovers, want %d", c.name, leftovers, want.leftovers)
		}
		m, there := have[net2.ID()].(model.Memif)
		if lost := c.name == "loss of the tag"; there == lost {
			t.Errorf("after %s: net2 is found: %t", c.name, there)
		} else if other := model.OtherSecret(net2, m); there && (other != (want.mark != "") || other && m.Mark != want.mark) {
			t.Errorf("after %s: net2 is %+v, with another secret: %t", c.name, m, other)
		}
		if sub := have[model.ID{Kind: model.KindSubInterface, Name: string(model.SubTag(net2.Tag, 100))}]; sub == nil {
			t.Errorf("after %s: no sub-interface of net2", c.name)
		}
		if _, reclaimed := have[net3.ID()]; reclaimed != (want.leftovers < 2) {
			t.Errorf("after %s: net3 has its tag: %t", c.name, reclaimed)
		}
	}
}

// TestDumpWithoutEnd: a dump that never ends is an error, however long a call
// may take.
func TestDumpWithoutEnd(t *testing.T) {
	sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(t.TempDir(), "api.sock")})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	script := append(make([]byte, 3*5), 9, 0, endless) // the first message after the greeting's
	v, ctx := patient(t, sim.APISocket(), script), t.Context()
	if _, err = v.Dump(ctx); err == nil || !strings.Contains(err.Error(), "over 1048576 messages") {
		t.Errorf("a dump without end: %v", err)
	}
}

const podDir = "/run/vpp-cni/pods/p"

// netMemif is an attachment's memif. It is a slave: a master would make its socket.
func netMemif(ifname string) model.Memif {
	return model.Memif{
		Tag: model.AttachmentTag(ifname, "c"), Socket: podDir + "/" + ifname + ".memif",
		MAC: model.MAC{2, 0, 0, 0, 0, 1}, Secret: model.NewSecret("hunter2"),
	}
}

// operator is somebody else who speaks to VPP, without lies.
type operator struct {
	interfaces interfaces.RPCService
	memif      memif.RPCService
	// net2 is the index of the memif with a tag.
	net2 interface_types.InterfaceIndex
}

// furnish has VPP hold what the driver finds: net2, a memif of ours with its mark,
// a VLAN sub-interface on it, and in the places of net1 and net3 leftovers, memifs
// that have no tag.
func furnish(tb testing.TB, socket string) *operator {
	tb.Helper()
	conn, err := core.Connect(socketclient.NewVppClient(socket))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(conn.Disconnect)
	o := &operator{interfaces: interfaces.NewServiceClient(conn), memif: memif.NewServiceClient(conn)}
	ctx := context.Background()
	for n, m := range []model.Memif{netMemif("net1"), netMemif("net2"), netMemif("net3")} {
		id := uint32(n + 1)
		_, err = o.memif.MemifSocketFilenameAddDelV2(ctx, &memif.MemifSocketFilenameAddDelV2{IsAdd: true, SocketID: id, SocketFilename: m.Socket})
		if err != nil {
			tb.Fatal(err)
		}
		var made *memif.MemifCreateV2Reply
		made, err = o.memif.MemifCreateV2(ctx, &memif.MemifCreateV2{Role: memif.MEMIF_ROLE_API_SLAVE, SocketID: id})
		if err != nil {
			tb.Fatal(err)
		}
		if id == 2 {
			o.net2 = made.SwIfIndex
		}
	}
	sub, err := o.interfaces.CreateVlanSubif(ctx, &interfaces.CreateVlanSubif{SwIfIndex: o.net2, VlanID: 100})
	if err != nil {
		tb.Fatal(err)
	}
	err = errors.Join(
		o.tag(ctx, o.net2, model.Label(netMemif("net2"))),
		o.tag(ctx, sub.SwIfIndex, string(model.SubTag(netMemif("net2").Tag, 100))))
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

// tag sets an interface's tag, or removes it.
func (o *operator) tag(ctx context.Context, idx interface_types.InterfaceIndex, tag string) error {
	_, err := o.interfaces.SwInterfaceTagAddDel(ctx, &interfaces.SwInterfaceTagAddDel{IsAdd: tag != "", SwIfIndex: idx, Tag: tag})
	return err
}

type named struct {
	name string
	call func(context.Context) error
}

// calls are what the agents ask of VPP, with what somebody else does meanwhile.
func calls(v *vpp.VPP, o *operator) []named {
	m := netMemif("net1")
	net2, net3 := netMemif("net2"), netMemif("net3")
	return []named{
		{"dump", func(ctx context.Context) error { _, err := v.Dump(ctx); return err }},
		{"loss of the mark", func(ctx context.Context) error { return o.tag(ctx, o.net2, string(net2.Tag)) }},
		{"refresh", v.RefreshInterfaces},
		{"loss of the tag", func(ctx context.Context) error { return o.tag(ctx, o.net2, "") }},
		{"reclaim", func(ctx context.Context) error {
			sub := model.SubInterface{Tag: model.SubTag(net2.Tag, 100), Parent: net2.ID(), VLAN: 100}
			v.Reclaim(ctx, []model.Object{net2, sub, net3})
			return nil
		}},
		{"put and delete", func(ctx context.Context) error {
			objects := []model.Object{
				model.BridgeDomain{DomainID: 7},
				model.Socket{Path: m.Socket},
				m,
				model.MTU{Interface: m.ID(), Bytes: 1500},
				model.Address{Interface: m.ID(), Prefix: netip.MustParsePrefix("10.0.0.2/24")},
				model.Route{Prefix: netip.MustParsePrefix("10.9.0.0/16"), Interface: m.ID(), NextHop: netip.MustParseAddr("10.0.0.1")},
			}
			var errs []error
			for _, o := range objects {
				errs = append(errs, v.Put(ctx, o, nil))
			}
			for i := range objects {
				errs = append(errs, v.Delete(ctx, objects[len(objects)-1-i]))
			}
			return errors.Join(errs...)
		}},
	}
}
