package vpp

import (
	"context"
	"errors"
	"fmt"

	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/memif"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// memifs makes the memifs that VPP does not have, and their tags. No dump comes
// between the two, and creates run beside no change of an admin state.
//
// What is begun is finished even where the pass is broken off: a memif without
// its tag is nobody's. It takes the time of two calls at most, or of a third
// where something is undone.
func (b *batch) memifs(ctx context.Context) {
	b.v.structure.RLock()
	defer b.v.structure.RUnlock()
	creates := b.creates(ctx)
	if len(creates) == 0 || ctx.Err() != nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	if undo := b.create(ctx, creates); len(undo) > 0 {
		b.undo(ctx, undo)
	}
}

// creates are the requests for memifs that need nothing but their create and
// their tag: nothing has their name, a master on their socket will listen, and
// what VPP will make of them is known beforehand. There is one for a socket: of
// two, VPP would take the second for one on a listener that does not exist, if
// the first fails.
//
// What stands in the place of a socket that VPP will serve is taken away here.
func (b *batch) creates(ctx context.Context) []call {
	var calls []call
	taken := map[string]bool{}
	for n, o := range b.want {
		want, ok := o.(model.Memif)
		if !ok || taken[want.Socket] || checkMemif(want) != nil {
			continue
		}
		_, there := b.v.index.object(want.Tag)
		sock, known := b.v.index.socketOf(want.Socket)
		ready := known && sock.added == nil && sock.users == 0 && sock.fresh
		if _, foreseen := b.v.foresee(0, want); there || !ready || !foreseen {
			continue
		}
		if want.Master && b.v.cfg.Clear(ctx, want.Socket) != nil {
			continue // Put says what is wrong
		}
		taken[want.Socket] = true
		calls = append(calls, call{n, memifRequest(want, sock.id)})
	}
	return calls
}

// create makes memifs and tags them. It returns those that have to go again.
func (b *batch) create(ctx context.Context, creates []call) []untagged {
	b.v.gate.enter(creating)
	defer b.v.gate.leave(creating, 0)
	made := map[int]uint32{}
	err := b.round(ctx, creates, func(c call, reply api.Message) {
		made[c.n] = uint32(reply.(*memif.MemifCreateV2Reply).SwIfIndex)
	}, func(c call, err error) {
		// On an id whose create failed the next one would say 0 and listen nowhere:
		// Put has it added anew. A memif that stands in the way is another matter.
		if !isRetval(err, api.SUBIF_ALREADY_EXISTS) {
			b.v.index.distrust(b.want[c.n].(model.Memif).Socket)
		}
	})
	if err != nil {
		for _, c := range creates {
			b.v.index.distrust(b.want[c.n].(model.Memif).Socket)
		}
		return nil
	}
	var undo []untagged
	var tags []call
	for _, c := range creates {
		idx, ok := made[c.n]
		if !ok {
			continue
		}
		if !errors.Is(err, ErrDown) { // else VPP answers this one neither
			err = b.v.dropDeadRoutes(ctx, b.s, idx)
		}
		if err != nil {
			undo = append(undo, untagged{c.n, idx, err})
			continue
		}
		tags = append(tags, call{c.n, tagRequest(idx, b.want[c.n])})
	}
	return append(undo, b.tag(ctx, tags, made)...)
}

// tag tags memifs and takes them into the index. It returns those without a tag.
func (b *batch) tag(ctx context.Context, tags []call, made map[int]uint32) []untagged {
	var undo []untagged
	err := b.round(ctx, tags, func(c call, _ api.Message) {
		want := b.want[c.n].(model.Memif)
		if i, ok := b.v.foresee(made[c.n], want); ok { // else Put looks
			b.v.index.add(i, want)
			b.v.index.used(want.Socket, +1)
			b.done(c.n)
		}
	}, func(c call, err error) {
		undo = append(undo, untagged{c.n, made[c.n], err})
	})
	if err != nil {
		for _, c := range tags {
			undo = append(undo, untagged{c.n, made[c.n], err})
		}
	}
	return undo
}

// untagged is a memif that was made and has no tag, and why.
type untagged struct {
	n   int
	idx uint32
	why error
}

// undo deletes memifs that nobody would own. Where it could not be done, what is
// left is found by its socket in the next dump.
func (b *batch) undo(ctx context.Context, memifs []untagged) {
	b.v.gate.enter(flipping)
	defer func() { b.v.gate.leave(flipping, b.v.index.settle()) }()
	reqs := make([]api.Message, 0, len(memifs))
	for _, m := range memifs {
		reqs = append(reqs, &memif.MemifDelete{SwIfIndex: interfaceIndex(m.idx)})
	}
	replies, err := b.s.round(ctx, reqs)
	for i, m := range memifs {
		undone := err
		if err == nil {
			undone = retval("memif_delete", replies[i])
		}
		switch {
		case undone != nil && !isRetval(undone, api.INVALID_SW_IF_INDEX):
			b.fail(m.n, errors.Join(m.why, fmt.Errorf("remove it again: %w", undone)))
		case errors.Is(m.why, ErrDown):
			b.fail(m.n, m.why)
		}
	}
}

// tagRequest sets the tag of an interface that was made as o, with the mark of its
// secret.
func tagRequest(idx uint32, o model.Object) *interfaces.SwInterfaceTagAddDel {
	return &interfaces.SwInterfaceTagAddDel{IsAdd: true, SwIfIndex: interfaceIndex(idx), Tag: model.Label(o)}
}
