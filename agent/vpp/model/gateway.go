package model

import "path/filepath"

// GatewaySocket is a pod's window on etcd, a socket that the agent itself
// listens on in the pod's directory.
type GatewaySocket struct{ Path string }

// ID is the socket's path.
func (s GatewaySocket) ID() ID { return ID{KindGatewaySocket, s.Path} }

// Deps is the directory that it stands in.
func (s GatewaySocket) Deps() []ID { return []ID{{KindDirectory, filepath.Dir(s.Path)}} }

// Compare says what it takes to make have into it.
func (s GatewaySocket) Compare(have Object) Change { return compare(s, have, Replace) }

// FallsWith says whether VPP removes it together with owner.
func (s GatewaySocket) FallsWith(ID) bool { return false }
