package vpp

import (
	"context"

	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/ip_neighbor"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

func (v *VPP) putNeighbor(ctx context.Context, s *session, n model.Neighbor) error {
	i, err := v.resolve(ctx, s, n.Interface)
	if err != nil {
		return err
	}
	return s.neighbor(ctx, i, n, true)
}

func (v *VPP) deleteNeighbor(ctx context.Context, s *session, n model.Neighbor) error {
	i, ok, err := v.present(ctx, s, n.Interface)
	if err != nil || !ok {
		return err
	}
	return absent(s.neighbor(ctx, i, n, false))
}

func (s *session) neighbor(ctx context.Context, i iface, n model.Neighbor, add bool) error {
	_, err := ask[*ip_neighbor.IPNeighborAddDelReply](ctx, s, &ip_neighbor.IPNeighborAddDel{
		IsAdd: add,
		Neighbor: ip_neighbor.IPNeighbor{
			SwIfIndex:  interfaceIndex(i.idx),
			Flags:      ip_neighbor.IP_API_NEIGHBOR_FLAG_STATIC,
			MacAddress: ethernet_types.MacAddress(n.MAC),
			IPAddress:  toAddress(n.Addr),
		},
	})
	return err
}
