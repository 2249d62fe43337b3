package vpp

import (
	"context"
	"fmt"

	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

func tableName(vrf uint32) string { return fmt.Sprintf("%svrf/%d", model.TagPrefix, vrf) }

// putTable makes a table unless there is one, ours or somebody else's. VPP
// takes any number of adds and one delete undoes them all, so one that is there
// is never added again.
func (v *VPP) putTable(ctx context.Context, s *session, t model.Table) error {
	key := tableKey{t.VRF, t.V6}
	if _, there := v.index.table(key); there || t.VRF == 0 {
		return nil
	}
	_, err := ask[*ip.IPTableAddDelV2Reply](ctx, s, &ip.IPTableAddDelV2{
		IsAdd: true, CreateMfib: true,
		Table: ip.IPTable{TableID: t.VRF, IsIP6: t.V6, Name: tableName(t.VRF)},
	})
	if err != nil {
		return err
	}
	v.index.setTable(key, true)
	return nil
}

func (v *VPP) deleteTable(ctx context.Context, s *session, t model.Table) error {
	key := tableKey{t.VRF, t.V6}
	if ours, _ := v.index.table(key); !ours {
		return nil
	}
	_, err := ask[*ip.IPTableAddDelV2Reply](ctx, s, &ip.IPTableAddDelV2{
		Table: ip.IPTable{TableID: t.VRF, IsIP6: t.V6},
	})
	if err = absent(err); err != nil {
		return err
	}
	v.index.dropTable(key)
	return nil
}

func (v *VPP) putInterfaceTable(ctx context.Context, s *session, t model.InterfaceTable) error {
	i, err := v.resolve(ctx, s, t.Interface)
	if err != nil {
		return err
	}
	err = s.setTable(ctx, i, t.VRF, t.V6)
	if !isRetval(err, api.ADDRESS_FOUND_FOR_INTERFACE) {
		return err
	}
	// VPP moves no interface that has addresses, not even to where it is.
	now, getErr := ask[*interfaces.SwInterfaceGetTableReply](ctx, s, &interfaces.SwInterfaceGetTable{
		SwIfIndex: interfaceIndex(i.idx), IsIPv6: t.V6,
	})
	if getErr != nil {
		return getErr
	}
	if now.VrfID == t.VRF {
		return nil
	}
	return err
}

func (v *VPP) deleteInterfaceTable(ctx context.Context, s *session, t model.InterfaceTable) error {
	i, ok, err := v.present(ctx, s, t.Interface)
	if err != nil || !ok {
		return err
	}
	return s.setTable(ctx, i, 0, t.V6)
}

func (s *session) setTable(ctx context.Context, i iface, vrf uint32, v6 bool) error {
	_, err := ask[*interfaces.SwInterfaceSetTableReply](ctx, s, &interfaces.SwInterfaceSetTable{
		SwIfIndex: interfaceIndex(i.idx), VrfID: vrf, IsIPv6: v6,
	})
	if err != nil {
		return fmt.Errorf("%s into table %d: %w", i.name, vrf, err)
	}
	return nil
}
