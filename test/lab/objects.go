package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.fd.io/govpp"
	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
)

// VPPObjects lists what the host's VPP holds, whoever made it: interfaces with
// their tags, memif sockets, bridge domains, tables and routes, one line each.
func (n *Node) VPPObjects(ctx context.Context) ([]string, error) {
	conn, err := govpp.Connect(n.VPP.APISocket)
	if err != nil {
		return nil, fmt.Errorf("objects of %s: %w", n.VPP.Name, err)
	}
	defer conn.Disconnect()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }

	err = errors.Join(
		dump(interfaces.NewServiceClient(conn).SwInterfaceDump(ctx, &interfaces.SwInterfaceDump{SwIfIndex: interface_types.InterfaceIndex(^uint32(0))}))(
			func(d *interfaces.SwInterfaceDetails) { add("interface %s tag %q", d.InterfaceName, d.Tag) }),
		dump(memif.NewServiceClient(conn).MemifSocketFilenameDump(ctx, &memif.MemifSocketFilenameDump{}))(
			func(d *memif.MemifSocketFilenameDetails) { add("memif socket %d %s", d.SocketID, d.SocketFilename) }),
		dump(l2.NewServiceClient(conn).BridgeDomainDump(ctx, &l2.BridgeDomainDump{BdID: ^uint32(0), SwIfIndex: ^interface_types.InterfaceIndex(0)}))(
			func(d *l2.BridgeDomainDetails) {
				add("bridge-domain %d tag %q members %d", d.BdID, d.BdTag, d.NSwIfs)
			}),
		tables(ctx, conn, add),
	)
	return lines, err
}

// tables lists the FIB tables and their routes. VPP's own entries of an empty
// table are listed too: they are the same before and after.
func tables(ctx context.Context, conn api.Connection, add func(string, ...any)) error {
	client := ip.NewServiceClient(conn)
	var all []ip.IPTable
	err := dump(client.IPTableDump(ctx, &ip.IPTableDump{}))(func(d *ip.IPTableDetails) { all = append(all, d.Table) })
	if err != nil {
		return err
	}
	for _, t := range all {
		add("table %d ip6 %v", t.TableID, t.IsIP6)
		err := dump(client.IPRouteDump(ctx, &ip.IPRouteDump{Table: ip.IPTable{TableID: t.TableID, IsIP6: t.IsIP6}}))(
			func(d *ip.IPRouteDetails) { add("table %d ip6 %v route %s", t.TableID, t.IsIP6, d.Route.Prefix) })
		if err != nil {
			return err
		}
	}
	return nil
}

// stream is what GoVPP's generated clients give for a dump.
type stream[D any] interface{ Recv() (D, error) }

// dump reads a dump to its end.
func dump[D any, S stream[D]](s S, err error) func(each func(D)) error {
	return func(each func(D)) error {
		if err != nil {
			return err
		}
		for {
			d, err := s.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			each(d)
		}
	}
}

// DeleteInterface deletes a memif in the host's VPP behind the agent's back, as
// somebody at vppctl might.
func (n *Node) DeleteInterface(ctx context.Context, name string) error {
	return n.edit(ctx, "delete", name, func(ctx context.Context, conn api.Connection, index interface_types.InterfaceIndex) error {
		_, err := memif.NewServiceClient(conn).MemifDelete(ctx, &memif.MemifDelete{SwIfIndex: index})
		return err
	})
}

// Unbridge takes an interface of the host's VPP out of its bridge domain behind
// the agent's back. VPP sends no event of it.
func (n *Node) Unbridge(ctx context.Context, name string) error {
	return n.edit(ctx, "unbridge", name, func(ctx context.Context, conn api.Connection, index interface_types.InterfaceIndex) error {
		_, err := l2.NewServiceClient(conn).SwInterfaceSetL2Bridge(ctx, &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: index})
		return err
	})
}

// edit changes an interface over a connection of its own.
func (n *Node) edit(ctx context.Context, what, name string, change func(context.Context, api.Connection, interface_types.InterfaceIndex) error) error {
	conn, err := govpp.Connect(n.VPP.APISocket)
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	defer conn.Disconnect()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	index := ^interface_types.InterfaceIndex(0)
	err = dump(interfaces.NewServiceClient(conn).SwInterfaceDump(ctx, &interfaces.SwInterfaceDump{SwIfIndex: index}))(
		func(d *interfaces.SwInterfaceDetails) {
			if d.InterfaceName == name {
				index = d.SwIfIndex
			}
		})
	if err == nil {
		err = change(ctx, conn, index)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	return nil
}
