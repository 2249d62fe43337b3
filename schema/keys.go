package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// DefaultPrefix is the part of every key before the contract's version.
const DefaultPrefix = "/vpp-cni"

// Version is the version of this contract in every key.
const Version = "v1"

// Keys builds and parses keys under one root. The zero value uses
// DefaultPrefix.
type Keys struct{ root string }

// NewKeys returns keys under prefix + "/v1/". An empty prefix means
// DefaultPrefix. A prefix starts with '/' and has no empty segment.
func NewKeys(prefix string) (Keys, error) {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	trimmed := strings.TrimSuffix(prefix, "/")
	bad := &FieldError{Field: "prefix", Value: prefix, Allowed: "segments of letters, digits, '_', '.' and '-', each after a '/', as in /vpp-cni"}
	segments, ok := strings.CutPrefix(trimmed, "/")
	if !ok {
		return Keys{}, bad
	}
	for s := range strings.SplitSeq(segments, "/") {
		if !cniPattern.MatchString(s) {
			return Keys{}, bad
		}
	}
	return Keys{root: trimmed + "/" + Version + "/"}, nil
}

// Root is the prefix of all keys, with its final slash.
func (k Keys) Root() string {
	if k.root == "" {
		return DefaultPrefix + "/" + Version + "/"
	}
	return k.root
}

// NodesPrefix covers everything of all nodes.
func (k Keys) NodesPrefix() string { return k.Root() + "nodes/" }

// NodePrefix covers everything of one node. The final slash keeps node-1 from
// matching node-10.
func (k Keys) NodePrefix(n Node) string { return k.NodesPrefix() + string(n) + "/" }

// Agent is the presence of a node's host agent.
func (k Keys) Agent(n Node) string { return k.NodePrefix(n) + "agent" }

// Release is an operator's word to a node's host agent.
func (k Keys) Release(n Node) string { return k.NodePrefix(n) + ReleaseKey }

// HostPrefix covers all desired host ends of one node. Status lives elsewhere,
// so an agent never wakes itself.
func (k Keys) HostPrefix(n Node) string { return k.NodePrefix(n) + HostInterfacesPrefix }

// Host is the desired host end of one attachment.
func (k Keys) Host(n Node, c ContainerID, i IfName) string {
	return k.NodePrefix(n) + HostKey(c, i)
}

// HostStatusPrefix covers the statuses of all host ends of one node.
func (k Keys) HostStatusPrefix(n Node) string { return k.NodePrefix(n) + HostStatusesPrefix }

// HostStatus is what the host agent reports of one host end.
func (k Keys) HostStatus(n Node, c ContainerID, i IfName) string {
	return k.NodePrefix(n) + HostStatusKey(c, i)
}

// PodsPrefix covers all pods of one node.
func (k Keys) PodsPrefix(n Node) string { return k.NodePrefix(n) + "pods/" }

// PodPrefix is the root of what one pod may see.
func (k Keys) PodPrefix(n Node, p PodID) string { return k.PodsPrefix(n) + string(p) + "/" }

// PodInterface is the desired pod end of one attachment.
func (k Keys) PodInterface(n Node, p PodID, i IfName) string {
	return k.PodPrefix(n, p) + PodInterfaceKey(i)
}

// PodStatus is what the container agent reports of one pod end.
func (k Keys) PodStatus(n Node, p PodID, i IfName) string {
	return k.PodPrefix(n, p) + PodStatusKey(i)
}

// NetworksPrefix covers all networks.
func (k Keys) NetworksPrefix() string { return k.Root() + "networks/" }

// Network is the record of one network.
func (k Keys) Network(n NetworkName) string { return k.NetworksPrefix() + string(n) }

// BridgeDomainsPrefix covers all bridge-domain ids given to networks.
func (k Keys) BridgeDomainsPrefix() string { return k.Root() + "bridge-domains/" }

// BridgeDomain is the record of which network has a bridge-domain id.
func (k Keys) BridgeDomain(id uint32) string {
	return k.BridgeDomainsPrefix() + strconv.FormatUint(uint64(id), 10)
}

// The keys of a pod relative to PodPrefix, as the pod's own agent sees them.
const (
	PodInterfacesPrefix = "interfaces/"
	PodStatusPrefix     = "status/"
)

// PodInterfaceKey is a desired pod end relative to PodPrefix.
func PodInterfaceKey(i IfName) string { return PodInterfacesPrefix + string(i) }

// PodStatusKey is the status of a pod end relative to PodPrefix.
func PodStatusKey(i IfName) string { return PodStatusPrefix + string(i) }

// The keys of a node relative to NodePrefix, as the node's own agent sees them.
const (
	HostInterfacesPrefix = "host/"
	HostStatusesPrefix   = "host-status/"
	ReleaseKey           = "release"
)

// HostKey is a desired host end relative to NodePrefix.
func HostKey(c ContainerID, i IfName) string {
	return HostInterfacesPrefix + string(c) + "/" + string(i)
}

