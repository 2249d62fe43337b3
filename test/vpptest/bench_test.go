package vpptest_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"go.fd.io/govpp/adapter/socketclient"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/core"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

const benchPods = 1000

// fill makes pods in the phases of a full pass, 32 at a time.
func fill(tb testing.TB, v *vpptest.VPP, d *vpp.VPP, objects func(sock string, n int) []model.Object) {
	tb.Helper()
	phases := map[model.Kind][]model.Object{}
	seen := map[model.ID]bool{}
	for n := range benchPods {
		for _, o := range objects(v.Socket(tb, fmt.Sprint(n), "net1"), n) {
			if !seen[o.ID()] {
				seen[o.ID()] = true
				phases[o.ID().Kind] = append(phases[o.ID().Kind], o)
			}
		}
	}
	begin := time.Now()
	for _, k := range model.Kinds() {
		parallel(tb, phases[k], func(o model.Object) error { return d.Put(tb.Context(), o, nil) })
	}
	tb.Logf("made %d pods in %v, %v each", benchPods, time.Since(begin), time.Since(begin)/benchPods)
}

// parallel does jobs, 32 at a time.
func parallel[J any](tb testing.TB, all []J, do func(J) error) {
	tb.Helper()
	jobs := make(chan J)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for j := range jobs {
				if err := do(j); err != nil {
					tb.Error(err)
				}
			}
		})
	}
	for _, j := range all {
		jobs <- j
	}
	close(jobs)
	wg.Wait()
}

func bridged(sock string, n int) []model.Object {
	return attachment(sock, model.Tag(fmt.Sprintf("vpp-cni/net1/%d", n)))
}

func routed(sock string, n int) []model.Object {
	lo := model.Loopback{Tag: tagLoop}
	m := model.Memif{Tag: model.Tag(fmt.Sprintf("vpp-cni/net1/%d", n)), Socket: sock, Master: true}
	return []model.Object{
		lo,
		model.Address{Interface: lo.ID(), Prefix: pfx("10.1.0.1/32")},
		model.AdminUp{Interface: lo.ID()},
		model.Socket{Path: sock},
		m,
		model.Unnumbered{Interface: m.ID(), Lender: lo.ID()},
		model.AdminUp{Interface: m.ID()},
		model.Route{Prefix: pfx(fmt.Sprintf("10.1.%d.%d/32", 1+n/250, 1+n%250)), Interface: m.ID()},
	}
}

// BenchmarkDump reads a whole VPP of 1,000 pods back.
func BenchmarkDump(b *testing.B) {
	for name, objects := range map[string]func(string, int) []model.Object{"bridged": bridged, "routed": routed} {
		b.Run(name, func(b *testing.B) {
			v := vpptest.Start(b)
			d := v.Driver(b)
			fill(b, v, d, objects)
			for b.Loop() {
				if _, err := d.Dump(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFill makes 1,000 bridged pods, and has a bare GoVPP client make the
// same with the same calls: the floor.
func BenchmarkFill(b *testing.B) {
	b.Run("driver", func(b *testing.B) {
		for b.Loop() {
			v := vpptest.Start(b)
			fill(b, v, v.Driver(b), bridged)
		}
	})
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			floor(b, vpptest.Start(b))
		}
	})
}

func floor(b *testing.B, v *vpptest.VPP) {
	b.Helper()
	conn, err := core.Connect(socketclient.NewVppClient(v.APISocket))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Disconnect()
	ctx := b.Context()
	mem, itf, bd := memif.NewServiceClient(conn), interfaces.NewServiceClient(conn), l2.NewServiceClient(conn)
	pods := make([]uint32, benchPods)
	index := make([]interface_types.InterfaceIndex, benchPods)
	sockets := make([]string, benchPods)
	for n := range pods {
		pods[n] = uint32(n)
		sockets[n] = v.Socket(b, fmt.Sprint(n), "net1")
	}
	begin := time.Now()
	_, err = bd.BridgeDomainAddDelV2(ctx, &l2.BridgeDomainAddDelV2{BdID: 10, IsAdd: true, Flood: true, UuFlood: true, Forward: true, Learn: true})
	if err != nil {
		b.Fatal(err)
	}
	for _, call := range []func(n uint32) error{
		func(n uint32) error {
			_, err := mem.MemifSocketFilenameAddDelV2(ctx, &memif.MemifSocketFilenameAddDelV2{IsAdd: true, SocketID: n + 1, SocketFilename: sockets[n]})
			return err
		},
		func(n uint32) error {
			r, err := mem.MemifCreateV2(ctx, &memif.MemifCreateV2{SocketID: n + 1})
			if err != nil {
				return err
			}
			index[n] = r.SwIfIndex
			_, err = itf.SwInterfaceTagAddDel(ctx, &interfaces.SwInterfaceTagAddDel{IsAdd: true, SwIfIndex: r.SwIfIndex, Tag: "bench"})
			return err
		},
		func(n uint32) error {
			_, err := bd.SwInterfaceSetL2Bridge(ctx, &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: index[n], BdID: 10, Enable: true})
			return err
		},
		func(n uint32) error {
			_, err := itf.SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{SwIfIndex: index[n], Flags: interface_types.IF_STATUS_API_FLAG_ADMIN_UP})
			return err
		},
	} {
		parallel(b, pods, call)
	}
	b.Logf("made %d pods in %v, %v each", benchPods, time.Since(begin), time.Since(begin)/benchPods)
}
