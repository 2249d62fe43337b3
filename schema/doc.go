// Package schema is the contract of VPP CNI: the etcd keys, the JSON values
// under them, and the checks that both must pass. It is pure data: it does no
// I/O, knows no etcd client and no VPP, and imports the standard library only.
//
// # Keys
//
// All keys stand under a root, by default /vpp-cni/v1/. The part before v1
// can be set (Keys); v1 names this contract. A prefix ends in a slash, so that
// node-1 never matches node-10.
//
//	key                                       | writer          | readers        | value
//	------------------------------------------+-----------------+----------------+-----------------
//	nodes/<node>/agent                        | host agent      | CNI, ctl       | AgentInfo, under the agent's lease
//	nodes/<node>/release                      | ctl             | host agent     | Release: what it holds may go
//	nodes/<node>/host/<container>/<ifname>    | CNI             | host agent     | HostInterface, desired
//	nodes/<node>/host-status/<container>/<ifname> | host agent; CNI where it is absent at a removal | CNI, ctl, host agent | InterfaceStatus of the host end
//	nodes/<node>/pods/<pod>/interfaces/<ifname> | CNI           | container agent | PodInterface, desired
//	nodes/<node>/pods/<pod>/status/<ifname>   | container agent | ctl            | InterfaceStatus of the pod end
//	networks/<name>                           | CNI, ctl        | CNI, ctl       | Network
//	bridge-domains/<id>                       | CNI             | CNI, ctl       | BridgeDomain: which network has this id
//	ipam/<network>/                           | an IPAM plugin  | ctl            | kept free for IPAM plugins
//
// <container> is CNI_CONTAINERID. <pod> is the pod's UID where the runtime
// passes K8S_POD_UID in CNI_ARGS, else the container id. Each path segment is
// checked against what CNI and Kubernetes allow before it becomes part of a key
// or of a file path.
//
// A pod's agent sees its own subtree only, with nodes/<node>/pods/<pod>/ as the
// root: interfaces/<ifname> and status/<ifname>.
//
// # Values
//
// Values are one line of JSON each. A value with a field that the reader does
// not know is refused by name (UnknownFieldError), because half of a newer
// version's meaning must not be applied. A status names the etcd revision of
// the desired value it speaks of (InterfaceStatus.SpecRevision). What agents
// report, statuses and presences, is read without what the reader does not know:
// it is news, and nothing is done on half of it.
//
// # Removal
//
// The host agent deletes a host-status only when it has removed the attachment
// from VPP. So a status without its desired value says "removed, and not yet
// gone": the agent removes what etcd bears witness of. Where the status is not
// there yet when a desired value goes, the remover puts one in the same
// transaction, of State Removed. Where neither stands, etcd is not the one that
// VPP was filled from, or lost its data: the attachment is held
// (AgentInfo.Held) until its keys are back, its runtime removes it, or an operator
// says so (Release).
//
// # Secrets
//
// The one secret in the values is memif.secret, which stands in both ends of an
// attachment: the plugin makes it, of 136 random bits, and a new sandbox gets a
// new one. VPP's master refuses a slave that does not tell it ("secret required",
// "incorrect secret"); a slave tells its own to whoever serves the socket. So it
// protects the end that is the master, by default the host's.
//
// Who can read it in etcd is who can read the desired values: the node's agent
// (host/ and pods/ of its node), the plugin, which answers a repeated ADD from
// them, an operator, and whoever gets hold of a backup or of etcd's disk. Each pod
// reads its own, through the node's agent. The role that only reads has the
// statuses, presences and networks, which hold no secret, and not the desired
// values; vpp-cnictl shows "[redacted]" to whoever may.
//
// What it is worth: a memif is reached by its socket alone, a file in the pod's
// directory on its node. Who reads a backup and cannot open files there can do
// nothing with it. Who can open that socket, and only that, is whom it keeps out:
// another process of the pod's user, or a directory mounted into the wrong pod.
// Root on the node and who may use VPP's API need no secret; VPP's API trace,
// where somebody turns it on, holds all of them. A leaked one is changed by a DEL
// and an ADD.
//
// A secret that the network configuration gives is the same for all attachments of
// that network, and stands wherever that configuration does: in files, in
// Kubernetes, in the runtime's cache, in what IPAM plugins are handed.
//
// What ADD takes from networks/<name> (bridge domain id, VRF, MTU) is resolved
// by the plugin and stands in the HostInterface: the agent reads one prefix.
package schema
