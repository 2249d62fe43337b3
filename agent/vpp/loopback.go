package vpp

import (
	"context"

	"go.fd.io/govpp/binapi/ethernet_types"
	interfaces "go.fd.io/govpp/binapi/interface"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

func (v *VPP) createLoopback(ctx context.Context, s *session, l model.Loopback) error {
	reply, err := ask[*interfaces.CreateLoopbackInstanceReply](ctx, s, &interfaces.CreateLoopbackInstance{
		MacAddress: ethernet_types.MacAddress(l.MAC),
	})
	if err != nil {
		return err
	}
	return v.adopt(ctx, s, uint32(reply.SwIfIndex), l.Tag, l)
}
