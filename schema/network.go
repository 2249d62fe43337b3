package schema

// Network is what the cluster knows of one network, under networks/<name>. A
// bridge named in a network configuration has its record here too.
type Network struct {
	// DomainID is the bridge-domain id given to this name, 0 before the first
	// bridged attachment. It stays the same for the cluster's life.
	DomainID uint32 `json:"domainID,omitempty"`
	// VRF is the FIB table of routed attachments; 0 is VPP's default table.
	VRF uint32 `json:"vrf,omitempty"`
	// MTU is the L3 MTU of attachments whose configuration gives none; 0: VPP's
	// default.
	MTU uint16 `json:"mtu,omitempty"`
}

// BridgeDomain says which network has a bridge-domain id, under
// bridge-domains/<id>. It is written in the transaction that gives the id.
type BridgeDomain struct {
	Network NetworkName `json:"network"`
}

// Bridge-domain ids: a bridge named by a number has that number, from 1 to
// MaxNumberedDomain; names get ids from FirstNamedDomain to MaxDomain. VPP's
// bd_id has 24 bits, of which the last is kept free.
const (
	MaxNumberedDomain uint32 = 1<<20 - 1
	FirstNamedDomain  uint32 = 1 << 20
	MaxDomain         uint32 = 1<<24 - 2
)
