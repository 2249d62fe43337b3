package vpp

import (
	"context"
	"fmt"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/core"
)

// round sends requests of one GoVPP package that have one reply each over one
// stream, without waiting in between, and returns the replies in the order of
// the requests. One deadline is for all of them.
//
// A reply does not say which request it answers. VPP works off one client's
// requests in turn, so they are told by their number, and only where all have
// come: with one missing, none is returned.
func (s *session) round(ctx context.Context, reqs []api.Message) ([]api.Message, error) {
	if len(reqs) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil { // a free slot may be had all the same
		return nil, err
	}
	// All replies have room in the stream: GoVPP drops one that has none for
	// 100 ms, and nothing is read here before all is written.
	x, err := s.open(ctx, fmt.Sprintf("%d of %s", len(reqs), reqs[0].GetMessageName()), core.WithReplySize(len(reqs)))
	if err != nil {
		return nil, err
	}
	defer x.close()
	for _, req := range reqs {
		if err := x.send(req); err != nil {
			return nil, err
		}
		x.waiting++
	}
	replies := make([]api.Message, 0, len(reqs))
	for _, req := range reqs {
		reply, err := x.receive()
		if err != nil {
			return nil, err
		}
		x.waiting--
		if got, want := reply.GetMessageName(), req.GetMessageName()+"_reply"; got != want {
			return nil, fmt.Errorf("%s: VPP answered with %s", x.op, got)
		}
		replies = append(replies, reply)
	}
	return replies, nil
}
