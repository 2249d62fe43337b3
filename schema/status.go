package schema

import "time"

// State is where an end of an attachment stands.
type State string

// The states. Pending is being worked on or waiting for what it names; Failed
// will not work until somebody changes the desired value; Ready is as desired.
const (
	Pending State = "Pending"
	Ready   State = "Ready"
	Failed  State = "Failed"
)

// Reason is one word that says why a status is as it is.
type Reason string

// The reasons.
const (
	ReasonApplied          Reason = "Applied"          // Ready: VPP holds what is desired
	ReasonApplicationOwned Reason = "ApplicationOwned" // Ready: vhost-user in the pod, the application's own device
	ReasonProgramming      Reason = "Programming"      // Pending: being applied
	ReasonVPPDown          Reason = "VPPDown"          // Pending: no connection to VPP
	ReasonRetrying         Reason = "Retrying"         // Pending: VPP refused or did not answer, tried again
	ReasonConflict         Reason = "Conflict"         // Failed: another attachment has what this one asks for
	ReasonInvalid          Reason = "Invalid"          // Failed: the desired value cannot be read or is not allowed
	ReasonUnknownField     Reason = "UnknownField"     // Failed: the desired value has a field this agent does not know
)

// Link is the link state of an interface as VPP reports it. A memif's link is
// up when its peer is connected.
type Link string

// The link states.
const (
	LinkUp   Link = "Up"
	LinkDown Link = "Down"
)

// InterfaceStatus is what an agent sees of one end of an attachment.
type InterfaceStatus struct {
	// SpecRevision is the etcd mod revision of the desired value that this
	// status speaks of.
	SpecRevision int64  `json:"specRevision"`
	State        State  `json:"state"`
	Reason       Reason `json:"reason"`
	// Message is for people; empty when there is nothing to add.
	Message string `json:"message,omitempty"`
	// Interface is VPP's name of the interface, such as memif1/0.
	Interface string  `json:"interface,omitempty"`
	SwIfIndex *uint32 `json:"swIfIndex,omitempty"`
	MAC       MAC     `json:"mac,omitzero"`
	// MTU is the L3 MTU in bytes.
	MTU  uint32 `json:"mtu,omitempty"`
	Link Link   `json:"link,omitempty"`
	// SocketPath is the full path of the socket where the writer sees it.
	SocketPath string `json:"socketPath,omitempty"`
	// Since is when State, Reason or Link last changed.
	Since time.Time `json:"since"`
}

// AgentInfo is a host agent's presence, under nodes/<node>/agent and its lease.
// While the key is absent the node has no agent.
type AgentInfo struct {
	Node         Node   `json:"node"`
	AgentVersion string `json:"agentVersion"`
	// Instance is new at each start of an agent.
	Instance string `json:"instance"`
	PID      int    `json:"pid"`
	// BootID is the kernel's boot id of the node.
	BootID     string `json:"bootID,omitempty"`
	VPPVersion string `json:"vppVersion,omitempty"`
	VPPPID     uint32 `json:"vppPID,omitempty"`
	// RunDir is the directory of the sockets as the host sees it.
	RunDir string `json:"runDir"`
	Ready  bool   `json:"ready"`
	// Reason and Message say why Ready is false.
	Reason  Reason    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"`
}
