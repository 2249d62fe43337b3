// Package vppsim is a VPP 25.10 for tests: it serves VPP's binary API to an
// unchanged GoVPP client, with the retvals and dumps of the real one, speaks
// memif with other processes and moves packets. It is no VPP for anything else:
// no performance, no features beyond those that a container network needs.
//
// One file holds one VPP feature. Package api is the socket protocol, dataplane
// forwards packets, memif carries them between processes. Of vhost-user there
// is the control plane only: the interface, its socket file and its dump; no
// guest is ever served, so the link of such an interface stays down.
//
// Like VPP's main thread, a simulated VPP handles one message at a time, those
// of one client in their order.
package vppsim
