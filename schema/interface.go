package schema

import "net/netip"

// IfType is the kind of interface that joins pod and host.
type IfType string

// The interface types.
const (
	Memif     IfType = "memif"
	VhostUser IfType = "vhost-user"
)

// NetType is what an end of an attachment is made part of.
type NetType string

// The network types: a member of a bridge domain, a routed interface, or just
// an interface that is up.
const (
	NetBridge    NetType = "bridge"
	NetInterface NetType = "interface"
	NetNone      NetType = "none"
)

// MemifRole is an end's role on a memif. The two ends have opposite roles.
type MemifRole string

// The memif roles: the master listens on the socket, the slave connects.
const (
	MemifMaster MemifRole = "master"
	MemifSlave  MemifRole = "slave"
)

// MemifMode is what a memif carries. Both ends have the same mode.
type MemifMode string

// The memif modes: Ethernet frames, or bare IP packets.
const (
	MemifEthernet MemifMode = "ethernet"
	MemifIP       MemifMode = "ip"
)

// VhostRole is which side of a vhost-user socket VPP takes. VPP is the back end
// in both.
type VhostRole string

// The vhost-user roles: VPP serves the socket, or connects to it.
const (
	VhostServer VhostRole = "server"
	VhostClient VhostRole = "client"
)

// MemifEnd is one end of a memif.
type MemifEnd struct {
	Role MemifRole `json:"role"`
	Mode MemifMode `json:"mode"`
	// Socket is the socket's file name in the pod's directory; each side adds
	// the directory where it sees it.
	Socket string `json:"socket"`
	// Secret is the same at both ends; absent: VPP asks for none.
	Secret Secret `json:"secret,omitzero"`
}

// VhostEnd is a vhost-user device. On the pod's side it describes VPP's role,
// and the application takes the other.
type VhostEnd struct {
	Role VhostRole `json:"role"`
	// Socket is the socket's file name in the pod's directory.
	Socket string `json:"socket"`
}

// BridgeEnd is the bridge domain that an end joins.
type BridgeEnd struct {
	// Name is the name in the network configuration, a number or any name.
	Name string `json:"name"`
	// DomainID is VPP's bd_id, 1 to 16777214.
	DomainID uint32 `json:"domainID"`
	// VLAN is the 802.1Q VLAN of the tagged sub-interface that joins the bridge
	// with its tag popped, 1 to 4094; 0: the interface itself joins.
	VLAN uint16 `json:"vlan,omitempty"`
}

// PodRef names the pod of an attachment. Namespace and name are for people.
type PodRef struct {
	ID        PodID  `json:"id"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

// Route is a route of the pod.
type Route struct {
	Dst netip.Prefix `json:"dst"`
	// GW is the next hop; absent: Dst is on the link.
	GW netip.Addr `json:"gw,omitzero"`
}

// HostInterface is the desired host end of one attachment, under
// nodes/<node>/host/<container>/<ifname>.
type HostInterface struct {
	Network NetworkName `json:"network"`
	Pod     PodRef      `json:"pod"`
	// Sandbox is CNI_NETNS as the runtime gave it.
	Sandbox string `json:"sandbox,omitempty"`
	// BootID is the kernel's boot id of the node when ADD ran.
	BootID string `json:"bootID,omitempty"`
	// DeviceID is the device that the kubelet gave the pod for this attachment;
	// absent where the pod did not ask for one. It is for the node's agent, which
	// is the kubelet's device plugin: what has one of its devices is counted by the
	// kubelet already.
	DeviceID  string     `json:"deviceID,omitempty"`
	IfType    IfType     `json:"ifType"`
	NetType   NetType    `json:"netType"`
	Memif     *MemifEnd  `json:"memif,omitempty"`
	VhostUser *VhostEnd  `json:"vhostUser,omitempty"`
	Bridge    *BridgeEnd `json:"bridge,omitempty"`
	// MAC of the host end; absent on an ip-mode memif.
	MAC MAC `json:"mac,omitzero"`
	// MTU is the L3 MTU in bytes; 0: VPP's default (9000).
	MTU uint16 `json:"mtu,omitempty"`
	// VRF is VPP's FIB table id of a routed end, for IPv4 and IPv6.
	VRF uint32 `json:"vrf,omitempty"`
	// Gateways are the addresses of the host end that IPAM gave as the pod's
	// gateways (routed ends only).
	Gateways []netip.Addr `json:"gateways,omitempty"`
	// PodAddresses are routed to the pod, each as a host route (routed ends only).
	PodAddresses []netip.Addr `json:"podAddresses,omitempty"`
}

// PodInterface is the desired pod end of one attachment, under
// nodes/<node>/pods/<pod>/interfaces/<ifname>.
type PodInterface struct {
	Network NetworkName `json:"network"`
	// Container is the sandbox that this end belongs to. DEL of another
	// sandbox of the same pod leaves it alone.
	Container ContainerID `json:"container"`
	Pod       PodRef      `json:"pod"`
	IfType    IfType      `json:"ifType"`
	NetType   NetType     `json:"netType"`
	Memif     *MemifEnd   `json:"memif,omitempty"`
	VhostUser *VhostEnd   `json:"vhostUser,omitempty"`
	Bridge    *BridgeEnd  `json:"bridge,omitempty"`
	MAC       MAC         `json:"mac,omitzero"`
	MTU       uint16      `json:"mtu,omitempty"`
	// VLAN is the 802.1Q VLAN that the host end's bridge expects of a routed
	// pod end, 1 to 4094: addresses and routes stand on a tagged sub-interface.
	// 0: on the interface itself. A pod end in a bridge says it in Bridge.
	VLAN uint16 `json:"vlan,omitempty"`
	// Routed says that the host end is a routed one: the gateways are the only
	// neighbours on the link, even where Addresses have a subnet's length.
	Routed bool `json:"routed,omitempty"`
	// Addresses, Gateways, Routes and DNS are IPAM's answer. VPP in the pod gets
	// the addresses and routes where NetType is interface; elsewhere they are for
	// the application.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Gateways  []netip.Addr   `json:"gateways,omitempty"`
	Routes    []Route        `json:"routes,omitempty"`
	DNS       *DNS           `json:"dns,omitempty"`
}

// DNS is how the pod resolves names, as in a CNI result. No program of ours
// uses it.
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	Search      []string `json:"search,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// GatewayOf is the gateway of one of the addresses: one in its subnet, else the
// first of its family; invalid where IPAM gave none.
func (p PodInterface) GatewayOf(addr netip.Prefix) netip.Addr {
	var family netip.Addr
	for _, gw := range p.Gateways {
		switch {
		case gw.Is4() != addr.Addr().Is4():
		case addr.Contains(gw):
			return gw
		case !family.IsValid():
			family = gw
		}
	}
	return family
}
