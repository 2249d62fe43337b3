package vpp

import (
	"context"
	"errors"
	"fmt"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/binapi/vhost_user"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// putInterface makes an interface, changes it or leaves it as it is.
func (v *VPP) putInterface(ctx context.Context, s *session, tag model.Tag, want model.Object) error {
	if err := check(want); err != nil {
		return err
	}
	have, ok := v.index.object(tag)
	if ok {
		i, _ := v.index.lookup(tag)
		var err error
		if _, ok, err = v.verify(ctx, s, i); err != nil {
			return err
		}
	}
	if !ok {
		return v.create(ctx, s, want)
	}
	switch want.Compare(have) {
	case model.Same:
		return nil
	case model.Update:
		return v.update(ctx, s, tag, want, have)
	case model.Replace:
		if err := v.deleteInterface(ctx, s, have); err != nil {
			return err
		}
		return v.create(ctx, s, want)
	default:
		return terminal("no way from what VPP has to what is wanted")
	}
}

// check refuses what VPP must not be asked for.
func check(want model.Object) error {
	switch o := want.(type) {
	case model.Memif:
		return checkMemif(o)
	case model.VhostUser:
		return checkPath(o.Socket, maxVhostPath)
	case model.SubInterface:
		if o.VLAN < 1 || o.VLAN > 4094 {
			return terminal("VLAN %d is not in 1..4094", o.VLAN)
		}
	}
	return nil
}

func (v *VPP) create(ctx context.Context, s *session, want model.Object) error {
	return v.structural(func() error {
		switch o := want.(type) {
		case model.Memif:
			return v.createMemif(ctx, s, o)
		case model.VhostUser:
			return v.createVhostUser(ctx, s, o)
		case model.Loopback:
			return v.createLoopback(ctx, s, o)
		case model.SubInterface:
			return v.createSubInterface(ctx, s, o)
		default:
			return terminal("VPP has no interfaces of kind %s", want.ID().Kind)
		}
	})
}

// update changes what can be changed on a standing interface.
func (v *VPP) update(ctx context.Context, s *session, tag model.Tag, want, have model.Object) error {
	i, err := v.resolve(ctx, s, have.ID())
	if err != nil {
		return err
	}
	switch o := want.(type) {
	case model.Memif:
		err = v.setMAC(ctx, s, i, o.MAC)
	case model.VhostUser:
		err = v.setMAC(ctx, s, i, o.MAC)
	case model.Loopback:
		err = v.setMAC(ctx, s, i, o.MAC)
	case model.SubInterface:
		err = s.popTag(ctx, i.idx)
	}
	if err != nil {
		return err
	}
	v.index.replace(tag, want)
	return nil
}

func (v *VPP) setMAC(ctx context.Context, s *session, i iface, mac model.MAC) error {
	_, err := ask[*interfaces.SwInterfaceSetMacAddressReply](ctx, s, &interfaces.SwInterfaceSetMacAddress{
		SwIfIndex: interfaceIndex(i.idx), MacAddress: ethernet_types.MacAddress(mac),
	})
	if err != nil {
		return err
	}
	v.index.change(i.idx, func(k *iface) { k.mac = mac })
	return nil
}

// adopt tags an interface that was just made and takes it into the index. What
// cannot be tagged is deleted again, so that nothing stays that nobody owns.
func (v *VPP) adopt(ctx context.Context, s *session, idx uint32, tag model.Tag, want model.Object) error {
	err := v.dropDeadRoutes(ctx, s, idx)
	if err == nil {
		err = v.describe(ctx, s, idx, tag, want)
	}
	if err == nil {
		return nil
	}
	cctx, cancel := v.cleanup(ctx)
	defer cancel()
	if undo := s.deleteIndex(cctx, want.ID().Kind, idx); undo != nil {
		return errors.Join(err, fmt.Errorf("remove it again: %w", undo))
	}
	return err
}

func (v *VPP) describe(ctx context.Context, s *session, idx uint32, tag model.Tag, want model.Object) error {
	if want.ID().Kind != model.KindVhostUser { // that one comes with its tag
		_, err := ask[*interfaces.SwInterfaceTagAddDelReply](ctx, s, tagRequest(idx, want))
		if err != nil {
			return err
		}
	}
	if i, ok := v.foresee(idx, want); ok {
		v.index.add(i, want)
		return nil
	}
	d, err := s.details(ctx, idx)
	if err != nil {
		return err
	}
	if d == nil {
		return fmt.Errorf("%w: it was gone as soon as it was made", errUnknownInterface)
	}
	i := newIface(d, tag)
	i.id = want.ID()
	v.index.add(*i, want)
	return nil
}

// foresee is what VPP makes of a memif, where it has nothing to choose: a full
// pass makes a thousand, and need not ask for each.
func (v *VPP) foresee(idx uint32, want model.Object) (iface, bool) {
	m, ok := want.(model.Memif)
	if !ok || m.MAC == (model.MAC{}) && !m.IPMode {
		return iface{}, false
	}
	sock, ok := v.index.socketOf(m.Socket)
	if !ok {
		return iface{}, false
	}
	i := iface{
		idx: idx, tag: m.Tag, mark: model.Label(m), id: m.ID(),
		name: fmt.Sprintf("memif%d/0", sock.id), mtu: defaultMTU(m),
	}
	if !m.IPMode {
		i.mac = m.MAC
	}
	return i, true
}

// details is an interface as VPP has it, nil if there is none of this index.
func (s *session) details(ctx context.Context, idx uint32) (*interfaces.SwInterfaceDetails, error) {
	if idx == 0 {
		return nil, nil // local0, and for VPP the filter 0 means all
	}
	var found *interfaces.SwInterfaceDetails
	err := s.multi(ctx, "sw_interface_dump",
		[]api.Message{&interfaces.SwInterfaceDump{SwIfIndex: interfaceIndex(idx)}},
		func(m api.Message) {
			if d, ok := m.(*interfaces.SwInterfaceDetails); ok && uint32(d.SwIfIndex) == idx {
				found = d
			}
		})
	return found, err
}

// deleteInterface removes an interface after asking VPP whether the index is
// still its own: a wrong one would be somebody else's interface.
func (v *VPP) deleteInterface(ctx context.Context, s *session, have model.Object) error {
	return v.structural(func() error {
		i, ok := v.index.lookup(model.Tag(have.ID().Name))
		if !ok {
			return nil
		}
		i, ok, err := v.verify(ctx, s, i)
		if err != nil || !ok {
			return err
		}
		if i.id.Kind == model.KindMemif {
			v.gate.enter(flipping)
			defer v.gate.leave(flipping, v.index.settle())
		}
		if err := s.deleteIndex(ctx, i.id.Kind, i.idx); err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
		v.index.deleted(i.tag)
		if o, vhost := have.(model.VhostUser); vhost && o.Server {
			v.unlinkStale(o.Socket)
		}
		return nil
	})
}

// deleteIndex removes the interface of an index, whatever it is. That there is
// none any more is no error.
func (s *session) deleteIndex(ctx context.Context, kind model.Kind, idx uint32) error {
	var err error
	i := interfaceIndex(idx)
	switch kind {
	case model.KindMemif:
		_, err = ask[*memif.MemifDeleteReply](ctx, s, &memif.MemifDelete{SwIfIndex: i})
	case model.KindVhostUser:
		_, err = ask[*vhost_user.DeleteVhostUserIfReply](ctx, s, &vhost_user.DeleteVhostUserIf{SwIfIndex: i})
	case model.KindLoopback:
		_, err = ask[*interfaces.DeleteLoopbackReply](ctx, s, &interfaces.DeleteLoopback{SwIfIndex: i})
	case model.KindSubInterface:
		_, err = ask[*interfaces.DeleteSubifReply](ctx, s, &interfaces.DeleteSubif{SwIfIndex: i})
	default:
		return terminal("VPP has no interfaces of kind %s", kind)
	}
	if isRetval(err, api.INVALID_SW_IF_INDEX) {
		return nil
	}
	return err
}

func (v *VPP) putAdminUp(ctx context.Context, s *session, a model.AdminUp) error {
	i, err := v.resolve(ctx, s, a.Interface)
	if err != nil {
		return err
	}
	return v.setAdmin(ctx, s, i, true)
}

func (v *VPP) deleteAdminUp(ctx context.Context, s *session, a model.AdminUp) error {
	i, ok, err := v.present(ctx, s, a.Interface)
	if err != nil || !ok {
		return err
	}
	return v.setAdmin(ctx, s, i, false)
}

func (v *VPP) setAdmin(ctx context.Context, s *session, i iface, up bool) error {
	if i.id.Kind == model.KindMemif {
		v.gate.enter(flipping)
		defer v.gate.leave(flipping, v.index.settle())
	}
	var flags interface_types.IfStatusFlags
	if up {
		flags = interface_types.IF_STATUS_API_FLAG_ADMIN_UP
	}
	_, err := ask[*interfaces.SwInterfaceSetFlagsReply](ctx, s, &interfaces.SwInterfaceSetFlags{
		SwIfIndex: interfaceIndex(i.idx), Flags: flags,
	})
	if err != nil {
		return err
	}
	v.index.change(i.idx, func(k *iface) { k.up = up })
	return nil
}

// defaultMTU is the L3 MTU in bytes that VPP gives a new interface: 9000 to an
// Ethernet one, none (0) to an ip-mode memif, and 0 to a sub-interface, which
// then has its parent's.
func defaultMTU(o model.Object) uint32 {
	switch i := o.(type) {
	case model.SubInterface:
		return 0
	case model.Memif:
		if i.IPMode {
			return 0
		}
	}
	return 9000
}

func (v *VPP) putMTU(ctx context.Context, s *session, m model.MTU) error {
	i, err := v.resolve(ctx, s, m.Interface)
	if err != nil {
		return err
	}
	return v.setMTU(ctx, s, i, m.Bytes)
}

func (v *VPP) deleteMTU(ctx context.Context, s *session, m model.MTU) error {
	i, ok, err := v.present(ctx, s, m.Interface)
	if err != nil || !ok {
		return err
	}
	obj, _ := v.index.object(i.tag)
	return v.setMTU(ctx, s, i, defaultMTU(obj))
}

// setMTU sets the L3 MTU; those of single protocols stay 0, for none of their own.
func (v *VPP) setMTU(ctx context.Context, s *session, i iface, bytes uint32) error {
	_, err := ask[*interfaces.SwInterfaceSetMtuReply](ctx, s, &interfaces.SwInterfaceSetMtu{
		SwIfIndex: interfaceIndex(i.idx), Mtu: []uint32{bytes, 0, 0, 0},
	})
	if err != nil {
		return err
	}
	v.index.change(i.idx, func(k *iface) { k.mtu = bytes })
	return nil
}
