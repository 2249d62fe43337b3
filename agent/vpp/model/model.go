// Package model is the set of VPP objects that the agents want or find: pure
// data with identities, dependencies and comparison. It talks to no VPP and
// knows neither keys nor attachments.
package model

import "fmt"

// Kind is a sort of object. Kinds are created in the order of their values and
// deleted in the reverse order.
type Kind int

// The kinds, in the order in which VPP can take them. All interfaces are made
// admin-down and go up in a phase of their own: at 1,000 memifs and more, VPP
// 25.10 dies when a create runs beside an admin-up (memif_process walks a pool
// that the create moves).
const (
	KindDirectory Kind = iota + 1
	KindGatewaySocket
	KindTable
	KindBridgeDomain
	KindLoopback
	KindSocket
	KindMemif
	KindVhostUser
	KindSubInterface
	KindInterfaceTable
	KindMTU
	KindAddress
	KindUnnumbered
	KindBridgeMember
	KindAdminUp
	KindRoute
	KindNeighbor
)

// Kinds lists all kinds in the order of creation.
func Kinds() []Kind {
	kinds := make([]Kind, 0, KindNeighbor)
	for k := KindDirectory; k <= KindNeighbor; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

var kindNames = map[Kind]string{
	KindDirectory: "directory", KindGatewaySocket: "gateway-socket", KindTable: "table", KindBridgeDomain: "bridge-domain",
	KindLoopback: "loopback", KindSocket: "socket", KindMemif: "memif",
	KindVhostUser: "vhost-user", KindSubInterface: "sub-interface",
	KindInterfaceTable: "interface-table", KindMTU: "mtu", KindAddress: "address",
	KindUnnumbered: "unnumbered", KindBridgeMember: "bridge-member",
	KindAdminUp: "admin-up", KindRoute: "route", KindNeighbor: "neighbor",
}

func (k Kind) String() string {
	if s, ok := kindNames[k]; ok {
		return s
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// Shared says whether others than we may stand in an object of this kind, which
// VPP then does not delete: bridge domains and FIB tables.
func (k Kind) Shared() bool { return k == KindBridgeDomain || k == KindTable }

// Interface says whether objects of this kind are interfaces, which bear a tag.
func (k Kind) Interface() bool { return k >= KindLoopback && k <= KindSubInterface && k != KindSocket }

// ID is the identity of an object: equal IDs are the same object, whatever its
// sw_if_index, which VPP gives to the next interface as soon as it is free.
type ID struct {
	Kind Kind
	Name string
}

func (id ID) String() string { return id.Kind.String() + " " + id.Name }

// Object is one thing in VPP (or one directory of sockets). Objects are
// comparable values.
type Object interface {
	ID() ID
	// Deps are the objects that must be there before this one, and that must
	// stay while it is.
	Deps() []ID
	// Compare says what it takes to make have, found in VPP under the same ID,
	// into this one. Of a memif's secret VPP shows what the tag tells (Mark).
	Compare(have Object) Change
	// FallsWith says whether VPP removes the object by itself when the object
	// owner is deleted; it then needs no delete of its own.
	FallsWith(owner ID) bool
}

// Change is what it takes to make a found object into the wanted one.
type Change int

// The changes: nothing, a Put over what is there, a Delete and then a Put.
const (
	Same Change = iota
	Update
	Replace
)
