package vpp

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/l2"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

func bridgeTag(id uint32) string { return fmt.Sprintf("%sbd/%d", model.TagPrefix, id) }

// putBridgeDomain makes a bridge domain unless there is one of that id, ours or
// somebody else's, which is used as it is.
func (v *VPP) putBridgeDomain(ctx context.Context, s *session, b model.BridgeDomain, have model.Object) error {
	if ours, there := v.index.bridge(b.DomainID); there {
		if h, ok := have.(model.BridgeDomain); ok && ours && h.Changed {
			return s.restoreBridge(ctx, b.DomainID)
		}
		return nil
	}
	_, err := ask[*l2.BridgeDomainAddDelV2Reply](ctx, s, &l2.BridgeDomainAddDelV2{
		BdID: b.DomainID, IsAdd: true, BdTag: bridgeTag(b.DomainID),
		Flood: true, UuFlood: true, Forward: true, Learn: true,
	})
	if isRetval(err, api.BD_ALREADY_EXISTS) {
		return fmt.Errorf("%w: %w", errOutdated, err)
	}
	if err != nil {
		return err
	}
	v.index.setBridge(b.DomainID, true)
	return nil
}

// asMade says whether a bridge domain of ours has the settings that we give it.
func asMade(bd *l2.BridgeDomainDetails) bool {
	return bd.Flood && bd.UuFlood && bd.Forward && bd.Learn && !bd.ArpTerm && !bd.ArpUfwd && bd.MacAge == 0
}

// restoreBridge gives a bridge domain of ours its settings back.
func (s *session) restoreBridge(ctx context.Context, id uint32) error {
	on := l2.BRIDGE_API_FLAG_LEARN | l2.BRIDGE_API_FLAG_FWD | l2.BRIDGE_API_FLAG_FLOOD | l2.BRIDGE_API_FLAG_UU_FLOOD
	_, err := ask[*l2.BridgeFlagsReply](ctx, s, &l2.BridgeFlags{BdID: id, IsSet: true, Flags: on})
	if err != nil {
		return err
	}
	off := l2.BRIDGE_API_FLAG_ARP_TERM | l2.BRIDGE_API_FLAG_ARP_UFWD
	if _, err = ask[*l2.BridgeFlagsReply](ctx, s, &l2.BridgeFlags{BdID: id, Flags: off}); err != nil {
		return err
	}
	_, err = ask[*l2.BridgeDomainSetMacAgeReply](ctx, s, &l2.BridgeDomainSetMacAge{BdID: id})
	return err
}

// deleteBridgeDomain removes a bridge domain of ours.
func (v *VPP) deleteBridgeDomain(ctx context.Context, s *session, b model.BridgeDomain) error {
	if ours, _ := v.index.bridge(b.DomainID); !ours {
		return nil
	}
	_, err := ask[*l2.BridgeDomainAddDelV2Reply](ctx, s, &l2.BridgeDomainAddDelV2{BdID: b.DomainID})
	if isRetval(err, api.BD_IN_USE) {
		return fmt.Errorf("%w by %s: %w", errInUse, s.members(ctx, b.DomainID), err)
	}
	if err = absent(err); err != nil {
		return err
	}
	v.index.dropBridge(b.DomainID)
	return nil
}

// members names the interfaces in a bridge domain, for an error.
func (s *session) members(ctx context.Context, id uint32) string {
	names := map[uint32]string{}
	var in []uint32
	err := s.multi(ctx, "bridge_domain_dump", []api.Message{
		&interfaces.SwInterfaceDump{SwIfIndex: ^interfaceIndex(0)},
		&l2.BridgeDomainDump{BdID: id, SwIfIndex: ^interfaceIndex(0)},
	}, func(msg api.Message) {
		switch m := msg.(type) {
		case *interfaces.SwInterfaceDetails:
			names[uint32(m.SwIfIndex)] = m.InterfaceName
		case *l2.BridgeDomainDetails:
			for _, i := range m.SwIfDetails {
				in = append(in, uint32(i.SwIfIndex))
			}
		}
	})
	if err != nil || len(in) == 0 {
		return "an interface"
	}
	found := make([]string, 0, len(in))
	for _, idx := range in {
		found = append(found, names[idx])
	}
	slices.Sort(found)
	return strings.Join(found, ", ")
}

func (v *VPP) putBridgeMember(ctx context.Context, s *session, b model.BridgeMember) error {
	if _, there := v.index.bridge(b.DomainID); !there {
		// VPP would make one without a tag, which nobody would ever delete.
		return fmt.Errorf("%w: bridge domain %d is not in VPP", errOutdated, b.DomainID)
	}
	return v.setBridge(ctx, s, b, true)
}

func (v *VPP) deleteBridgeMember(ctx context.Context, s *session, b model.BridgeMember) error {
	_, ok, err := v.present(ctx, s, b.Interface)
	if err != nil || !ok {
		return err
	}
	return absent(v.setBridge(ctx, s, b, false))
}

func (v *VPP) setBridge(ctx context.Context, s *session, b model.BridgeMember, in bool) error {
	i, err := v.resolve(ctx, s, b.Interface)
	if err != nil {
		return err
	}
	_, err = ask[*l2.SwInterfaceSetL2BridgeReply](ctx, s, &l2.SwInterfaceSetL2Bridge{
		RxSwIfIndex: interfaceIndex(i.idx), BdID: b.DomainID,
		PortType: l2.L2_API_PORT_TYPE_NORMAL, Enable: in,
	})
	return err
}
