// Package hostplan turns a desired host end of an attachment into the objects
// that the host's VPP and the run-dir must hold. It is pure: it reads no etcd
// and asks no VPP. Order and retries belong to package reconcile.
package hostplan

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

// Planner makes plans for one node.
type Planner struct {
	// RunDir is the agent's directory as the host sees it.
	RunDir string
	// BootID is the kernel's id of this boot; empty: not known.
	BootID string
	// NoSlave refuses a memif whose master is the pod (see config.Agent's
	// HostMemifSlave).
	NoSlave bool
}

// Plan is what one attachment needs on the host.
type Plan struct {
	Objects []model.Object
	// Interface is the tag of the attachment's interface.
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

// PodDir is the directory of a pod's sockets.
func (p Planner) PodDir(pod schema.PodID) string {
	return filepath.Join(p.RunDir, "pods", string(pod))
}

// Decode plans for the value under a key relative to the node's prefix,
// host/<container>/<ifname>. Errors are schema.UnknownFieldError,
// schema.FieldError and what JSON says, wrapped.
func (p Planner) Decode(key string, value []byte) (Plan, error) {
	ref, err := schema.ParseHostKey(key)
	if err != nil {
		return Plan{}, err
	}
	if ref.Kind != schema.KeyHost {
		return Plan{}, fmt.Errorf("key %q: not a desired host end", key)
	}
	h, err := schema.Decode[schema.HostInterface](value)
	if err != nil {
		return Plan{}, err
	}
	return p.Plan(ref.Container, ref.IfName, h)
}

// Interfaces are the identities that the interface of an attachment may have,
// known from its key alone.
func Interfaces(key string) []model.ID {
	ref, err := schema.ParseHostKey(key)
	if err != nil {
		return nil
	}
	tag := string(model.AttachmentTag(string(ref.IfName), string(ref.Container)))
	return []model.ID{{Kind: model.KindMemif, Name: tag}, {Kind: model.KindVhostUser, Name: tag}}
}

// Plan is what the attachment of container and ifname needs on the host. It
// validates h. The sandboxes of an earlier boot are dead: they need nothing.
func (p Planner) Plan(container schema.ContainerID, ifname schema.IfName, h schema.HostInterface) (Plan, error) {
	if err := h.Validate(); err != nil {
		return Plan{}, err
	}
	if p.NoSlave && h.Memif != nil && h.Memif.Role == schema.MemifSlave {
		return Plan{}, &schema.FieldError{
			Field: "memif.role", Value: string(h.Memif.Role),
			Allowed: "master: a pod that serves the socket can stop the host's VPP by taking no connection (agent.hostMemifSlave: true of the node's file allows it)",
		}
	}
	if p.BootID != "" && h.BootID != "" && h.BootID != p.BootID {
		return Plan{Failed: schema.ReasonRebooted, Message: fmt.Sprintf(
			"the node has booted since: the sandbox is of boot %s, now it is boot %s", h.BootID, p.BootID)}, nil
	}
	dir := p.PodDir(h.Pod.ID)
	out := Plan{Interface: model.AttachmentTag(string(ifname), string(container))}
	iface, err := out.device(dir, h)
	if err != nil {
		return Plan{}, err
	}
	if h.MTU != 0 {
		out.add(model.MTU{Interface: iface, Bytes: uint32(h.MTU)})
	}
	out.add(model.AdminUp{Interface: iface})
	switch h.NetType {
	case schema.NetBridge:
		out.bridge(iface, *h.Bridge)
	case schema.NetInterface:
		out.routed(iface, h)
	case schema.NetNone:
	}
	return out, nil
}

// add adds objects, each once.
func (p *Plan) add(objects ...model.Object) {
	for _, o := range objects {
		if !slices.Contains(p.Objects, o) {
			p.Objects = append(p.Objects, o)
		}
	}
}

// device is the memif or vhost-user interface with what it stands on.
func (p *Plan) device(dir string, h schema.HostInterface) (model.ID, error) {
	mac := model.MAC(h.MAC)
	if mac == (model.MAC{}) {
		mac = model.MAC(schema.DeriveMAC("host", string(p.Interface)))
	}
	p.add(model.Directory{Path: dir}, model.GatewaySocket{Path: filepath.Join(dir, schema.GatewaySocket)})
	switch h.IfType {
	case schema.Memif:
		p.SocketPath = filepath.Join(dir, h.Memif.Socket)
		m := model.Memif{
			Tag: p.Interface, Socket: p.SocketPath, Master: h.Memif.Role == schema.MemifMaster,
			MAC: mac, Secret: model.NewSecret(h.Memif.Secret.Reveal()), Dir: dir,
		}
		if h.Memif.Mode == schema.MemifIP {
			m.IPMode, m.MAC = true, model.MAC{}
		}
		p.add(model.Socket{Path: p.SocketPath}, m)
		return m.ID(), schema.CheckSocketPath(p.SocketPath)
	case schema.VhostUser:
		p.SocketPath = filepath.Join(dir, h.VhostUser.Socket)
		v := model.VhostUser{
			Tag: p.Interface, Socket: p.SocketPath, Server: h.VhostUser.Role == schema.VhostServer, MAC: mac, Dir: dir,
		}
		p.add(v)
		return v.ID(), schema.CheckSocketPath(p.SocketPath)
	}
	return model.ID{}, errors.New("no interface type")
}

// bridge makes the interface, or its VLAN's sub-interface, a member.
func (p *Plan) bridge(iface model.ID, b schema.BridgeEnd) {
	p.add(model.BridgeDomain{DomainID: b.DomainID})
	if b.VLAN != 0 {
		sub := model.SubInterface{Tag: model.SubTag(p.Interface, b.VLAN), Parent: iface, VLAN: b.VLAN, Popped: true}
		p.add(sub, model.AdminUp{Interface: sub.ID()})
		iface = sub.ID()
	}
	p.add(model.BridgeMember{Interface: iface, DomainID: b.DomainID})
}
