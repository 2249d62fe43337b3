package vpp

import (
	"context"
	"errors"
	"fmt"

	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/binapi/vhost_user"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// errUnanswered is a dump that names not even what every VPP has.
var errUnanswered = errors.New("VPP did not answer")

// none is VPP's ~0: no index, or all of them.
const none = ^uint32(0)

// snapshot is the structure of VPP at one moment: all that is made and removed
// under the structure lock, ours and foreign, read in one round trip.
type snapshot struct {
	interfaces []*interfaces.SwInterfaceDetails
	byIndex    map[uint32]*interfaces.SwInterfaceDetails
	memifs     map[uint32]*memif.MemifDetails
	sockets    map[uint32]string // memif socket id: path
	vhosts     map[uint32]*vhost_user.SwInterfaceVhostUserDetails
	bridges    map[uint32]*l2.BridgeDomainDetails
	member     map[uint32]uint32 // sw_if_index: bd_id
	tables     map[tableKey]string
	lenders    map[uint32]uint32 // sw_if_index: whose addresses it uses
}

// take reads a snapshot. The caller holds the structure lock.
func (s *session) take(ctx context.Context) (*snapshot, error) {
	snap := &snapshot{
		byIndex: map[uint32]*interfaces.SwInterfaceDetails{},
		memifs:  map[uint32]*memif.MemifDetails{},
		sockets: map[uint32]string{},
		vhosts:  map[uint32]*vhost_user.SwInterfaceVhostUserDetails{},
		bridges: map[uint32]*l2.BridgeDomainDetails{},
		member:  map[uint32]uint32{},
		tables:  map[tableKey]string{},
		lenders: map[uint32]uint32{},
	}
	reqs := []api.Message{
		&interfaces.SwInterfaceDump{SwIfIndex: ^interfaceIndex(0)},
		&memif.MemifSocketFilenameDump{},
		&memif.MemifDump{},
		&l2.BridgeDomainDump{BdID: none, SwIfIndex: ^interfaceIndex(0)},
		&ip.IPTableDump{},
		&ip.IPUnnumberedDump{SwIfIndex: ^interfaceIndex(0)},
	}
	if s.hasVhost() {
		reqs = append(reqs, &vhost_user.SwInterfaceVhostUserDump{SwIfIndex: ^interfaceIndex(0)})
	}
	if err := s.multi(ctx, "dump of interfaces", reqs, snap.read); err != nil {
		return nil, err
	}
	// A dump's end is told by the ping behind it alone: one that was not answered
	// looks like one that found nothing. Every VPP has local0.
	if len(snap.interfaces) == 0 {
		return nil, fmt.Errorf("dump of interfaces: %w", errUnanswered)
	}
	return snap, nil
}

func (snap *snapshot) read(msg api.Message) {
	switch m := msg.(type) {
	case *interfaces.SwInterfaceDetails:
		snap.interfaces = append(snap.interfaces, m)
		snap.byIndex[uint32(m.SwIfIndex)] = m
	case *memif.MemifSocketFilenameDetails:
		// Id 0 is VPP's own, in its runtime directory, which may be the socket
		// root: it cannot be deleted, and what stands on it is not ours.
		if m.SocketID != 0 {
			snap.sockets[m.SocketID] = m.SocketFilename
		}
	case *memif.MemifDetails:
		snap.memifs[uint32(m.SwIfIndex)] = m
	case *vhost_user.SwInterfaceVhostUserDetails:
		snap.vhosts[uint32(m.SwIfIndex)] = m
	case *l2.BridgeDomainDetails:
		snap.bridges[m.BdID] = m
		for _, i := range m.SwIfDetails {
			snap.member[uint32(i.SwIfIndex)] = m.BdID
		}
	case *ip.IPTableDetails:
		snap.tables[tableKey{m.Table.TableID, m.Table.IsIP6}] = m.Table.Name
	case *ip.IPUnnumberedDetails:
		snap.lenders[uint32(m.SwIfIndex)] = uint32(m.IPSwIfIndex)
	}
}

// refresh reads VPP's structure into the index.
func (v *VPP) refresh(ctx context.Context) error {
	s, err := v.session()
	if err != nil {
		return err
	}
	_, err = v.look(ctx, s)
	return err
}

// look takes a snapshot and fills the index from it.
func (v *VPP) look(ctx context.Context, s *session) (*view, error) {
	v.structure.Lock()
	defer v.structure.Unlock()
	snap, err := s.take(ctx)
	if err != nil {
		return nil, fmt.Errorf("read VPP's interfaces: %w", err)
	}
	seen := v.view(snap)
	// A session that ended meanwhile must not fill the index of the next one.
	if current, err := v.session(); err != nil || current != s {
		return nil, fmt.Errorf("read VPP's interfaces: %w", ErrDown)
	}
	v.index.fill(snap, seen)
	return seen, nil
}

// fill replaces what is known by what was seen.
func (x *index) fill(snap *snapshot, seen *view) {
	x.mu.Lock()
	defer x.mu.Unlock()
	fresh := x.sockets // what was added since the last dump
	lost, vanished := x.losses(snap), x.gone(snap)
	x.reset()
	x.known, x.lost, x.vanished = true, lost, vanished
	for _, i := range seen.ours {
		x.put(*i, seen.objects[i.tag])
	}
	for id, path := range snap.sockets {
		x.ids[id] = true
		if twin := x.sockets[path]; twin != nil {
			twin.also = append(twin.also, id)
			twin.users += seen.users[id]
			if seen.users[id] > 0 { // the id with an interface is the one to use
				last := len(twin.also) - 1
				twin.id, twin.also[last] = twin.also[last], twin.id
			}
			continue
		}
		old := fresh[path]
		x.sockets[path] = &socket{id: id, users: seen.users[id], fresh: old != nil && old.id == id && old.fresh}
	}
	for id, bd := range snap.bridges {
		x.bridges[id] = model.Ours(bd.BdTag)
	}
	for key, name := range snap.tables {
		x.tables[key] = model.Ours(name)
	}
}
