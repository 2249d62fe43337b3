// Package api speaks VPP's binary API on a Unix stream socket as VPP's side of
// it: the 16-byte frame header, sockclnt_create with the message table,
// contexts, client indexes and the big-endian messages of GoVPP's binapi. It
// knows no message but those of the socket itself; what a VPP does with the
// others is package vppsim's affair.
package api
