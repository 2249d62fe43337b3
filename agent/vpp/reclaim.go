package vpp

import (
	"context"
	"slices"

	"github.com/sirupsen/logrus"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/memif"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// place is where an interface stood: VPP gives an index again, and a name too,
// but seldom both to another interface.
type place struct {
	idx  uint32
	name string
}

// loss is where an interface stood, and the tag in VPP that it had there.
type loss struct {
	at    place
	label string
}

// Reclaim gives interfaces among wanted their tags back where somebody has
// changed or removed them in VPP, so that what is connected to them stays
// connected. It returns them as they were found, by their identities. An
// interface without its tag is known by where it stands: a memif or vhost-user by
// its socket under the socket root, a sub-interface by its parent and VLAN, a
// loopback by the MAC address that is made from its tag. One that has another tag
// of ours may be what an earlier sandbox of the pod has left: it is reclaimed
// only if it had the wanted tag before our eyes.
func (v *VPP) Reclaim(ctx context.Context, wanted []model.Object) map[model.ID]model.Object {
	s, err := v.session()
	if err != nil {
		return nil
	}
	v.structure.Lock()
	defer v.structure.Unlock()
	snap, err := s.take(ctx)
	if err != nil {
		v.log.WithField("err", err).Warn("interfaces without their tags not looked for")
		return nil
	}
	r := reclaim{v: v, snap: snap}
	r.survey()
	had := map[model.ID]model.Object{}
	for _, kind := range []model.Kind{model.KindMemif, model.KindVhostUser, model.KindLoopback, model.KindSubInterface} {
		for _, o := range wanted {
			d := r.find(o, kind)
			if d == nil {
				continue
			}
			label, ok := r.label(d, o)
			if !ok || d.Tag == label {
				continue
			}
			old := snap.tag(d)
			if err := v.retag(ctx, s, d, label); err != nil {
				v.log.WithField("err", err).WithField("interface", d.InterfaceName).Warn("interface keeps a tag that is not its own")
				continue
			}
			had[o.ID()] = model.Renamed(o, old)
		}
	}
	return had
}

// retag sets an interface's tag. VPP frees the one that was there
// (vnet_set_sw_interface_tag) and sends no event of it.
func (v *VPP) retag(ctx context.Context, s *session, d *interfaces.SwInterfaceDetails, label string) error {
	_, err := ask[*interfaces.SwInterfaceTagAddDelReply](ctx, s, &interfaces.SwInterfaceTagAddDel{
		IsAdd: true, SwIfIndex: d.SwIfIndex, Tag: label,
	})
	if err != nil {
		return err
	}
	tag, _ := model.ParseLabel(label)
	was, _ := model.ParseLabel(d.Tag)
	v.log.WithFields(logrus.Fields{"interface": d.InterfaceName, "tag": tag, "was": was}).Warn("interface had lost its tag, it has it back")
	d.Tag = label
	return nil
}

// reclaim is a snapshot, seen by places.
type reclaim struct {
	v         *VPP
	snap      *snapshot
	memifs    map[string]uint32 // socket path: sw_if_index
	vhosts    map[string]uint32
	loopbacks map[model.MAC]uint32
	subs      map[subPlace]uint32
}

type subPlace struct {
	parent uint32
	vlan   uint16
}

// survey finds what stands where. Of two at one place none is told from the
// other, and neither is touched.
func (r *reclaim) survey() {
	r.memifs, r.vhosts = map[string]uint32{}, map[string]uint32{}
	r.loopbacks, r.subs = map[model.MAC]uint32{}, map[subPlace]uint32{}
	for _, d := range r.snap.interfaces {
		idx := uint32(d.SwIfIndex)
		switch m := r.snap.memifs[idx]; {
		case d.Type == interface_types.IF_API_TYPE_SUB:
			once(r.subs, subPlace{d.SupSwIfIndex, d.SubOuterVlanID}, idx)
		case m != nil && m.ID == 0:
			once(r.memifs, r.snap.sockets[m.SocketID], idx)
		case r.snap.vhosts[idx] != nil:
			once(r.vhosts, r.snap.vhosts[idx].SockFilename, idx)
		case d.InterfaceDevType == devLoopback:
			once(r.loopbacks, model.MAC(d.L2Address), idx)
		}
	}
}

func once[K comparable](m map[K]uint32, key K, idx uint32) {
	if _, twice := m[key]; twice {
		idx = none
	}
	m[key] = idx
}

// find is the interface at the place of a wanted one of a kind, nil for none.
func (r *reclaim) find(o model.Object, kind model.Kind) *interfaces.SwInterfaceDetails {
	if o.ID().Kind != kind {
		return nil
	}
	idx, ok := none, false
	switch w := o.(type) {
	case model.Memif:
		idx, ok = r.memifs[w.Socket]
		ok = ok && r.v.ourSocket(w.Socket) && r.sameMemif(idx, w)
	case model.VhostUser:
		idx, ok = r.vhosts[w.Socket]
		ok = ok && r.v.ourSocket(w.Socket) && idx != none && r.snap.vhosts[idx].IsServer == w.Server
	case model.Loopback:
		idx, ok = r.loopbacks[w.MAC]
		ok = ok && w.MAC != model.MAC{}
	case model.SubInterface:
		if parent := r.byTag(w.Parent.Name); parent != nil {
			idx, ok = r.subs[subPlace{uint32(parent.SwIfIndex), w.VLAN}]
		}
	}
	if !ok {
		return nil
	}
	return r.snap.byIndex[idx]
}

func (r *reclaim) byTag(tag string) *interfaces.SwInterfaceDetails {
	for _, d := range r.snap.interfaces { // tags change underway
		if string(r.snap.tag(d)) == tag {
			return d
		}
	}
	return nil
}

func (r *reclaim) sameMemif(idx uint32, w model.Memif) bool {
	m := r.snap.memifs[idx]
	return m != nil && (m.Role == memif.MEMIF_ROLE_API_MASTER) == w.Master && (m.Mode == memif.MEMIF_MODE_API_IP) == w.IPMode
}

// label is the tag in VPP that the interface at the place of o must have, if it
// is o: the one it had before our eyes, else o's name alone. A memif whose tag we
// have never seen bears no mark then: nobody knows what secret it was made with.
func (r *reclaim) label(d *interfaces.SwInterfaceDetails, o model.Object) (string, bool) {
	tag := model.Tag(o.ID().Name)
	if label, ok := r.v.index.had(tag, place{uint32(d.SwIfIndex), d.InterfaceName}); ok {
		return label, true
	}
	return string(tag), !model.Ours(d.Tag)
}

// had is the tag in VPP that the interface at a place has had and lost.
func (x *index) had(tag model.Tag, at place) (string, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	l, ok := x.lost[tag]
	return l.label, ok && l.at == at
}

// wasMarked says whether an interface has had a mark before our eyes.
func (x *index) wasMarked(i *iface) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	var labels []string
	at := place{i.idx, i.name}
	if old := x.byTag[i.tag]; old != nil && (place{old.idx, old.name}) == at {
		labels = append(labels, old.mark)
	}
	if l := x.lost[i.tag]; l.at == at { // a dump has seen the loss already
		labels = append(labels, l.label)
	}
	return slices.ContainsFunc(labels, func(label string) bool {
		_, mark := model.ParseLabel(label)
		return mark != ""
	})
}

// losses are the tags that interfaces have lost since the last dump or earlier.
func (x *index) losses(snap *snapshot) map[model.Tag]loss {
	lost := map[model.Tag]loss{}
	note := func(tag model.Tag, l loss) {
		if d := snap.byIndex[l.at.idx]; d != nil && d.InterfaceName == l.at.name && d.Tag != l.label {
			lost[tag] = l
		}
	}
	for tag, l := range x.lost {
		note(tag, l)
	}
	for tag, i := range x.byTag {
		at := place{i.idx, i.name}
		if _, mark := model.ParseLabel(i.mark); mark == "" && lost[tag].at == at {
			continue // it had lost its mark before it lost its tag
		}
		if model.Ours(i.mark) {
			note(tag, loss{at, i.mark})
		}
	}
	return lost
}
