package vppsim

import (
	"strings"

	"github.com/sirupsen/logrus"
	govpp "go.fd.io/govpp/api"

	"github.com/vpp-cni/vpp-cni/test/vppsim/api"
)

// retval is VPP's word for how a request went; 0 is success, the others are
// those of src/vnet/error.h.
type retval = govpp.VPPApiError

const ok retval = 0

// handler does what one message asks for, in a turn of the main thread.
type handler func(c *api.Client, r api.Request)

// handlers is the dispatch table, by message name.
type handlers map[string]handler

// message is a pointer to one of GoVPP's generated message structs.
type message[T any] interface {
	*T
	govpp.Message
}

// onRequest registers a request with one reply. Whatever f returns goes into
// the reply's retval.
func onRequest[Q, R any, PQ message[Q], PR message[R]](v *vpp, f func(PQ, PR) retval) {
	onClient(v, func(_ *api.Client, q PQ, r PR) retval { return f(q, r) })
}

// onClient is onRequest for requests that mean their client.
func onClient[Q, R any, PQ message[Q], PR message[R]](v *vpp, f func(*api.Client, PQ, PR) retval) {
	v.handlers[PQ(new(Q)).GetMessageName()] = func(c *api.Client, r api.Request) {
		req, reply := PQ(new(Q)), PR(new(R))
		if !v.decode(r, req) {
			return
		}
		rv := f(c, req, reply)
		if rv != ok {
			v.log.WithFields(logrus.Fields{"message": r.Entry.Name, "retval": int32(rv)}).Debug("request refused")
		}
		if !v.dead() {
			c.Reply(reply, r.Context, int32(rv))
		}
	}
}

// onDump registers a dump: a request that any number of details answer.
func onDump[Q any, PQ message[Q]](v *vpp, f func(q PQ, send func(govpp.Message))) {
	v.handlers[PQ(new(Q)).GetMessageName()] = func(c *api.Client, r api.Request) {
		req := PQ(new(Q))
		if !v.decode(r, req) {
			return
		}
		f(req, func(details govpp.Message) { c.Send(details, r.Context) })
	}
}

// decode reads a request. A message that is too short for its type is not
// answered: VPP checks the sizes and drops it.
func (v *vpp) decode(r api.Request, msg govpp.Message) bool {
	if err := r.Decode(msg); err != nil {
		v.log.WithFields(logrus.Fields{"message": r.Entry.Name, "err": err}).Warn("broken message dropped")
		return false
	}
	return true
}

// admit counts the message and lets the faults have it. Like VPP it says
// nothing to an id without a handler or to a client index that is not the
// sender's.
func (v *vpp) admit(c *api.Client, r api.Request) bool {
	if r.Entry == nil {
		v.log.WithField("id", r.ID).Warn("no handler for message id")
		return false
	}
	switch act := v.faults.meet(r.Entry.Name, v.quit); act.kind {
	case actDie:
		v.crash("fault: die on " + r.Entry.Name)
		return false
	case actIgnore:
		return false
	case actRefuse:
		v.refuse(c, r, act.retval)
		return false
	case actServe:
	}
	if v.dead() {
		return false
	}
	if r.ClientIndex != c.Index() && r.Entry.Name != "sockclnt_create" {
		v.log.WithFields(logrus.Fields{"message": r.Entry.Name, "id": r.ClientIndex}).Warn("unknown client index")
		return false
	}
	return true
}

// refuse answers with the reply of the message and nothing but a retval in it.
// A dump has no reply: refused, it gives no details.
func (v *vpp) refuse(c *api.Client, r api.Request, rv retval) {
	reply := v.table.Lookup(r.Entry.Name + "_reply")
	if reply == nil {
		return
	}
	c.Reply(reply.New(), r.Context, int32(rv))
}

// unimplemented answers what VPP has and the simulator has not, so that a
// client does not wait for ever.
func (v *vpp) unimplemented(c *api.Client, r api.Request) {
	v.log.WithField("message", r.Entry.Name).Warn("message not simulated")
	if !strings.HasSuffix(r.Entry.Name, "_reply") {
		v.refuse(c, r, govpp.UNIMPLEMENTED)
	}
}
