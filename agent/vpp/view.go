package vpp

import (
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"

	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/memif"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

type interfaceIndex = interface_types.InterfaceIndex

// VPP's device classes, as sw_interface_details names them.
const devLoopback = "Loopback"

// vtrPop1 is L2_VTR_POP_1 of VPP's src/vnet/l2/l2_vtr.h.
const vtrPop1 = 3

// view is what of a snapshot is ours.
type view struct {
	ours    []*iface
	objects map[model.Tag]model.Object
	users   map[uint32]int // memif socket id: interfaces on it
	byIndex map[uint32]*iface
	byID    map[model.ID]*iface
	snap    *snapshot
	// dead are indexes that routes lead to and no interface has.
	dead []uint32
}

// view finds our interfaces in a snapshot.
func (v *VPP) view(snap *snapshot) *view {
	w := &view{
		objects: map[model.Tag]model.Object{},
		users:   map[uint32]int{},
		byIndex: map[uint32]*iface{},
		snap:    snap,
	}
	for _, m := range snap.memifs {
		w.users[m.SocketID]++
	}
	seen := map[model.Tag]bool{}
	for _, d := range snap.interfaces {
		tag := v.tagOf(snap, d)
		kind := snap.kind(uint32(d.SwIfIndex))
		if tag == "" || kind == 0 || seen[tag] {
			continue
		}
		seen[tag] = true
		i := newIface(d, tag)
		i.id = model.ID{Kind: kind, Name: string(tag)}
		w.ours = append(w.ours, i)
		w.byIndex[i.idx] = i
	}
	for _, i := range w.ours {
		w.objects[i.tag] = v.interfaceObject(w, i)
	}
	return w
}

// tagOf is an interface's tag if it is ours, or the name made up for a leftover:
// a memif on a socket of ours without a tag of ours, since its creation was cut
// short or somebody renamed it. The name is made from the socket, not from the
// sw_if_index, which is no identity.
func (v *VPP) tagOf(snap *snapshot, d *interfaces.SwInterfaceDetails) model.Tag {
	if model.Ours(d.Tag) {
		return snap.tag(d)
	}
	m := snap.memifs[uint32(d.SwIfIndex)]
	if m == nil || d.Type == interface_types.IF_API_TYPE_SUB {
		return ""
	}
	path := snap.sockets[m.SocketID]
	if !v.ourSocket(path) {
		return ""
	}
	return leftoverTag(path, m.ID)
}

// tag is an interface's tag without what stands behind it in VPP.
func (snap *snapshot) tag(d *interfaces.SwInterfaceDetails) model.Tag {
	switch snap.kind(uint32(d.SwIfIndex)) { //nolint:exhaustive // the others' tags are as they stand
	case model.KindMemif, model.KindVhostUser:
		tag, _ := model.ParseLabel(d.Tag)
		return tag
	case model.KindSubInterface:
		if parent := snap.byIndex[d.SupSwIfIndex]; parent != nil {
			return model.ParseSubLabel(d.Tag, parent.Tag, d.SubOuterVlanID)
		}
	}
	return model.Tag(d.Tag)
}

// secretMark tells which secret a memif was made with.
func (v *VPP) secretMark(i *iface) model.Mark {
	_, mark := model.ParseLabel(i.mark)
	switch {
	case mark != "" && model.Ours(i.mark):
		return mark
	case v.index.wasMarked(i):
		return model.LostMark
	case i.link:
		return model.UnmarkedJoined
	default:
		return model.Unmarked
	}
}

// leftoverTag names an untagged memif under the socket root.
func leftoverTag(path string, id uint32) model.Tag {
	h := fnv.New128a()
	_, _ = h.Write([]byte(path)) // never fails
	_, _ = h.Write(binary.BigEndian.AppendUint32([]byte{0}, id))
	return model.LeftoverTag(hex.EncodeToString(h.Sum(nil)))
}

// ourSocket says whether a memif socket is ours by its path.
func (v *VPP) ourSocket(path string) bool {
	root := v.cfg.SocketRoot
	return root != "" && filepath.Clean(path) == path && strings.HasPrefix(path, strings.TrimSuffix(root, "/")+"/")
}

func newIface(d *interfaces.SwInterfaceDetails, tag model.Tag) *iface {
	i := &iface{
		idx: uint32(d.SwIfIndex), tag: tag, mark: d.Tag, name: d.InterfaceName, mac: model.MAC(d.L2Address),
		up:   d.Flags&interface_types.IF_STATUS_API_FLAG_ADMIN_UP != 0,
		link: d.Flags&interface_types.IF_STATUS_API_FLAG_LINK_UP != 0,
	}
	if len(d.Mtu) > 0 {
		i.mtu = d.Mtu[0]
	}
	return i
}

// kind is what sort of object an interface is, 0 for one that we never make.
func (snap *snapshot) kind(idx uint32) model.Kind {
	d := snap.byIndex[idx]
	switch {
	case d.Type == interface_types.IF_API_TYPE_SUB:
		return model.KindSubInterface
	case snap.memifs[idx] != nil:
		return model.KindMemif
	case snap.vhosts[idx] != nil:
		return model.KindVhostUser
	case d.InterfaceDevType == devLoopback:
		return model.KindLoopback
	default:
		return 0
	}
}

// interfaceObject is an interface of ours as a model object.
func (v *VPP) interfaceObject(w *view, i *iface) model.Object {
	switch i.id.Kind {
	case model.KindMemif:
		m := w.snap.memifs[i.idx]
		master := m.Role == memif.MEMIF_ROLE_API_MASTER
		path := w.snap.sockets[m.SocketID]
		return model.Memif{
			Tag: i.tag, Socket: path, Master: master,
			IPMode: m.Mode == memif.MEMIF_MODE_API_IP,
			MAC:    i.mac, Mark: v.secretMark(i),
			Deaf: master && !i.link && v.ourSocket(path) && missing(path),
		}
	case model.KindVhostUser:
		u := w.snap.vhosts[i.idx]
		return model.VhostUser{
			Tag: i.tag, Socket: u.SockFilename, Server: u.IsServer, MAC: i.mac,
			Deaf: u.IsServer && !i.link && v.ourSocket(u.SockFilename) && missing(u.SockFilename),
		}
	case model.KindLoopback:
		return model.Loopback{Tag: i.tag, MAC: i.mac}
	case model.KindSubInterface:
		d := w.snap.byIndex[i.idx]
		sub := model.SubInterface{Tag: i.tag, VLAN: d.SubOuterVlanID, Popped: d.VtrOp == vtrPop1}
		if parent := w.byIndex[d.SupSwIfIndex]; parent != nil {
			sub.Parent = parent.id
		}
		return sub
	default:
		return nil
	}
}

// missing says whether a socket's file is gone, so that nobody can connect to
// it any more.
func missing(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}
