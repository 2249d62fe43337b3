package vpp

import (
	"context"
	"errors"
	"fmt"

	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/l2"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// createSubInterface makes an 802.1Q sub-interface of one exact VLAN that takes
// its tag off on the way in.
func (v *VPP) createSubInterface(ctx context.Context, s *session, o model.SubInterface) error {
	parent, err := v.resolve(ctx, s, o.Parent)
	if err != nil {
		return err
	}
	reply, err := ask[*interfaces.CreateVlanSubifReply](ctx, s, &interfaces.CreateVlanSubif{
		SwIfIndex: interfaceIndex(parent.idx), VlanID: uint32(o.VLAN),
	})
	if err != nil {
		return fmt.Errorf("VLAN %d of %s: %w", o.VLAN, parent.name, err)
	}
	idx := uint32(reply.SwIfIndex)
	if err := s.popTag(ctx, idx); err != nil {
		cctx, cancel := v.cleanup(ctx)
		defer cancel()
		return errors.Join(err, s.deleteIndex(cctx, model.KindSubInterface, idx))
	}
	return v.adopt(ctx, s, idx, o.Tag, o)
}

func (s *session) popTag(ctx context.Context, idx uint32) error {
	_, err := ask[*l2.L2InterfaceVlanTagRewriteReply](ctx, s, &l2.L2InterfaceVlanTagRewrite{
		SwIfIndex: interfaceIndex(idx), VtrOp: vtrPop1,
	})
	return err
}
