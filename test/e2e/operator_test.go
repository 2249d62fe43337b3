package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.fd.io/govpp"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/core"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
)

type index = interface_types.InterfaceIndex

// operator is somebody at the host's VPP who does not know of the agent.
type operator struct {
	conn *core.Connection
	intf interfaces.RPCService
	ip   ip.RPCService
	l2   l2.RPCService
}

func (n node) operator(t *testing.T) *operator {
	t.Helper()
	vpp.QuietGoVPP()
	conn, err := govpp.Connect(n.VPP.APISocket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Disconnect)
	return &operator{
		conn: conn, intf: interfaces.NewServiceClient(conn), ip: ip.NewServiceClient(conn), l2: l2.NewServiceClient(conn),
	}
}

// find is the interface for which is holds.
func (o *operator) find(ctx context.Context, is func(*interfaces.SwInterfaceDetails) bool) (*interfaces.SwInterfaceDetails, error) {
	all, err := o.interfaces(ctx)
	if err != nil {
		return nil, err
	}
	if at := slices.IndexFunc(all, is); at >= 0 {
		return all[at], nil
	}
	return nil, errors.New("no such interface")
}

func (o *operator) interfaces(ctx context.Context) ([]*interfaces.SwInterfaceDetails, error) {
	stream, err := o.intf.SwInterfaceDump(ctx, &interfaces.SwInterfaceDump{SwIfIndex: ^index(0)})
	if err != nil {
		return nil, err
	}
	var all []*interfaces.SwInterfaceDetails
	for {
		d, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
}

func (o *operator) named(ctx context.Context, name string) (index, error) {
	d, err := o.find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return d.InterfaceName == name })
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return d.SwIfIndex, nil
}

// gateway is the loopback of the network's gateways.
func (o *operator) gateway(ctx context.Context) (index, error) {
	d, err := o.find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return strings.HasPrefix(d.Tag, "vpp-cni/gw/") })
	if err != nil {
		return 0, fmt.Errorf("gateway: %w", err)
	}
	return d.SwIfIndex, nil
}

func (o *operator) setTag(ctx context.Context, i index, tag string) error {
	_, err := o.intf.SwInterfaceTagAddDel(ctx, &interfaces.SwInterfaceTagAddDel{IsAdd: tag != "", SwIfIndex: i, Tag: tag})
	return err
}

func (o *operator) admin(ctx context.Context, i index, flags interface_types.IfStatusFlags) error {
	_, err := o.intf.SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{SwIfIndex: i, Flags: flags})
	return err
}

func (o *operator) setMAC(ctx context.Context, i index, mac ethernet_types.MacAddress) error {
	_, err := o.intf.SwInterfaceSetMacAddress(ctx, &interfaces.SwInterfaceSetMacAddress{SwIfIndex: i, MacAddress: mac})
	return err
}

func (o *operator) setMTU(ctx context.Context, i index, mtu uint32) error {
	_, err := o.intf.SwInterfaceSetMtu(ctx, &interfaces.SwInterfaceSetMtu{SwIfIndex: i, Mtu: []uint32{mtu, 0, 0, 0}})
	return err
}

func (o *operator) bridge(ctx context.Context, i index, domain uint32, in bool) error {
	_, err := o.l2.SwInterfaceSetL2Bridge(ctx, &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: i, BdID: domain, Enable: in})
	return err
}

func (o *operator) bridgeDomain(ctx context.Context, id uint32, add bool) error {
	_, err := o.l2.BridgeDomainAddDelV2(ctx, &l2.BridgeDomainAddDelV2{
		BdID: id, IsAdd: add, Flood: true, UuFlood: true, Forward: true, Learn: true, BdTag: "somebody's",
	})
	return err
}

func (o *operator) address(ctx context.Context, i index, prefix string, add bool) error {
	p, err := ip_types.ParseAddressWithPrefix(prefix)
	if err != nil {
		return err
	}
	_, err = o.intf.SwInterfaceAddDelAddress(ctx, &interfaces.SwInterfaceAddDelAddress{IsAdd: add, SwIfIndex: i, Prefix: p})
	return err
}

