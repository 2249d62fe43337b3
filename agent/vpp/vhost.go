package vpp

import (
	"context"
	"fmt"

	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/vhost_user"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// createVhostUser makes a vhost-user interface, which takes its tag with the
// create. VPP's server unlinks what stands on the path without asking.
func (v *VPP) createVhostUser(ctx context.Context, s *session, u model.VhostUser) error {
	if u.Server {
		if err := v.cfg.Clear(ctx, u.Socket); err != nil {
			return err
		}
	}
	reply, err := ask[*vhost_user.CreateVhostUserIfV2Reply](ctx, s, &vhost_user.CreateVhostUserIfV2{
		IsServer: u.Server, SockFilename: u.Socket,
		UseCustomMac: u.MAC != model.MAC{}, MacAddress: ethernet_types.MacAddress(u.MAC),
		Tag: string(u.Tag),
	})
	if err != nil {
		return fmt.Errorf("on socket %s: %w", u.Socket, err)
	}
	return v.adopt(ctx, s, uint32(reply.SwIfIndex), u.Tag, u)
}
