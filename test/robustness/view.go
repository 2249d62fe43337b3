package robustness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"go.fd.io/govpp"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/core"

	objects "github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// viewTimeout bounds one look at a VPP, which may be hanging.
const viewTimeout = 10 * time.Second

// eye looks at one VPP over one lasting connection (VPP-FACTS: API clients).
type eye struct {
	socket string
	mu     sync.Mutex
	conn   *core.Connection
}

// with runs f on the connection, which is made where there is none, and given up
// after an error.
func (e *eye) with(ctx context.Context, f func(context.Context, api.Connection) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	if e.conn == nil {
		conn, err := govpp.Connect(e.socket)
		if err != nil {
			return fmt.Errorf("look at %s: %w", e.socket, err)
		}
		e.conn = conn
	}
	err := f(ctx, e.conn)
	if err != nil {
		e.conn.Disconnect()
		e.conn = nil
	}
	return err
}

func (e *eye) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn != nil {
		e.conn.Disconnect()
		e.conn = nil
	}
}

// iface is an interface of a VPP.
type iface struct {
	index, super uint32
	name, tag    string
	up, link     bool
	mtu          uint32
}

// view is what a VPP holds.
type view struct {
	interfaces []iface
	// bridges are the members of each bridge domain, tags their tags.
	bridges map[uint32][]uint32
	tags    map[uint32]string
	// routes are the interfaces that host routes lead to, by table and prefix.
	routes map[string][]uint32
	// sockets are memif's.
	sockets map[string]uint32
}

// ours starts the tag of everything that the agents make.
const ours = "vpp-cni/"

func (v *view) tagged(tag string) []iface {
	var out []iface
	for _, i := range v.interfaces {
		if i.tag == tag {
			out = append(out, i)
		}
	}
	return out
}

func (v *view) index(index uint32) (iface, bool) {
	for _, i := range v.interfaces {
		if i.index == index {
			return i, true
		}
	}
	return iface{}, false
}

// interfaces lists the interfaces alone.
func (e *eye) interfaces(ctx context.Context) (v view, err error) {
	err = e.with(ctx, func(ctx context.Context, conn api.Connection) error { return v.readInterfaces(ctx, conn) })
	return v, err
}

// look lists everything.
func (e *eye) look(ctx context.Context) (v view, err error) {
	err = e.with(ctx, func(ctx context.Context, conn api.Connection) error {
		return errors.Join(v.readInterfaces(ctx, conn), v.readBridges(ctx, conn), v.readRoutes(ctx, conn), v.readSockets(ctx, conn))
	})
	return v, err
}

func (v *view) readInterfaces(ctx context.Context, conn api.Connection) error {
	v.interfaces = nil
	return each(interfaces.NewServiceClient(conn).SwInterfaceDump(ctx, &interfaces.SwInterfaceDump{SwIfIndex: ^interface_types.InterfaceIndex(0)}))(
		func(d *interfaces.SwInterfaceDetails) {
			tag := d.Tag
			if d.Type != interface_types.IF_API_TYPE_SUB { // theirs have no mark
				bare, _ := objects.ParseLabel(tag)
				tag = string(bare)
			}
			v.interfaces = append(v.interfaces, iface{
				index: uint32(d.SwIfIndex), super: d.SupSwIfIndex, name: d.InterfaceName, tag: tag, mtu: d.Mtu[0],
				up:   d.Flags&interface_types.IF_STATUS_API_FLAG_ADMIN_UP != 0,
				link: d.Flags&interface_types.IF_STATUS_API_FLAG_LINK_UP != 0,
			})
		})
}

func (v *view) readBridges(ctx context.Context, conn api.Connection) error {
	v.bridges, v.tags = map[uint32][]uint32{}, map[uint32]string{}
	return each(l2.NewServiceClient(conn).BridgeDomainDump(ctx, &l2.BridgeDomainDump{BdID: ^uint32(0), SwIfIndex: ^interface_types.InterfaceIndex(0)}))(
		func(d *l2.BridgeDomainDetails) {
			v.tags[d.BdID], v.bridges[d.BdID] = d.BdTag, []uint32{}
			for _, m := range d.SwIfDetails {
				v.bridges[d.BdID] = append(v.bridges[d.BdID], uint32(m.SwIfIndex))
			}
		})
}

func (v *view) readRoutes(ctx context.Context, conn api.Connection) error {
	v.routes = map[string][]uint32{}
	client := ip.NewServiceClient(conn)
	var all []ip.IPTable
	err := each(client.IPTableDump(ctx, &ip.IPTableDump{}))(func(d *ip.IPTableDetails) { all = append(all, d.Table) })
	for _, t := range all {
		err = errors.Join(err, each(client.IPRouteDump(ctx, &ip.IPRouteDump{Table: ip.IPTable{TableID: t.TableID, IsIP6: t.IsIP6}}))(
			func(d *ip.IPRouteDetails) { v.addRoute(t.TableID, d.Route) }))
	}
	return err
}

func (v *view) addRoute(table uint32, r ip.IPRoute) {
	prefix, err := netip.ParsePrefix(r.Prefix.String())
	if err != nil {
		return
	}
	key := routeKey(table, prefix)
	v.routes[key] = append(v.routes[key], []uint32{}...)
	for _, p := range r.Paths {
		if p.Type == fib_types.FIB_API_PATH_TYPE_NORMAL {
			v.routes[key] = append(v.routes[key], p.SwIfIndex)
		}
	}
}

func routeKey(table uint32, p netip.Prefix) string { return fmt.Sprintf("%d %s", table, p) }

func (v *view) readSockets(ctx context.Context, conn api.Connection) error {
	v.sockets = map[string]uint32{}
	return each(memif.NewServiceClient(conn).MemifSocketFilenameDump(ctx, &memif.MemifSocketFilenameDump{}))(
		func(d *memif.MemifSocketFilenameDetails) {
			if d.SocketID != 0 { // VPP's own
				v.sockets[d.SocketFilename] = d.SocketID
			}
		})
}

// text is the view for a person.
func (v *view) text() string {
	var b strings.Builder
	for _, i := range v.interfaces {
		fmt.Fprintf(&b, "interface %d %s tag %q up %v link %v mtu %d\n", i.index, i.name, i.tag, i.up, i.link, i.mtu)
	}
	for id, members := range v.bridges {
		fmt.Fprintf(&b, "bridge-domain %d tag %q members %v\n", id, v.tags[id], members)
	}
	for _, n := range networks() {
		for key, to := range v.routes {
			_, prefix, _ := strings.Cut(key, " ")
			if p, err := netip.ParsePrefix(prefix); err == nil && p.IsSingleIP() && n.holds(p.Addr()) {
				fmt.Fprintf(&b, "route %s to %v\n", key, to)
			}
		}
	}
	for path, id := range v.sockets {
		fmt.Fprintf(&b, "memif socket %d %s\n", id, path)
	}
	return b.String()
}

// each reads a dump to its end.
func each[D any, S interface{ Recv() (D, error) }](s S, err error) func(func(D)) error {
	return func(f func(D)) error {
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
			f(d)
		}
	}
}