// HostStatusKey is the status of a host end relative to NodePrefix.
func HostStatusKey(c ContainerID, i IfName) string {
	return HostStatusesPrefix + string(c) + "/" + string(i)
}

// KeyKind says which row of the key table a key belongs to.
type KeyKind int

// The rows of the key table (see the package documentation).
const (
	KeyAgent KeyKind = iota + 1
	KeyHost
	KeyHostStatus
	KeyPodInterface
	KeyPodStatus
	KeyNetwork
	KeyBridgeDomain
	KeyRelease
)

// Ref is a parsed key: its row and the names in it. Names that the row does
// not have are empty.
type Ref struct {
	Kind      KeyKind
	Node      Node
	Container ContainerID
	Pod       PodID
	IfName    IfName
	Network   NetworkName
	DomainID  uint32
}

// Parse takes a key apart and checks every name in it.
func (k Keys) Parse(key string) (Ref, error) {
	rest, ok := strings.CutPrefix(key, k.Root())
	if !ok {
		return Ref{}, keyError(key, "it is not under "+k.Root())
	}
	seg := strings.Split(rest, "/")
	switch {
	case seg[0] == "networks" && len(seg) == 2:
		r := Ref{Kind: KeyNetwork, Network: NetworkName(seg[1])}
		return checkRef(key, r, r.Network)
	case seg[0] == "bridge-domains" && len(seg) == 2:
		return parseDomain(key, seg[1])
	case seg[0] == "nodes" && len(seg) == 3 && seg[2] == "agent":
		r := Ref{Kind: KeyAgent, Node: Node(seg[1])}
		return checkRef(key, r, r.Node)
	case seg[0] == "nodes" && len(seg) == 3 && seg[2] == ReleaseKey:
		r := Ref{Kind: KeyRelease, Node: Node(seg[1])}
		return checkRef(key, r, r.Node)
	case seg[0] == "nodes" && len(seg) > 3:
		return k.parseNode(key, Node(seg[1]), strings.Join(seg[2:], "/"))
	}
	return Ref{}, keyError(key, "no such row in the key table")
}

func (k Keys) parseNode(key string, n Node, rest string) (Ref, error) {
	if err := n.Validate(); err != nil {
		return Ref{}, keyError(key, err.Error())
	}
	if pod, ok := strings.CutPrefix(rest, "pods/"); ok {
		id, tail, _ := strings.Cut(pod, "/")
		r, err := ParsePodKey(tail)
		if err != nil {
			return Ref{}, keyError(key, "no such row in the key table")
		}
		r.Node, r.Pod = n, PodID(id)
		return checkRef(key, r, r.Pod)
	}
	r, err := ParseHostKey(rest)
	r.Node = n
	if err != nil {
		return Ref{}, keyError(key, "no such row in the key table")
	}
	return r, nil
}

// ParsePodKey takes a key relative to PodPrefix apart.
func ParsePodKey(key string) (Ref, error) {
	for prefix, kind := range map[string]KeyKind{PodInterfacesPrefix: KeyPodInterface, PodStatusPrefix: KeyPodStatus} {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			r := Ref{Kind: kind, IfName: IfName(name)}
			return checkRef(key, r, r.IfName)
		}
	}
	return Ref{}, keyError(key, "not interfaces/<ifname> or status/<ifname>")
}

// ParseHostKey takes a key relative to NodePrefix apart.
func ParseHostKey(key string) (Ref, error) {
	for prefix, kind := range map[string]KeyKind{HostInterfacesPrefix: KeyHost, HostStatusesPrefix: KeyHostStatus} {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			c, i, _ := strings.Cut(rest, "/")
			r := Ref{Kind: kind, Container: ContainerID(c), IfName: IfName(i)}
			return checkRef(key, r, r.Container, r.IfName)
		}
	}
	return Ref{}, keyError(key, "not host/<container>/<ifname> or host-status/<container>/<ifname>")
}

func parseDomain(key, s string) (Ref, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	if err != nil || strconv.FormatUint(id, 10) != s {
		return Ref{}, keyError(key, "a bridge-domain id is a decimal number")
	}
	if id < 1 || id > uint64(MaxDomain) {
		return Ref{}, keyError(key, fmt.Sprintf("a bridge-domain id is 1 to %d", MaxDomain))
	}
	return Ref{Kind: KeyBridgeDomain, DomainID: uint32(id)}, nil
}

type validator interface{ Validate() error }

func checkRef(key string, r Ref, names ...validator) (Ref, error) {
	for _, n := range names {
		if err := n.Validate(); err != nil {
			return Ref{}, keyError(key, err.Error())
		}
	}
	return r, nil
}

func keyError(key, why string) error {
	if len(key) > 200 {
		key = key[:200] + "…"
	}
	return fmt.Errorf("key %q: %s", key, why)
}
