package schema

import "time"

// State is where an end of an attachment stands.
type State string

// The states. Pending is being worked on or waiting for what it names; Failed
// will not work until somebody changes the desired value; Ready is as desired.
//
// Removed is the plugin's word, not the agent's: it takes the place of a status
// that is not there when a desired value is removed, so that the agent finds
// witness of the removal whenever it looks. SpecRevision is then the revision of
// the value removed, or that of the look that found none. The agent deletes it
// when the attachment is gone.
const (
	Pending State = "Pending"
	Ready   State = "Ready"
	Failed  State = "Failed"
	Removed State = "Removed"
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
	ReasonRebooted         Reason = "Rebooted"         // Failed: the sandbox is of an earlier boot of the node
	ReasonDetached         Reason = "Detached"         // Removed: by DEL, GC, a withdrawn ADD or a newer sandbox
)

// Link is the link state of an interface as VPP reports it. A memif's link is
// up when its peer is connected.
type Link string

// The link states.
const (
	LinkUp   Link = "Up"
	LinkDown Link = "Down"
)

// InterfaceStatus is what an agent sees of one end of an attachment, or the
// witness of its removal (Removed).
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
	Reason  Reason `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Held counts the attachments that stand in VPP although etcd knows neither
	// of them nor of their removal, as after a loss of etcd's data.
	Held  int       `json:"held,omitempty"`
	Since time.Time `json:"since"`
}

// Release is an operator's word, under nodes/<node>/release, that what the agent
// holds (AgentInfo.Held) may go. The agent deletes it when it has read it.
type Release struct {
	// Instance is the agent's (AgentInfo.Instance) that the word is for.
	Instance string    `json:"instance"`
	At       time.Time `json:"at"`
}
