package vpp

import (
	"context"
	"fmt"

	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"golang.org/x/sync/errgroup"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// PutAll is Put for many objects, none of which stands on another of them, and
// returns an error for each.
//
// After a restart of VPP a thousand attachments are five thousand calls, and a
// goroutine, a stream and a wake-up for each cost as much as VPP's own work. So
// what is plain goes out in rounds, many requests over one stream: memif sockets
// that VPP does not have, memifs on them that it does not have either, bridge
// members and admin-ups of interfaces that are known. All else, and what VPP
// refused of that, is left to Put, which knows what to make of it. What VPP did
// not answer is not tried again.
func (v *VPP) PutAll(ctx context.Context, want, have []model.Object) []error {
	b := &batch{v: v, want: want, errs: make([]error, len(want)), undecided: make([]bool, len(want))}
	b.plain(ctx)
	var g errgroup.Group
	for _, left := range b.left() {
		g.Go(func() error {
			for _, n := range left {
				if err := ctx.Err(); err != nil { // nothing more is begun
					b.fail(n, err)
					continue
				}
				b.errs[n] = v.Put(ctx, want[n], have[n])
			}
			return nil
		})
	}
	_ = g.Wait() // the errors stand in b.errs
	return b.errs
}

// left are the objects that are left to Put. Memifs on one socket come together,
// to be put in turn: while the create of one fails, that of another on the same id
// would say 0 and listen nowhere.
func (b *batch) left() [][]int {
	var out [][]int
	sockets := map[string]int{}
	for n, o := range b.want {
		if !b.undecided[n] {
			continue
		}
		m, ok := o.(model.Memif)
		at, seen := sockets[m.Socket]
		if ok && seen {
			out[at] = append(out[at], n)
			continue
		}
		if ok {
			sockets[m.Socket] = len(out)
		}
		out = append(out, []int{n})
	}
	return out
}

// batch is one PutAll.
type batch struct {
	v    *VPP
	s    *session
	want []model.Object
	errs []error
	// undecided are the objects that are left to Put.
	undecided []bool
}

// call is an object's request in a round.
type call struct {
	n   int // the object's number
	req api.Message
}

// plain puts what is plain. It holds neither lock nor gate when it returns, since
// Put takes them itself.
func (b *batch) plain(ctx context.Context) {
	for n := range b.want {
		b.undecided[n] = true
	}
	var err error
	if b.s, err = b.v.knowing(ctx); err != nil {
		for n := range b.want {
			b.fail(n, err)
		}
		return
	}
	b.sockets(ctx)
	b.memifs(ctx)
	b.members(ctx)
	b.adminUps(ctx)
}

// round carries calls out. ok gets the reply of each that VPP did not refuse,
// refused the error of each that it did; all others have failed.
func (b *batch) round(ctx context.Context, calls []call, ok func(c call, reply api.Message), refused func(c call, err error)) error {
	reqs := make([]api.Message, 0, len(calls))
	for _, c := range calls {
		reqs = append(reqs, c.req)
	}
	replies, err := b.s.round(ctx, reqs)
	if err != nil {
		for _, c := range calls {
			b.fail(c.n, err)
		}
		return err
	}
	for i, c := range calls {
		if err := retval(c.req.GetMessageName(), replies[i]); err != nil {
			refused(c, err)
			continue
		}
		ok(c, replies[i])
	}
	return nil
}

func (b *batch) done(n int) { b.undecided[n], b.errs[n] = false, nil }

func (b *batch) fail(n int, err error) {
	b.undecided[n], b.errs[n] = false, fmt.Errorf("put %s: %w", b.want[n].ID(), err)
}

// leave lets Put have what VPP refused.
func (b *batch) leave(call, error) {}

// sockets adds the sockets that VPP does not have.
func (b *batch) sockets(ctx context.Context) {
	b.v.structure.RLock()
	defer b.v.structure.RUnlock()
	var calls []call
	claimed := map[int]*socket{}
	for n, o := range b.want {
		want, ok := o.(model.Socket)
		if !ok || checkPath(want.Path, maxMemifPath) != nil {
			continue
		}
		// Put finds one that is there, or waits for whoever adds it.
		if sock, mine := b.v.index.claim(want.Path); mine {
			claimed[n] = sock
			calls = append(calls, call{n, &memif.MemifSocketFilenameAddDelV2{IsAdd: true, SocketID: sock.id, SocketFilename: want.Path}})
		}
	}
	settled := func(c call, ok bool) {
		b.v.index.settled(b.want[c.n].(model.Socket).Path, claimed[c.n], ok)
	}
	err := b.round(ctx, calls,
		func(c call, _ api.Message) { settled(c, true); b.done(c.n) },
		func(c call, _ error) { settled(c, false) })
	if err != nil {
		for _, c := range calls {
			settled(c, false)
		}
	}
}

// members puts interfaces into bridge domains that are there.
func (b *batch) members(ctx context.Context) {
	var calls []call
	for n, o := range b.want {
		want, ok := o.(model.BridgeMember)
		if !ok {
			continue
		}
		_, there := b.v.index.bridge(want.DomainID)
		if i, known := b.v.index.lookup(model.Tag(want.Interface.Name)); known && !i.doubtful && there {
			calls = append(calls, call{n, &l2.SwInterfaceSetL2Bridge{
				RxSwIfIndex: interfaceIndex(i.idx), BdID: want.DomainID, PortType: l2.L2_API_PORT_TYPE_NORMAL, Enable: true,
			}})
		}
	}
	_ = b.round(ctx, calls, func(c call, _ api.Message) { b.done(c.n) }, b.leave)
}

// adminUps sets interfaces admin-up, never beside creates of memifs.
func (b *batch) adminUps(ctx context.Context) {
	var calls []call
	memifs := false
	for n, o := range b.want {
		want, ok := o.(model.AdminUp)
		if !ok {
			continue
		}
		if i, known := b.v.index.lookup(model.Tag(want.Interface.Name)); known && !i.doubtful {
			memifs = memifs || i.id.Kind == model.KindMemif
			calls = append(calls, call{n, &interfaces.SwInterfaceSetFlags{
				SwIfIndex: interfaceIndex(i.idx), Flags: interface_types.IF_STATUS_API_FLAG_ADMIN_UP,
			}})
		}
	}
	if memifs {
		b.v.gate.enter(flipping)
		defer func() { b.v.gate.leave(flipping, b.v.index.settle()) }()
	}
	_ = b.round(ctx, calls, func(c call, _ api.Message) {
		b.v.index.change(uint32(c.req.(*interfaces.SwInterfaceSetFlags).SwIfIndex), func(i *iface) { i.up = true })
		b.done(c.n)
	}, b.leave)
}
