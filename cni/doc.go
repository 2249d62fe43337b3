// Command vpp-cni is a CNI plugin: it turns the calls of a container runtime
// into keys in etcd, and waits for the node's agent to make VPP match them. It
// never speaks to VPP, starts nothing that outlives a call, and keeps no state
// of its own. Under the name userspace it serves configurations of the
// Userspace CNI unchanged.
//
// # Network configuration
//
// CNI 0.3.1 to 1.1.0. host is required, everything else has a default. Fields at
// the top level that are not listed belong to the runtime or to other plugins
// and are left alone; in the sections host, container and etcd an unknown field
// is an error.
//
//	name                      the network: networks/<name> in etcd gives its VRF and MTU
//	host.engine               vpp
//	host.iftype               memif (default), vhostuser
//	host.netType              bridge, interface (routed), none (default)
//	host.memif.role           master (default), slave where the node's file has agent.hostMemifSlave; also server, client
//	host.memif.mode           ethernet (default), ip; an ip-mode memif joins no bridge and has no MAC
//	host.memif.socketfile     file name in the pod's directory (default <ifname>.memif)
//	host.memif.secret         up to 23 bytes, the same at both ends; "none" for none (default: one made for each attachment)
//	host.vhost.mode           server (default), client: which side of the socket VPP takes
//	host.vhost.socketfile     file name in the pod's directory (default <ifname>.vhost)
//	host.vhost.group          no effect: socketGroup of the agent decides
//	host.bridge.bridgeName    a number is the bridge domain's id, a name gets one for the whole cluster (default: name)
//	host.bridge.bridgeId      the same as a number, the older way
//	host.bridge.vlanId        1 to 4094: the tagged sub-interface joins the bridge, its tag popped
//	container.*               the pod's end, as host; a field that is missing is the host's, but for the
//	                          memif role and the vhost mode (the opposite) and netType (interface)
//	ipam                      any IPAM plugin; without one there are no addresses
//	dns                       replaces what IPAM says
//	mtu                       L3 MTU of both ends, 68 to 9000 bytes (default: the network's record, the node's file, VPP's 9000)
//	etcd.endpoints            with them the node's file gives no part of this section
//	etcd.cacert, cert, key    files; any of them makes the connection TLS
//	etcd.user, passwordFile   log-in
//	prefix                    of all keys (default /vpp-cni)
//	node                      this node's name in the keys (default: the host name)
//	timeout                   of one call, such as "10s", the default
//	logFile, logLevel         default: standard error, info; also the Userspace CNI's level verbose. The file must be
//	                          *.log under logDir of the node's file (/var/log/vpp-cni), else standard error is used
//	configFile                read as the node's file where the node has none
//	deviceID                  the kubelet's name of the device that stands for the attachment (Multus puts it in)
//	runtimeConfig.mac         the pod's MAC (capability mac)
//	runtimeConfig.CNIDeviceInfoFile  where the runtime reads what device the attachment is (capability
//	                          CNIDeviceInfoFile): a file in deviceInfoDir of the node's file
//	sharedDir, kubeconfig     of the Userspace CNI: no effect, a note in the log
//
// # Whose word counts
//
// The plugin is root, and in Kubernetes whoever may write a
// NetworkAttachmentDefinition writes network configurations. So where the node has
// a file (VPP_CNI_CONFIG in the plugin's environment names it, else it is
// /etc/vpp-cni/config.yaml), that file alone says where etcd is, who this node is
// and under which prefix: etcd, node, prefix and configFile of a network that
// differ from it are an error 7, unless it says networkMayOverride: true. DEL and
// GC pass them over, with a note in the log, and go by the node's file: the ADD was
// refused, and a DEL that fails keeps its pod for ever. Where the node has no file
// the network's word counts, and with it everybody who can write one can have any
// file sent away as a password. Credentials are only ever used with the endpoints
// that stand beside them.
//
// # Ends
//
// The node's file gives what the network configuration does not. Where the pod's
// netType is bridge or none, and with vhost-user, the addresses are for the
// application to set: they stand in the answer and in the pod's value.
//
// A pod's MAC is derived from node, container and interface, unless the runtime
// gives one: by the capability mac, else args.cni.mac, else MAC in CNI_ARGS.
//
// # How many
//
// A node has at most agent.maxAttachments of its file, counted by the transaction
// that writes an attachment: of ADDs that come at once those beyond it are error 11
// and withdrawn, and between the two they count, in VPP too where the agent is
// quick. A node that is full when ADD looks is error 11 before anything is written.
// The ADD of a pod's new sandbox, and a repeated one, make a node no fuller.
//
// # Device information
//
// Where the runtime asks (CNIDeviceInfoFile), ADD writes the file of the Network
// Plumbing Working Group's Device Information Specification 1.1.0, of type memif or
// vhost-user, when the host's end is ready, and DEL removes it. Role and mode are
// those of the application in the container, as specified; path is the socket's on
// the host. A file that is there and not this pod's is left alone.
//
// # Killed at any point
//
// Whatever stands when a call is killed, keys and addresses agree again by what
// runtimes do anyway:
//
//   - Keys are written and removed in one transaction, so there is never half an
//     attachment.
//   - Addresses come before keys and go after them: no host end names an address
//     that somebody else may get, at worst an address is given out that no key
//     names.
//   - A runtime owes a DEL for every ADD that did not succeed, and repeats a DEL
//     until it does. DEL runs IPAM's DEL whatever it finds in etcd.
//   - An ADD of a pod's new sandbox takes over the old one's keys and gives its
//     addresses back; the old one's late DEL finds nothing of the new one's. Where
//     the new one's ADD is killed before it has given them back, that DEL does.
//   - GC is for what the runtime has forgotten, so nobody repeats it for the same
//     attachment. It removes the pod end last, as the claim on the addresses: the
//     next GC goes on where one was killed.
//
// What is left is an address from IPAM without any key, where the runtime forgot
// the container together with the killed ADD. IPAM's own GC is run for it; that of
// host-local does nothing, so it is for its operator (the file under dataDir
// names the container). Claims under a lease would find it too, at the price of one
// more durable write in every ADD and a lease to keep in a process that ends; the
// runtime's own duty makes it rare enough to do without.
//
// An attachment of an earlier boot of the node (HostInterface.BootID) is dead: an
// ADD of the same container drops it, keys first, and begins anew.
//
// # Versions
//
// What a newer agent reports beyond what this plugin knows is passed over. What
// this plugin asks for beyond what an older agent knows is Failed (UnknownField)
// and so a failed ADD. A plugin older than the witnesses of removals (see package
// schema) works with a newer agent; what it removes while that agent is away and
// had not written a status yet is held until a DEL, a GC or the operator says that
// it may go.
//
// # Errors
//
// Codes of the CNI specification: 4 a name in the environment, 5 and 6 what
// cannot be read or decoded, 7 a configuration or an attachment that somebody
// must change, 11 what may go away by itself (etcd or the agent away, the node full, time over),
// 50 and 51 from STATUS only. An IPAM plugin's own code is passed on.
package main
