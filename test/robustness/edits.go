package robustness

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"

	objects "github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// tag is the tag of an attachment's interface in the host's VPP.
func (a *attachment) tag() string {
	return string(objects.AttachmentTag(a.key.ifname, a.key.container))
}

// member is the tag of the interface that is in the bridge domain.
func (a *attachment) member() string {
	if a.network.vlan != 0 {
		return string(objects.SubTag(objects.Tag(a.tag()), a.network.vlan))
	}
	return a.tag()
}

// victim chooses an attachment that fits.
func (w *world) victim(f fault, fits func(*attachment) bool) *attachment {
	var all []*attachment
	for _, a := range w.model.all(attached) {
		if fits(a) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[int(f.Target)%len(all)]
}

func anyAttachment(*attachment) bool { return true }

// edit changes the interface with the tag in the host's VPP behind the agent's
// back. A VPP that is down or hangs is no error: then there is no edit.
func (w *world) edit(f fault, a *attachment, tag string, change func(context.Context, api.Connection, iface) error) {
	if a == nil {
		return
	}
	w.model.edit(a)
	err := w.eye.with(w.ctx, func(ctx context.Context, conn api.Connection) error {
		var v view
		if err := v.readInterfaces(ctx, conn); err != nil {
			return err
		}
		found := v.tagged(tag)
		if len(found) == 0 {
			w.history.add(a.owner.name, "FAULT %s %s: it is not there", f.Name, a.key)
			return nil
		}
		err := change(ctx, conn, found[0])
		w.history.add(a.owner.name, "FAULT %s %s (%s): %s", f.Name, a.key, found[0].name, outcome(err))
		return nil
	})
	if err != nil {
		w.history.add(a.owner.name, "FAULT %s %s: %v", f.Name, a.key, err)
	}
}

func editDelete(w *world, f fault) error {
	a := w.victim(f, anyAttachment)
	if a == nil {
		return nil
	}
	w.edit(f, a, a.tag(), func(ctx context.Context, conn api.Connection, i iface) error {
		_, err := memif.NewServiceClient(conn).MemifDelete(ctx, &memif.MemifDelete{SwIfIndex: interface_types.InterfaceIndex(i.index)})
		return err
	})
	return nil
}

func editUnbridge(w *world, f fault) error {
	a := w.victim(f, func(a *attachment) bool { return a.network.bridge != "" })
	if a == nil {
		return nil
	}
	w.edit(f, a, a.member(), func(ctx context.Context, conn api.Connection, i iface) error {
		_, err := l2.NewServiceClient(conn).SwInterfaceSetL2Bridge(ctx, &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: interface_types.InterfaceIndex(i.index)})
		return err
	})
	return nil
}

// editTag takes the tag away or puts another in its place.
func editTag(w *world, f fault) error {
	a := w.victim(f, anyAttachment)
	if a == nil {
		return nil
	}
	req := &interfaces.SwInterfaceTagAddDel{IsAdd: f.Target%2 == 0, Tag: "somebody's"}
	w.edit(f, a, a.tag(), func(ctx context.Context, conn api.Connection, i iface) error {
		req.SwIfIndex = interface_types.InterfaceIndex(i.index)
		_, err := interfaces.NewServiceClient(conn).SwInterfaceTagAddDel(ctx, req)
		return err
	})
	return nil
}

func editDown(w *world, f fault) error {
	a := w.victim(f, anyAttachment)
	if a == nil {
		return nil
	}
	w.edit(f, a, a.tag(), func(ctx context.Context, conn api.Connection, i iface) error {
		_, err := interfaces.NewServiceClient(conn).SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{SwIfIndex: interface_types.InterfaceIndex(i.index)})
		return err
	})
	return nil
}

func editMTU(w *world, f fault) error {
	a := w.victim(f, func(a *attachment) bool { return a.network.mtu != 0 })
	if a == nil {
		return nil
	}
	w.edit(f, a, a.tag(), func(ctx context.Context, conn api.Connection, i iface) error {
		_, err := interfaces.NewServiceClient(conn).SwInterfaceSetMtu(ctx, &interfaces.SwInterfaceSetMtu{
			SwIfIndex: interface_types.InterfaceIndex(i.index), Mtu: []uint32{1000, 0, 0, 0},
		})
		return err
	})
	return nil
}

// editAddress takes the gateway's addresses from the loopback that has them.
func editAddress(w *world, f fault) error {
	err := w.eye.with(w.ctx, func(ctx context.Context, conn api.Connection) error {
		var v view
		if err := v.readInterfaces(ctx, conn); err != nil {
			return err
		}
		for _, i := range v.interfaces {
			if !strings.HasPrefix(i.tag, ours+"gw/") {
				continue
			}
			_, err := interfaces.NewServiceClient(conn).SwInterfaceAddDelAddress(ctx, &interfaces.SwInterfaceAddDelAddress{
				SwIfIndex: interface_types.InterfaceIndex(i.index), DelAll: true,
			})
			w.history.add(everything, "FAULT %s of %s: %s", f.Name, i.name, outcome(err))
		}
		return nil
	})
	if err != nil {
		w.history.add(everything, "FAULT %s: %v", f.Name, err)
	}
	return nil
}

// editRoute takes a pod's host route away.
func editRoute(w *world, f fault) error {
	a := w.victim(f, func(a *attachment) bool { return a.network.routed && len(a.ips) > 0 })
	if a == nil {
		return nil
	}
	addr := a.ips[int(f.Target)%len(a.ips)].Addr()
	w.edit(f, a, a.tag(), func(ctx context.Context, conn api.Connection, _ iface) error {
		prefix, err := ip_types.ParsePrefix(netip.PrefixFrom(addr, addr.BitLen()).String())
		if err != nil {
			return err
		}
		_, err = ip.NewServiceClient(conn).IPRouteAddDel(ctx, &ip.IPRouteAddDel{Route: ip.IPRoute{TableID: a.network.vrf, Prefix: prefix}})
		return err
	})
	return nil
}

// removePodDir removes a pod's directory of sockets.
func removePodDir(w *world, f fault) error {
	a := w.victim(f, anyAttachment)
	if a == nil {
		return nil
	}
	for _, o := range w.model.all(adding, attached) {
		if o.uid == a.uid {
			w.model.edit(o)
		}
	}
	err := os.RemoveAll(filepath.Join(w.node.RunDir, "pods", a.uid))
	w.history.add(a.owner.name, "FAULT %s %s: %s", f.Name, a.uid, outcome(err))
	return tolerate(err)
}

// removeAllDirs removes the directories of all pods.
func removeAllDirs(w *world, f fault) error {
	w.model.edit(w.model.all(adding, attached)...)
	err := os.RemoveAll(filepath.Join(w.node.RunDir, "pods"))
	w.history.add(everything, "FAULT %s: %s", f.Name, outcome(err))
	return tolerate(err)
}

// tolerate: somebody may make a socket in a directory while it is removed.
func tolerate(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return nil
	}
	return err
}