// route adds or deletes a route to addr alone, attached to an interface.
func (o *operator) route(ctx context.Context, table uint32, addr netip.Addr, i index, add bool) error {
	p, err := ip_types.ParsePrefix(netip.PrefixFrom(addr, addr.BitLen()).String())
	if err != nil {
		return err
	}
	r := ip.IPRoute{TableID: table, Prefix: p}
	if add {
		r.NPaths, r.Paths = 1, onePath(addr, i)
	}
	_, err = o.ip.IPRouteAddDel(ctx, &ip.IPRouteAddDel{IsAdd: add, Route: r})
	return err
}

func (o *operator) table(ctx context.Context, id uint32, v6, add bool) error {
	_, err := o.ip.IPTableAddDelV2(ctx, &ip.IPTableAddDelV2{IsAdd: add, Table: ip.IPTable{TableID: id, IsIP6: v6, Name: "somebody's"}})
	return err
}

func (o *operator) deleteMemif(ctx context.Context, i index) error {
	_, err := memif.NewServiceClient(o.conn).MemifDelete(ctx, &memif.MemifDelete{SwIfIndex: i})
	return err
}

// deleteSocket deletes the socket id whose file ends in name.
func (o *operator) deleteSocket(ctx context.Context, path string) error {
	client := memif.NewServiceClient(o.conn)
	stream, err := client.MemifSocketFilenameDump(ctx, &memif.MemifSocketFilenameDump{})
	for err == nil {
		var d *memif.MemifSocketFilenameDetails
		if d, err = stream.Recv(); err == nil && d.SocketFilename == path {
			_, err = client.MemifSocketFilenameAddDelV2(ctx, &memif.MemifSocketFilenameAddDelV2{SocketID: d.SocketID})
			return err
		}
	}
	return fmt.Errorf("socket %s: %w", path, err)
}

// settle puts foreign objects beside ours, and returns what tells whether they
// are still as they were made.
func (o *operator) settle(ctx context.Context) (func(context.Context) error, error) {
	reply, err := o.intf.CreateLoopback(ctx, &interfaces.CreateLoopback{})
	if err != nil {
		return nil, err
	}
	lo, far := reply.SwIfIndex, netip.MustParseAddr("192.0.2.77")
	err = errors.Join(
		o.setTag(ctx, lo, "somebody's"), o.address(ctx, lo, "192.0.2.1/24", true),
		o.admin(ctx, lo, interface_types.IF_STATUS_API_FLAG_ADMIN_UP), o.setMTU(ctx, lo, 1234),
		o.bridgeDomain(ctx, foreignDomain, true), o.table(ctx, foreignTable, false, true),
		o.route(ctx, foreignTable, far, lo, true),
	)
	if err != nil {
		return nil, fmt.Errorf("foreign objects: %w", err)
	}
	return func(ctx context.Context) error {
		d, err := o.find(ctx, func(d *interfaces.SwInterfaceDetails) bool { return d.SwIfIndex == lo })
		switch {
		case err != nil:
			return err
		case d.Tag != "somebody's" || d.Mtu[0] != 1234 || d.Flags&interface_types.IF_STATUS_API_FLAG_ADMIN_UP == 0:
			return fmt.Errorf("foreign loopback is now %+v", d)
		}
		// VPP says that each is still there by refusing to make it, or by deleting it.
		if err := o.bridgeDomain(ctx, foreignDomain, true); !errors.Is(err, api.BD_ALREADY_EXISTS) {
			return fmt.Errorf("foreign bridge domain: made again: %w", err)
		}
		return errors.Join(
			o.address(ctx, lo, "192.0.2.1/24", false), o.route(ctx, foreignTable, far, lo, false),
			o.table(ctx, foreignTable, false, false), o.bridgeDomain(ctx, foreignDomain, false),
		)
	}, nil
}

const (
	foreignDomain = 4000
	foreignTable  = 4000
)

func onePath(addr netip.Addr, i index) []fib_types.FibPath {
	p := fib_types.FibPath{SwIfIndex: uint32(i), Weight: 1}
	if addr.Is6() {
		p.Proto = fib_types.FIB_API_PATH_NH_PROTO_IP6
	}
	return []fib_types.FibPath{p}
}
