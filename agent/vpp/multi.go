package vpp

import (
	"context"
	"fmt"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/core"
)

// dumpReplies is how many replies of one dump may wait unread. GoVPP drops a
// reply without telling when its reader is this far behind for 100 ms, and a
// dump with a hole looks like drift.
const dumpReplies = 1 << 16

// maxReplies bounds the messages of one dump, and with it the memory that a VPP
// can make us take whose dump does not end. 10,000 attachments with their
// addresses and routes are under 200,000.
const maxReplies = 1 << 20

// multi sends any number of requests at once, hands every message that comes
// back to on, in VPP's order, and returns when all have been answered. VPP
// works off one client's requests in turn, so the reply to a control ping sent
// last is the end.
func (s *session) multi(ctx context.Context, op string, reqs []api.Message, on func(api.Message)) error {
	if len(reqs) == 0 {
		return nil
	}
	x, err := s.open(ctx, op, core.WithReplySize(dumpReplies))
	if err != nil {
		return err
	}
	defer x.close()
	x.waiting = 1
	// The first goes out before anything is received: a GoVPP stream learns from
	// it, after writing it, in which package to look replies up.
	if err := x.send(reqs[0]); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		for _, req := range reqs[1:] {
			if err := x.send(req); err != nil {
				x.cancel()
				sent <- fmt.Errorf("%s: %w", req.GetMessageName(), err)
				return
			}
		}
		err := x.send(&memclnt.ControlPing{})
		if err != nil {
			x.cancel()
		}
		sent <- err
	}()
	for n := 0; ; n++ {
		msg, err := x.receive()
		if err == nil && n > maxReplies {
			err = fmt.Errorf("%s: over %d messages came", op, maxReplies)
			x.cancel() // what still writes requests
		}
		if err != nil {
			if sendErr := <-sent; sendErr != nil {
				return sendErr
			}
			return err
		}
		if _, last := msg.(*memclnt.ControlPingReply); last {
			x.waiting = 0
			return <-sent
		}
		on(msg)
	}
}
