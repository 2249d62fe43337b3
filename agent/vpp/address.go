package vpp

import (
	"context"
	"fmt"

	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// putAddress adds an address. VPP refuses one that is on the interface already
// and one that another interface of the table has with the same retval.
func (v *VPP) putAddress(ctx context.Context, s *session, a model.Address) error {
	i, err := v.resolve(ctx, s, a.Interface)
	if err != nil {
		return err
	}
	err = s.address(ctx, i, a, true)
	// The second is what VPP says for IPv6.
	if !isRetval(err, api.ADDRESS_IN_USE, api.DUPLICATE_IF_ADDRESS) {
		return err
	}
	there, lookErr := s.hasAddress(ctx, i, a)
	if lookErr != nil {
		return lookErr
	}
	if there {
		return nil
	}
	return fmt.Errorf("%s: another interface of table %d has it: %w", i.name, a.VRF, err)
}

func (v *VPP) deleteAddress(ctx context.Context, s *session, a model.Address) error {
	i, ok, err := v.present(ctx, s, a.Interface)
	if err != nil || !ok {
		return err
	}
	return absent(s.address(ctx, i, a, false))
}

func (s *session) address(ctx context.Context, i iface, a model.Address, add bool) error {
	_, err := ask[*interfaces.SwInterfaceAddDelAddressReply](ctx, s, &interfaces.SwInterfaceAddDelAddress{
		SwIfIndex: interfaceIndex(i.idx), IsAdd: add,
		Prefix: ip_types.AddressWithPrefix(toPrefix(a.Prefix)),
	})
	return err
}

func (s *session) hasAddress(ctx context.Context, i iface, a model.Address) (bool, error) {
	found := false
	err := s.multi(ctx, "ip_address_dump",
		[]api.Message{&ip.IPAddressDump{SwIfIndex: interfaceIndex(i.idx), IsIPv6: a.Prefix.Addr().Is6()}},
		func(msg api.Message) {
			if d, ok := msg.(*ip.IPAddressDetails); ok && fromPrefix(ip_types.Prefix(d.Prefix)) == a.Prefix {
				found = true
			}
		})
	return found, err
}

func (v *VPP) putUnnumbered(ctx context.Context, s *session, u model.Unnumbered) error {
	i, err := v.resolve(ctx, s, u.Interface)
	if err != nil {
		return err
	}
	lender, err := v.resolve(ctx, s, u.Lender)
	if err != nil {
		return err
	}
	_, err = ask[*interfaces.SwInterfaceSetUnnumberedReply](ctx, s, &interfaces.SwInterfaceSetUnnumbered{
		SwIfIndex: interfaceIndex(lender.idx), UnnumberedSwIfIndex: interfaceIndex(i.idx), IsAdd: true,
	})
	if isRetval(err, api.UNEXPECTED_INTF_STATE) {
		return fmt.Errorf("%s and %s are not in the same table, for ip4 and ip6 both: %w", i.name, lender.name, err)
	}
	return err
}

func (v *VPP) deleteUnnumbered(ctx context.Context, s *session, u model.Unnumbered) error {
	i, ok, err := v.present(ctx, s, u.Interface)
	if err != nil || !ok {
		return err
	}
	lender, ok, err := v.present(ctx, s, u.Lender)
	if err != nil {
		return err
	}
	if !ok {
		lender = i // VPP reads the lender only to check that it is an interface
	}
	_, err = ask[*interfaces.SwInterfaceSetUnnumberedReply](ctx, s, &interfaces.SwInterfaceSetUnnumbered{
		SwIfIndex: interfaceIndex(lender.idx), UnnumberedSwIfIndex: interfaceIndex(i.idx),
	})
	return err
}
