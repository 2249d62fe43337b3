package vpp

import (
	"context"
	"errors"
	"fmt"

	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/ip_types"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// errMoved says that VPP changed while it was read.
var errMoved = errors.New("VPP changed while it was read")

// Dump lists what of VPP is ours. It takes two round trips, or three where our
// interfaces stand in somebody else's tables, whatever the number of objects.
//
// Somebody else's bridge domain or table is listed while an interface of ours is
// in it: what is wanted of it is there. Delete leaves it alone.
//
// Attributes are listed where they differ from what VPP gives a new interface:
// an interface in table 0, with the MTU it came with, or down has no object
// for it. Interfaces in a bridge domain are not asked for addresses and tables.
func (v *VPP) Dump(ctx context.Context) ([]model.Object, error) {
	s, err := v.session()
	if err != nil {
		return nil, fmt.Errorf("dump VPP: %w", err)
	}
	w, err := v.look(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("dump VPP: %w", err)
	}
	objects := v.structureObjects(w)
	routed, err := s.dumpRouted(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("dump VPP: %w", err)
	}
	for _, idx := range w.dead {
		v.index.vanish(idx)
	}
	return append(objects, routed...), nil
}

// structureObjects is what the snapshot alone tells.
func (v *VPP) structureObjects(w *view) []model.Object {
	objects := make([]model.Object, 0, 5*len(w.ours)+16)
	for key, name := range w.snap.tables {
		if key.vrf != 0 && model.Ours(name) {
			objects = append(objects, model.Table{VRF: key.vrf, V6: key.v6})
		}
	}
	joined := map[uint32]bool{}
	for _, i := range w.ours {
		if bd, ok := w.snap.member[i.idx]; ok {
			joined[bd] = true
		}
	}
	for id, bd := range w.snap.bridges {
		if ours := model.Ours(bd.BdTag); ours || joined[id] {
			objects = append(objects, model.BridgeDomain{DomainID: id, Changed: ours && !asMade(bd)})
		}
	}
	listed := map[string]bool{}
	for _, path := range w.snap.sockets {
		if v.ourSocket(path) && !listed[path] {
			listed[path] = true
			objects = append(objects, model.Socket{Path: path})
		}
	}
	for _, i := range w.ours {
		objects = append(objects, w.objects[i.tag])
		if i.mtu != defaultMTU(w.objects[i.tag]) {
			objects = append(objects, model.MTU{Interface: i.id, Bytes: i.mtu})
		}
		if i.up {
			objects = append(objects, model.AdminUp{Interface: i.id})
		}
		if bd, ok := w.snap.member[i.idx]; ok {
			objects = append(objects, model.BridgeMember{Interface: i.id, DomainID: bd})
		}
		if lender, ok := w.snap.lenders[i.idx]; ok {
			u := model.Unnumbered{Interface: i.id}
			if l := w.byIndex[lender]; l != nil {
				u.Lender = l.id
			}
			objects = append(objects, u)
		}
	}
	return objects
}

// routedDump gathers what routed interfaces have.
type routedDump struct {
	w       *view
	asked   []*iface // two replies each: ip4, ip6
	tables  map[uint32]map[bool]uint32
	replies int
	objects []model.Object
	routes  map[tableKey]bool // tables whose routes were asked for
}

func (s *session) dumpRouted(ctx context.Context, w *view) ([]model.Object, error) {
	d := &routedDump{w: w, tables: map[uint32]map[bool]uint32{}, routes: map[tableKey]bool{}}
	reqs := d.requests()
	if len(reqs) == 0 {
		return nil, nil
	}
	if err := s.multi(ctx, "dump of addresses and routes", reqs, d.read); err != nil {
		return nil, err
	}
	if d.replies != 2*len(d.asked) {
		return nil, fmt.Errorf("dump of addresses and routes: %w", errMoved)
	}
	if err := s.multi(ctx, "dump of routes", d.foreignTables(), d.read); err != nil {
		return nil, err
	}
	d.finish()
	return d.objects, nil
}

// requests asks for everything of the interfaces that can have addresses.
func (d *routedDump) requests() []api.Message {
	for _, i := range d.w.ours {
		if _, bridged := d.w.snap.member[i.idx]; !bridged {
			d.asked = append(d.asked, i)
		}
	}
	if len(d.asked) == 0 {
		return nil
	}
	var reqs []api.Message
	for _, i := range d.asked {
		idx := interfaceIndex(i.idx)
		reqs = append(reqs,
			&interfaces.SwInterfaceGetTable{SwIfIndex: idx},
			&interfaces.SwInterfaceGetTable{SwIfIndex: idx, IsIPv6: true})
		if _, borrows := d.w.snap.lenders[i.idx]; borrows {
			continue // VPP would list the lender's addresses
		}
		reqs = append(reqs,
			&ip.IPAddressDump{SwIfIndex: idx},
			&ip.IPAddressDump{SwIfIndex: idx, IsIPv6: true})
	}
	for _, af := range []ip_types.AddressFamily{ip_types.ADDRESS_IP4, ip_types.ADDRESS_IP6} {
		reqs = append(reqs, &ip_neighbor.IPNeighborDump{SwIfIndex: ^interfaceIndex(0), Af: af})
	}
	for key, name := range d.w.snap.tables {
		if key.vrf == 0 || model.Ours(name) {
			reqs = append(reqs, d.routesOf(key))
		}
	}
	return reqs
}

func (d *routedDump) routesOf(key tableKey) api.Message {
	d.routes[key] = true
	return &ip.IPRouteV2Dump{Src: sourceAPI, Table: ip.IPTable{TableID: key.vrf, IsIP6: key.v6}}
}

// foreignTables lists the tables that are not ours and have interfaces of ours,
// and asks for their routes.
func (d *routedDump) foreignTables() []api.Message {
	var reqs []api.Message
	for _, tables := range d.tables {
		for v6, vrf := range tables {
			if key := (tableKey{vrf, v6}); !d.routes[key] {
				reqs = append(reqs, d.routesOf(key))
				d.objects = append(d.objects, model.Table{VRF: vrf, V6: v6})
			}
		}
	}
	return reqs
}

func (d *routedDump) read(msg api.Message) {
	switch m := msg.(type) {
	case *interfaces.SwInterfaceGetTableReply:
		d.readTable(m)
	case *ip.IPAddressDetails:
		if i := d.w.byIndex[uint32(m.SwIfIndex)]; i != nil {
			prefix := fromPrefix(ip_types.Prefix(m.Prefix))
			if !prefix.Addr().IsLinkLocalUnicast() || prefix.Addr().Is4() {
				d.objects = append(d.objects, model.Address{Interface: i.id, Prefix: prefix})
			}
		}
	case *ip_neighbor.IPNeighborDetails:
		if i := d.w.byIndex[uint32(m.Neighbor.SwIfIndex)]; i != nil &&
			m.Neighbor.Flags&ip_neighbor.IP_API_NEIGHBOR_FLAG_STATIC != 0 {
			d.objects = append(d.objects, model.Neighbor{
				Interface: i.id,
				Addr:      fromUnion(m.Neighbor.IPAddress.Af, m.Neighbor.IPAddress.Un),
				MAC:       model.MAC(m.Neighbor.MacAddress),
			})
		}
	case *ip.IPRouteV2Details:
		d.w.noteDead(m.Route)
		if r, ok := d.w.route(m.Route); ok {
			d.objects = append(d.objects, r)
		}
	}
}

// readTable takes the replies in the order of the requests: they name no
// interface.
func (d *routedDump) readTable(m *interfaces.SwInterfaceGetTableReply) {
	n := d.replies
	d.replies++
	if n >= 2*len(d.asked) || m.Retval != 0 {
		return
	}
	i, v6 := d.asked[n/2], n%2 == 1
	if m.VrfID == 0 || m.VrfID == none {
		return
	}
	if d.tables[i.idx] == nil {
		d.tables[i.idx] = map[bool]uint32{}
	}
	d.tables[i.idx][v6] = m.VrfID
	d.objects = append(d.objects, model.InterfaceTable{Interface: i.id, VRF: m.VrfID, V6: v6})
}

// finish gives every address the table of its interface.
func (d *routedDump) finish() {
	for n, o := range d.objects {
		if a, ok := o.(model.Address); ok {
			if i, known := d.w.find(a.Interface); known {
				a.VRF = d.tables[i.idx][a.Prefix.Addr().Is6()]
				d.objects[n] = a
			}
		}
	}
}

func (w *view) find(id model.ID) (*iface, bool) {
	if w.byID == nil {
		w.byID = make(map[model.ID]*iface, len(w.ours))
		for _, i := range w.ours {
			w.byID[i.id] = i
		}
	}
	i, ok := w.byID[id]
	return i, ok
}
