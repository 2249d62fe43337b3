// Package podplan turns a desired pod end of an attachment into the objects
// that the pod's own VPP must hold. It is pure: it reads no etcd and asks no
// VPP. Order and retries belong to package reconcile.
package podplan

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

// Planner makes plans for one pod.
type Planner struct {
	// SocketDir is the pod's directory of sockets as the pod sees it.
	SocketDir string
}

// Plan is what one attachment needs in the pod.
type Plan struct {
	Objects []model.Object
	// Interface is the tag of the attachment's interface; empty where VPP has
	// none.
	Interface model.Tag
	// SocketPath is the full path of the attachment's socket.
	SocketPath string
	// Message is what the status says beside being ready, empty for nothing.
	Message string
	// ApplicationOwned is true where there is nothing to be made.
	ApplicationOwned bool
	// Failed is why nothing is to be made; Message says more.
	Failed schema.Reason
}

// Decode plans for the value under a key relative to the pod's prefix,
// interfaces/<ifname>. Errors are schema.UnknownFieldError, schema.FieldError
// and what JSON says, wrapped.
func (p Planner) Decode(key string, value []byte) (Plan, error) {
	ref, err := schema.ParsePodKey(key)
	if err != nil {
		return Plan{}, err
	}
	if ref.Kind != schema.KeyPodInterface {
		return Plan{}, fmt.Errorf("key %q: not a desired pod end", key)
	}
	v, err := schema.Decode[schema.PodInterface](value)
	if err != nil {
		return Plan{}, err
	}
	return p.Plan(ref.IfName, v)
}

// Interfaces are the identities that the interface of an attachment may have,
// known from its key alone.
func Interfaces(key string) []model.ID {
	ref, err := schema.ParsePodKey(key)
	if err != nil {
		return nil
	}
	return []model.ID{{Kind: model.KindMemif, Name: string(tag(ref.IfName))}}
}

// tag names the pod end of an attachment in the pod's VPP. A pod's VPP has one
// pod's interfaces only, and a memif outlives a sandbox as its key does.
func tag(i schema.IfName) model.Tag { return model.AttachmentTag(string(i), "pod") }

// Plan is what the attachment ifname needs in the pod. It validates v.
func (p Planner) Plan(ifname schema.IfName, v schema.PodInterface) (Plan, error) {
	if err := v.Validate(); err != nil {
		return Plan{}, err
	}
	if v.IfType == schema.VhostUser {
		return p.vhostUser(v)
	}
	out := Plan{Interface: tag(ifname), SocketPath: filepath.Join(p.SocketDir, v.Memif.Socket)}
	if err := schema.CheckSocketPath(out.SocketPath); err != nil {
		return Plan{}, err
	}
	m := out.memif(v)
	if v.MTU != 0 {
		out.add(model.MTU{Interface: m, Bytes: uint32(v.MTU)})
	}
	out.add(model.AdminUp{Interface: m})
	switch v.NetType {
	case schema.NetBridge:
		out.bridge(m, *v.Bridge)
	case schema.NetInterface:
		out.routed(m, v)
	case schema.NetNone:
	}
	out.Objects = distinct(out.Objects)
	return out, nil
}

// distinct leaves the first of those that cannot stand side by side in VPP, as
// two routes of IPAM's to one prefix.
func distinct(objects []model.Object) []model.Object {
	seen := make(map[model.ID]bool, len(objects))
	return slices.DeleteFunc(objects, func(o model.Object) bool {
		again := seen[o.ID()]
		seen[o.ID()] = true
		return again
	})
}

// vhostUser plans nothing: VPP is a back end only, so the front end is the
// application's own virtio-user device.
func (p Planner) vhostUser(v schema.PodInterface) (Plan, error) {
	path := filepath.Join(p.SocketDir, v.VhostUser.Socket)
	role := "serves"
	if v.VhostUser.Role == schema.VhostServer {
		role = "connects to"
	}
	return Plan{
		SocketPath:       path,
		ApplicationOwned: true,
		Message:          "the application's own virtio-user device " + role + " the socket; VPP in the pod has no part in it",
	}, schema.CheckSocketPath(path)
}

func (p *Plan) add(objects ...model.Object) { p.Objects = append(p.Objects, objects...) }

func (p *Plan) memif(v schema.PodInterface) model.ID {
	m := model.Memif{
		Tag: p.Interface, Socket: p.SocketPath, Master: v.Memif.Role == schema.MemifMaster,
		MAC: model.MAC(v.MAC), Secret: model.NewSecret(v.Memif.Secret.Reveal()),
	}
	switch {
	case v.Memif.Mode == schema.MemifIP:
		m.IPMode, m.MAC = true, model.MAC{}
	case m.MAC == model.MAC{}:
		m.MAC = model.MAC(schema.DeriveMAC("pod", string(v.Container), string(p.Interface)))
	}
	p.add(model.Socket{Path: p.SocketPath}, m)
	return m.ID()
}

// bridge makes the interface, or its VLAN's sub-interface, a member of a bridge
// domain of the pod's VPP.
func (p *Plan) bridge(iface model.ID, b schema.BridgeEnd) {
	p.add(model.BridgeDomain{DomainID: b.DomainID})
	if b.VLAN != 0 {
		iface = p.vlan(iface, b.VLAN)
	}
	p.add(model.BridgeMember{Interface: iface, DomainID: b.DomainID})
}

func (p *Plan) vlan(parent model.ID, vlan uint16) model.ID {
	sub := model.SubInterface{Tag: model.SubTag(p.Interface, vlan), Parent: parent, VLAN: vlan, Popped: true}
	p.add(sub, model.AdminUp{Interface: sub.ID()})
	return sub.ID()
}

// routed gives the interface, or its VLAN's sub-interface, the pod's addresses
// and routes.
func (p *Plan) routed(iface model.ID, v schema.PodInterface) {
	if v.VLAN != 0 {
		iface = p.vlan(iface, v.VLAN)
	}
	addresses, routes := layer3(v)
	for _, a := range addresses {
		p.add(model.Address{Interface: iface, Prefix: a})
	}
	for _, r := range routes {
		p.add(model.Route{Prefix: r.Dst, Interface: iface, NextHop: nextHop(v, r)})
	}
}

// nextHop is the route's gateway where frames need a neighbour. On a link that
// carries bare IP there is one peer and nothing to resolve.
func nextHop(v schema.PodInterface, r schema.Route) netip.Addr {
	if v.Memif.Mode == schema.MemifIP {
		return netip.Addr{}
	}
	return r.GW
}
