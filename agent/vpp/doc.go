// Package vpp writes desired objects to VPP and dumps VPP back into the same
// objects. It alone imports GoVPP. Order, retries and what to delete belong to
// package reconcile; what is wanted comes from the plans; starting VPP is out
// of scope.
//
// What is ours in VPP is marked in VPP: interfaces, bridge domains and tables
// by a tag or name that starts with vpp-cni/, memif sockets by their path under
// the socket root, and everything else by the interface that it hangs on.
// Nothing else is listed, changed or deleted.
package vpp
