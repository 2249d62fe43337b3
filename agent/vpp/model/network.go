package model

import "net/netip"

// Table is a FIB table. Table 0 is VPP's own and never an object.
type Table struct {
	VRF uint32
	V6  bool
}

// ID is the table's number and family.
func (t Table) ID() ID { return TableID(t.VRF, t.V6) }

// Deps is what must be there before it.
func (t Table) Deps() []ID { return nil }

// Compare says what it takes to make have into it.
func (t Table) Compare(have Object) Change { return compare(t, have, Replace) }

// FallsWith says whether VPP removes it together with owner.
func (t Table) FallsWith(ID) bool { return false }

// TableID is the identity of a table.
func TableID(vrf uint32, v6 bool) ID { return ID{KindTable, decimal(vrf) + family(v6)} }

func family(v6 bool) string {
	if v6 {
		return "/ip6"
	}
	return "/ip4"
}

// BridgeDomain is a learning, flooding and forwarding bridge domain. Where
// somebody else made a domain of that id, it is used as it is and never
// deleted.
type BridgeDomain struct {
	DomainID uint32
	// Changed is true only for one of ours found with other settings.
	Changed bool
}

// ID is the bd_id.
func (b BridgeDomain) ID() ID { return BridgeDomainID(b.DomainID) }

// Deps is what must be there before it.
func (b BridgeDomain) Deps() []ID { return nil }

// Compare says what it takes to make have into it.
func (b BridgeDomain) Compare(have Object) Change { return compare(b, have, Update) }

// FallsWith says whether VPP removes it together with owner.
func (b BridgeDomain) FallsWith(ID) bool { return false }

// BridgeDomainID is the identity of a bridge domain.
func BridgeDomainID(id uint32) ID { return ID{KindBridgeDomain, decimal(id)} }

// BridgeMember puts an interface into a bridge domain.
type BridgeMember struct {
	Interface ID
	DomainID  uint32
}

// ID is the interface: it is in one bridge domain at most.
func (b BridgeMember) ID() ID { return ID{KindBridgeMember, b.Interface.Name} }

// Deps is what must be there before it.
func (b BridgeMember) Deps() []ID { return []ID{b.Interface, BridgeDomainID(b.DomainID)} }

// Compare says what it takes to make have into it.
func (b BridgeMember) Compare(have Object) Change { return compare(b, have, Update) }

// FallsWith says whether VPP removes it together with owner.
func (b BridgeMember) FallsWith(owner ID) bool { return owner == b.Interface }

// InterfaceTable puts an interface into a FIB table of one family. It must come
// before the interface's addresses of that family.
type InterfaceTable struct {
	Interface ID
	VRF       uint32
	V6        bool
}

// ID is the interface and the family.
func (t InterfaceTable) ID() ID { return InterfaceTableID(t.Interface, t.V6) }

// Deps is what must be there before it.
func (t InterfaceTable) Deps() []ID { return []ID{t.Interface, TableID(t.VRF, t.V6)} }

// Compare says what it takes to make have into it.
func (t InterfaceTable) Compare(have Object) Change { return compare(t, have, Replace) }

// FallsWith says whether VPP removes it together with owner.
func (t InterfaceTable) FallsWith(owner ID) bool { return owner == t.Interface }

// InterfaceTableID is the identity of an interface's place in a table.
func InterfaceTableID(iface ID, v6 bool) ID {
	return ID{KindInterfaceTable, iface.Name + family(v6)}
}

// MTU is the L3 MTU of an interface in bytes.
type MTU struct {
	Interface ID
	Bytes     uint32
}

// ID is the interface.
func (m MTU) ID() ID { return ID{KindMTU, m.Interface.Name} }

// Deps is what must be there before it.
func (m MTU) Deps() []ID { return []ID{m.Interface} }

// Compare says what it takes to make have into it.
func (m MTU) Compare(have Object) Change { return compare(m, have, Update) }

