package vpp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.fd.io/govpp/api"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// Kinds are all kinds but the directories of sockets and the agent's own sockets,
// which are not in VPP.
func (v *VPP) Kinds() []model.Kind {
	kinds := make([]model.Kind, 0, len(model.Kinds()))
	for _, k := range model.Kinds() {
		if k != model.KindDirectory && k != model.KindGatewaySocket {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// Put makes want so in VPP. have is what a Dump found under the same ID, nil
// for nothing. Putting once more what is there is no error.
func (v *VPP) Put(ctx context.Context, want, have model.Object) error {
	err := v.twice(ctx, func(s *session) error { return v.put(ctx, s, want, have) })
	if err != nil {
		return fmt.Errorf("put %s: %w", want.ID(), err)
	}
	return nil
}

// Delete removes have from VPP. That it is gone already is no error.
func (v *VPP) Delete(ctx context.Context, have model.Object) error {
	err := v.twice(ctx, func(s *session) error { return v.remove(ctx, s, have) })
	if err != nil {
		return fmt.Errorf("delete %s: %w", have.ID(), err)
	}
	return nil
}

// twice carries out op, and once more on fresh knowledge if VPP was not as the
// index had it.
func (v *VPP) twice(ctx context.Context, op func(*session) error) error {
	s, err := v.knowing(ctx)
	if err != nil {
		return err
	}
	err = op(s)
	if !stale(err) {
		return err
	}
	if _, lookErr := v.look(ctx, s); lookErr != nil {
		return errors.Join(err, lookErr)
	}
	return op(s)
}

// knowing is the connection to a VPP that was read since it came up.
func (v *VPP) knowing(ctx context.Context) (*session, error) {
	s, err := v.session()
	if err == nil && !v.index.isKnown() {
		_, err = v.look(ctx, s)
	}
	return s, err
}

func (v *VPP) put(ctx context.Context, s *session, want, have model.Object) error {
	switch o := want.(type) {
	case model.Table:
		return v.structural(func() error { return v.putTable(ctx, s, o) })
	case model.BridgeDomain:
		return v.structural(func() error { return v.putBridgeDomain(ctx, s, o, have) })
	case model.Loopback:
		return v.putInterface(ctx, s, o.Tag, o)
	case model.Socket:
		return v.structural(func() error { return v.putSocket(ctx, s, o) })
	case model.Memif:
		return v.putInterface(ctx, s, o.Tag, o)
	case model.VhostUser:
		return v.putInterface(ctx, s, o.Tag, o)
	case model.SubInterface:
		return v.putInterface(ctx, s, o.Tag, o)
	case model.InterfaceTable:
		return v.putInterfaceTable(ctx, s, o)
	case model.MTU:
		return v.putMTU(ctx, s, o)
	case model.Address:
		return v.putAddress(ctx, s, o)
	case model.Unnumbered:
		return v.putUnnumbered(ctx, s, o)
	case model.BridgeMember:
		return v.putBridgeMember(ctx, s, o)
	case model.AdminUp:
		return v.putAdminUp(ctx, s, o)
	case model.Route:
		return v.putRoute(ctx, s, o)
	case model.Neighbor:
		return v.putNeighbor(ctx, s, o)
	default:
		return terminal("VPP has no objects of kind %s", want.ID().Kind)
	}
}

func (v *VPP) remove(ctx context.Context, s *session, have model.Object) error {
	switch o := have.(type) {
	case model.Table:
		return v.structural(func() error { return v.deleteTable(ctx, s, o) })
	case model.BridgeDomain:
		return v.structural(func() error { return v.deleteBridgeDomain(ctx, s, o) })
	case model.Socket:
		return v.structural(func() error { return v.deleteSocket(ctx, s, o) })
	case model.Loopback, model.Memif, model.VhostUser, model.SubInterface:
		return v.deleteInterface(ctx, s, have)
	case model.InterfaceTable:
		return v.deleteInterfaceTable(ctx, s, o)
	case model.MTU:
		return v.deleteMTU(ctx, s, o)
	case model.Address:
		return v.deleteAddress(ctx, s, o)
	case model.Unnumbered:
		return v.deleteUnnumbered(ctx, s, o)
	case model.BridgeMember:
		return v.deleteBridgeMember(ctx, s, o)
	case model.AdminUp:
		return v.deleteAdminUp(ctx, s, o)
	case model.Route:
		return v.deleteRoute(ctx, s, o)
	case model.Neighbor:
		return v.deleteNeighbor(ctx, s, o)
	default:
		return terminal("VPP has no objects of kind %s", have.ID().Kind)
	}
}

// structural runs what makes or removes interfaces, sockets, bridge domains or
// tables, never beside a dump of them.
func (v *VPP) structural(op func() error) error {
	v.structure.RLock()
	defer v.structure.RUnlock()
	return op()
}

// resolve is the interface of an object, which must be there.
func (v *VPP) resolve(ctx context.Context, s *session, id model.ID) (iface, error) {
	i, ok, err := v.present(ctx, s, id)
	if err != nil {
		return iface{}, err
	}
	if !ok {
		return iface{}, fmt.Errorf("%w: %s", errUnknownInterface, id)
	}
	return i, nil
}

// present is the interface of an object if it is there.
func (v *VPP) present(ctx context.Context, s *session, id model.ID) (iface, bool, error) {
	i, ok := v.index.lookup(model.Tag(id.Name))
	if !ok || !i.doubtful {
		return i, ok, nil
	}
	return v.verify(ctx, s, i)
}

// verify asks VPP whether the interface still has its index.
func (v *VPP) verify(ctx context.Context, s *session, i iface) (iface, bool, error) {
	d, err := s.details(ctx, i.idx)
	if err != nil {
		return iface{}, false, fmt.Errorf("look up %s: %w", i.id, err)
	}
	if d == nil || d.Tag != i.mark || d.InterfaceName != i.name {
		v.index.vanish(i.idx)
		v.index.forget(i.tag)
		return iface{}, false, nil
	}
	v.index.change(i.idx, func(k *iface) { k.doubtful = false })
	i.doubtful = false
	return i, true, nil
}

// absent drops an error that says that what is to be deleted is not there.
func absent(err error) error {
	if isRetval(err, api.NO_SUCH_ENTRY, api.NO_SUCH_FIB, api.ADDRESS_NOT_FOUND_FOR_INTERFACE) {
		return nil
	}
	return err
}

// cleanup is a context for undoing what a call began, even if the caller has
// given up.
func (v *VPP) cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), v.cfg.CallTimeout+time.Second)
}
