package robustness

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
)

// The foreign client's objects: a bridge domain of its own, an interface in it,
// a routed interface with an address and a route, and a member in a bridge
// domain that is a network's too.
const (
	foreignDomain  = 900
	foreignAddress = "10.99.0.1/24"
	foreignRoute   = "10.98.0.0/24"
)

// stranger is another client of the host's VPP, which knows nothing of ours.
type stranger struct {
	eye    *eye
	socket string
	// bridged, routed and memif are its interfaces in this life of VPP.
	bridged, routed, memif uint32
	// made counts the steps that are done in this life of VPP.
	made int
}

// forget begins anew with a VPP that has none of the objects.
func (s *stranger) forget() { s.made = 0 }

// make makes the objects that are not there yet. It can be called again when a
// busy VPP has not answered.
func (s *stranger) make(ctx context.Context) error {
	steps := []func(context.Context, api.Connection) error{
		func(ctx context.Context, conn api.Connection) (err error) {
			s.bridged, err = loopback(ctx, conn)
			return err
		},
		func(ctx context.Context, conn api.Connection) (err error) {
			s.routed, err = loopback(ctx, conn)
			return err
		},
		s.makeBridge, s.makeRoute, s.makeMemif,
	}
	for s.made < len(steps) {
		if err := s.eye.with(ctx, steps[s.made]); err != nil {
			return fmt.Errorf("the foreign client: %w", err)
		}
		s.made++
	}
	return nil
}

func loopback(ctx context.Context, conn api.Connection) (uint32, error) {
	client := interfaces.NewServiceClient(conn)
	r, err := client.CreateLoopback(ctx, &interfaces.CreateLoopback{})
	if err != nil {
		return 0, err
	}
	_, err = client.SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{SwIfIndex: r.SwIfIndex, Flags: interface_types.IF_STATUS_API_FLAG_ADMIN_UP})
	return uint32(r.SwIfIndex), err
}

func (s *stranger) makeBridge(ctx context.Context, conn api.Connection) error {
	client := l2.NewServiceClient(conn)
	_, err := client.BridgeDomainAddDelV2(ctx, &l2.BridgeDomainAddDelV2{BdID: foreignDomain, Flood: true, Forward: true, Learn: true, UuFlood: true, IsAdd: true})
	if err != nil && !errors.Is(err, api.BD_ALREADY_EXISTS) {
		return err
	}
	_, err = client.SwInterfaceSetL2Bridge(ctx, &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: interface_types.InterfaceIndex(s.bridged), BdID: foreignDomain, Enable: true})
	return err
}

func (s *stranger) makeRoute(ctx context.Context, conn api.Connection) error {
	address, err := ip_types.ParseAddressWithPrefix(foreignAddress)
	if err != nil {
		return err
	}
	_, err = interfaces.NewServiceClient(conn).SwInterfaceAddDelAddress(ctx, &interfaces.SwInterfaceAddDelAddress{
		SwIfIndex: interface_types.InterfaceIndex(s.routed), IsAdd: true, Prefix: address,
	})
	if err != nil {
		return err
	}
	prefix, err := ip_types.ParsePrefix(foreignRoute)
	if err != nil {
		return err
	}
	_, err = ip.NewServiceClient(conn).IPRouteAddDel(ctx, &ip.IPRouteAddDel{IsAdd: true, Route: ip.IPRoute{
		Prefix: prefix, NPaths: 1, Paths: []fib_types.FibPath{{SwIfIndex: s.routed, Proto: fib_types.FIB_API_PATH_NH_PROTO_IP4, Weight: 1}},
	}})
	return err
}

func (s *stranger) makeMemif(ctx context.Context, conn api.Connection) error {
	client := memif.NewServiceClient(conn)
	const id = 4242
	_, err := client.MemifSocketFilenameAddDelV2(ctx, &memif.MemifSocketFilenameAddDelV2{IsAdd: true, SocketID: id, SocketFilename: s.socket})
	if err != nil {
		return err
	}
	r, err := client.MemifCreateV2(ctx, &memif.MemifCreateV2{Role: memif.MEMIF_ROLE_API_MASTER, SocketID: id, RxQueues: 1, TxQueues: 1, RingSize: 1024, BufferSize: 2048})
	if err != nil {
		return err
	}
	s.memif = uint32(r.SwIfIndex)
	return nil
}

func host(address string) netip.Prefix {
	a := netip.MustParsePrefix(address).Addr()
	return netip.PrefixFrom(a, a.BitLen())
}

// quick compares what can be seen in a list of interfaces.
func (s *stranger) quick(v view) (b broken) {
	for what, index := range map[string]uint32{"bridged loopback": s.bridged, "routed loopback": s.routed, "memif": s.memif} {
		switch i, ok := v.index(index); {
		case !ok:
			b.add(errNoForeignTouch, nil, "the %s %d is gone", what, index)
		case i.tag != "":
			b.add(errNoForeignTouch, nil, "the %s %d has the tag %q", what, index, i.tag)
		case what != "memif" && !i.up:
			b.add(errNoForeignTouch, nil, "the %s %d is down", what, index)
		}
	}
	return b
}

// compare compares everything.
func (s *stranger) compare(v view) broken {
	b := s.quick(v)
	if members := v.bridges[foreignDomain]; !slices.Equal(members, []uint32{s.bridged}) {
		b.add(errNoForeignTouch, nil, "bridge domain %d has the members %v, not %d", foreignDomain, members, s.bridged)
	}
	if tag := v.tags[foreignDomain]; tag != "" {
		b.add(errNoForeignTouch, nil, "bridge domain %d has the tag %q", foreignDomain, tag)
	}
	if to := v.routes[routeKey(0, netip.MustParsePrefix(foreignRoute))]; !slices.Contains(to, s.routed) {
		b.add(errNoForeignTouch, nil, "the route to %s leads to %v, not to %d", foreignRoute, to, s.routed)
	}
	if _, ok := v.routes[routeKey(0, host(foreignAddress))]; !ok {
		b.add(errNoForeignTouch, nil, "the address %s is gone", foreignAddress)
	}
	if _, ok := v.sockets[s.socket]; !ok {
		b.add(errNoForeignTouch, nil, "the memif socket %s is gone", s.socket)
	}
	return b
}