// FallsWith says whether VPP removes it together with owner.
func (m MTU) FallsWith(owner ID) bool { return owner == m.Interface }

// AdminUp is the admin state of an interface.
type AdminUp struct{ Interface ID }

// ID is the interface.
func (a AdminUp) ID() ID { return ID{KindAdminUp, a.Interface.Name} }

// Deps is what must be there before it.
func (a AdminUp) Deps() []ID { return []ID{a.Interface} }

// Compare says what it takes to make have into it.
func (a AdminUp) Compare(have Object) Change { return compare(a, have, Update) }

// FallsWith says whether VPP removes it together with owner.
func (a AdminUp) FallsWith(owner ID) bool { return owner == a.Interface }

// Address is an address with its subnet on an interface.
type Address struct {
	Interface ID
	Prefix    netip.Prefix
	// VRF is the table that the interface is in, 0 for VPP's default.
	VRF uint32
}

// ID is the interface and the address.
func (a Address) ID() ID { return ID{KindAddress, a.Interface.Name + " " + a.Prefix.String()} }

// Deps are the interface and its table.
func (a Address) Deps() []ID { return inTable(a.Interface, a.VRF, a.Prefix.Addr().Is6()) }

// Compare leaves VRF out: it only orders.
func (a Address) Compare(have Object) Change {
	if h, ok := have.(Address); ok && h.Interface == a.Interface && h.Prefix == a.Prefix {
		return Same
	}
	return Replace
}

// FallsWith is false: VPP wants addresses removed before their interface.
func (a Address) FallsWith(ID) bool { return false }

// Unnumbered makes an interface use the addresses of another one, the lender.
type Unnumbered struct {
	Interface ID
	Lender    ID
}

// ID is the interface.
func (u Unnumbered) ID() ID { return ID{KindUnnumbered, u.Interface.Name} }

// Deps is what must be there before it.
func (u Unnumbered) Deps() []ID { return []ID{u.Interface, u.Lender} }

// Compare says what it takes to make have into it.
func (u Unnumbered) Compare(have Object) Change { return compare(u, have, Replace) }

// FallsWith says whether VPP removes it together with owner.
func (u Unnumbered) FallsWith(ID) bool { return false }

// Route is a route out of an interface of ours, by which it is known as ours.
type Route struct {
	VRF       uint32
	Prefix    netip.Prefix
	Interface ID
	// NextHop is invalid for a prefix that is on the link.
	NextHop netip.Addr
	// Shared is true only for one found in VPP with more paths than this.
	Shared bool
}

// ID is the table and the prefix.
func (r Route) ID() ID { return ID{KindRoute, decimal(r.VRF) + " " + r.Prefix.String()} }

// Deps are the interface and the table.
func (r Route) Deps() []ID { return inTable(r.Interface, r.VRF, r.Prefix.Addr().Is6()) }

// Compare allows another path to be put over.
func (r Route) Compare(have Object) Change { return compare(r, have, Update) }

// FallsWith says whether VPP removes it together with owner.
func (r Route) FallsWith(ID) bool { return false }

// Neighbor is a static neighbour on an interface.
type Neighbor struct {
	Interface ID
	Addr      netip.Addr
	MAC       MAC
}

// ID is the interface and the address.
func (n Neighbor) ID() ID { return ID{KindNeighbor, n.Interface.Name + " " + n.Addr.String()} }

// Deps is what must be there before it.
func (n Neighbor) Deps() []ID { return []ID{n.Interface} }

// Compare says what it takes to make have into it.
func (n Neighbor) Compare(have Object) Change { return compare(n, have, Update) }

// FallsWith says whether VPP removes it together with owner.
func (n Neighbor) FallsWith(ID) bool { return false }

func inTable(iface ID, vrf uint32, v6 bool) []ID {
	deps := []ID{iface}
	if vrf != 0 {
		deps = append(deps, TableID(vrf, v6), InterfaceTableID(iface, v6))
	}
	return deps
}
