package vpp

import (
	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/binapi/vhost_user"
	"go.fd.io/govpp/binapi/vpe"
)

// required are the messages without which nothing can be done. Those of the
// vhost and ping plugins are not among them: a VPP without vhost_plugin still
// serves memif, and refuses vhost-user objects by the message's name.
func required() []api.Message {
	return []api.Message{
		&memclnt.ControlPing{}, &memclnt.ControlPingReply{},
		&vpe.ShowVersion{}, &vpe.ShowVersionReply{},

		&interfaces.SwInterfaceDump{}, &interfaces.SwInterfaceDetails{},
		&interfaces.WantInterfaceEvents{}, &interfaces.SwInterfaceEvent{},
		&interfaces.SwInterfaceSetFlags{}, &interfaces.SwInterfaceTagAddDel{},
		&interfaces.SwInterfaceSetMacAddress{}, &interfaces.SwInterfaceSetMtu{},
		&interfaces.SwInterfaceSetTable{}, &interfaces.SwInterfaceGetTable{},
		&interfaces.SwInterfaceAddDelAddress{}, &interfaces.SwInterfaceSetUnnumbered{},
		&interfaces.CreateLoopbackInstance{}, &interfaces.DeleteLoopback{},
		&interfaces.CreateVlanSubif{}, &interfaces.DeleteSubif{},

		&memif.MemifCreateV2{}, &memif.MemifDelete{},
		&memif.MemifDump{}, &memif.MemifDetails{},
		&memif.MemifSocketFilenameAddDelV2{},
		&memif.MemifSocketFilenameDump{}, &memif.MemifSocketFilenameDetails{},

		&l2.BridgeDomainAddDelV2{}, &l2.BridgeDomainDump{}, &l2.BridgeDomainDetails{},
		&l2.SwInterfaceSetL2Bridge{}, &l2.L2InterfaceVlanTagRewrite{},

		&ip.IPTableAddDelV2{}, &ip.IPTableDump{}, &ip.IPTableDetails{},
		&ip.IPAddressDump{}, &ip.IPAddressDetails{},
		&ip.IPUnnumberedDump{}, &ip.IPUnnumberedDetails{},
		&ip.SwInterfaceIP6EnableDisable{},
		&ip.IPRouteAddDelV2{}, &ip.IPRouteV2Dump{}, &ip.IPRouteV2Details{},

		&ip_neighbor.IPNeighborAddDel{}, &ip_neighbor.IPNeighborDump{},
		&ip_neighbor.IPNeighborDetails{},
	}
}

// hasVhost says whether this VPP has the vhost plugin.
func (s *session) hasVhost() bool {
	return s.lacks(&vhost_user.CreateVhostUserIfV2{}, &vhost_user.DeleteVhostUserIf{},
		&vhost_user.SwInterfaceVhostUserDump{}, &vhost_user.SwInterfaceVhostUserDetails{}) == nil
}
