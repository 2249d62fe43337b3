package vppsim

import (
	"sort"

	govpp "go.fd.io/govpp/api"
	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"

	"github.com/vpp-cni/vpp-cni/test/vppsim/api"
)

// eventBits is what happened to one interface in one turn of the main thread.
// VPP sends one sw_interface_event for all of it, which tells only what came
// up: it carries no other state (src/vnet/interface_api.c).
type eventBits uint8

const (
	eventAdd eventBits = 1 << iota
	eventDelete
	eventAdminUp
	eventAdminDown
	eventLinkUp
	eventLinkDown
)

type events struct {
	pending map[uint32]eventBits
	wanted  []subscription // in the order of asking
}

type subscription struct {
	client *api.Client
	pid    uint32
}

func (e *events) note(index uint32, what eventBits) {
	if e.pending == nil {
		e.pending = make(map[uint32]eventBits)
	}
	e.pending[index] |= what
}

func (e *events) find(c *api.Client) int {
	for n, s := range e.wanted {
		if s.client == c {
			return n
		}
	}
	return -1
}

func (e *events) forget(c *api.Client) {
	if n := e.find(c); n >= 0 {
		e.wanted = append(e.wanted[:n], e.wanted[n+1:]...)
	}
}

func (v *vpp) registerEvents() {
	onClient(v, v.wantInterfaceEvents)
}

// wantInterfaceEvents holds for its connection. Asking twice and ending what
// was not asked for are errors.
func (v *vpp) wantInterfaceEvents(c *api.Client, q *interfaces_api.WantInterfaceEvents, _ *interfaces_api.WantInterfaceEventsReply) retval {
	asked := v.events.find(c) >= 0
	if asked == (q.EnableDisable != 0) {
		return govpp.INVALID_REGISTRATION
	}
	if asked {
		v.events.forget(c)
		return ok
	}
	v.events.wanted = append(v.events.wanted, subscription{client: c, pid: q.PID})
	return ok
}

// flushEvents sends what happened in this turn, by sw_if_index.
func (v *vpp) flushEvents() {
	if len(v.events.pending) == 0 {
		return
	}
	happened := v.events.pending
	v.events.pending = nil
	if len(v.events.wanted) == 0 {
		return
	}
	indexes := make([]uint32, 0, len(happened))
	for index := range happened {
		indexes = append(indexes, index)
	}
	sort.Slice(indexes, func(i, j int) bool { return indexes[i] < indexes[j] })
	for _, index := range indexes {
		for _, s := range v.events.wanted {
			s.client.Send(happened[index].message(index, s.pid), 0)
		}
	}
}

func (e eventBits) message(index, pid uint32) *interfaces_api.SwInterfaceEvent {
	m := &interfaces_api.SwInterfaceEvent{
		PID:       pid,
		SwIfIndex: interface_types.InterfaceIndex(index),
		Deleted:   e&eventDelete != 0,
	}
	if e&eventAdminUp != 0 {
		m.Flags |= interface_types.IF_STATUS_API_FLAG_ADMIN_UP
	}
	if e&eventLinkUp != 0 {
		m.Flags |= interface_types.IF_STATUS_API_FLAG_LINK_UP
	}
	return m
}
