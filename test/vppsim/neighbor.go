package vppsim

import (
	"bytes"
	"cmp"
	"net"
	"net/netip"
	"slices"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/ip_types"
)

// neighbor is one that the API added, or that the data plane learned. Those of
// the API may outlive their interface: static ones stay when it goes down or
// away, and meet the next interface of the same index.
type neighbor struct {
	index  uint32
	addr   netip.Addr
	mac    net.HardwareAddr
	static bool
	noFIB  bool
}

// neighbors are those that the API added, by sw_if_index and address.
type neighbors map[uint32]map[netip.Addr]*neighbor

func (v *vpp) registerNeighbor() {
	onRequest(v, v.ipNeighborAddDel)
	onDump(v, v.ipNeighborDump)
	onRequest(v, v.ipNeighborFlush)
}

func (v *vpp) ipNeighborAddDel(q *ip_neighbor.IPNeighborAddDel, r *ip_neighbor.IPNeighborAddDelReply) retval {
	r.StatsIndex = noIndex
	i := v.iface(q.Neighbor.SwIfIndex)
	if i == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	addr := addressOf(q.Neighbor.IPAddress)
	if !q.IsAdd {
		return v.delNeighbor(i.index, addr)
	}
	n := &neighbor{
		index: i.index, addr: addr, mac: q.Neighbor.MacAddress.ToMAC(),
		static: q.Neighbor.Flags&ip_neighbor.IP_API_NEIGHBOR_FLAG_STATIC != 0,
		noFIB:  q.Neighbor.Flags&ip_neighbor.IP_API_NEIGHBOR_FLAG_NO_FIB_ENTRY != 0,
	}
	if had := v.neighbors[i.index][addr]; had != nil {
		if had.static && !n.static && !bytes.Equal(had.mac, n.mac) {
			return govpp.INVALID_SW_IF_INDEX // -2: a static one is not overwritten
		}
		n.static = n.static || had.static
		n.noFIB = had.noFIB
	}
	if v.neighbors[i.index] == nil {
		v.neighbors[i.index] = make(map[netip.Addr]*neighbor)
	}
	v.neighbors[i.index][addr] = n
	v.plane.SetNeighbor(i.index, addr, n.mac)
	if i.sup.mac != nil && !n.noFIB {
		// The index of the adjacency; an IP-only interface has none a neighbour.
		r.StatsIndex = uint32(len(v.neighbors[i.index])) // far below 2^32
	}
	return ok
}

func (v *vpp) delNeighbor(index uint32, addr netip.Addr) retval {
	_, learned := v.plane.Neighbors(index)[addr]
	if v.neighbors[index][addr] == nil && !learned {
		return govpp.NO_SUCH_ENTRY
	}
	v.dropNeighbor(index, addr)
	return ok
}

func (v *vpp) dropNeighbor(index uint32, addr netip.Addr) {
	delete(v.neighbors[index], addr)
	if len(v.neighbors[index]) == 0 {
		delete(v.neighbors, index)
	}
	v.plane.SetNeighbor(index, addr, nil)
}

// flushNeighbors drops the dynamic neighbours of an interface, within a prefix
// or all for the zero one.
func (v *vpp) flushNeighbors(index uint32, within netip.Prefix) {
	for addr := range v.plane.Neighbors(index) {
		if v.neighbors[index][addr] == nil && (!within.IsValid() || within.Contains(addr)) {
			v.plane.SetNeighbor(index, addr, nil)
		}
	}
	for addr, n := range v.neighbors[index] {
		if !n.static && (!within.IsValid() || within.Contains(addr)) {
			v.dropNeighbor(index, addr)
		}
	}
}

// restoreNeighbors gives the data plane the static ones again, which it lost
// with an interface that had the index before.
func (v *vpp) restoreNeighbors(index uint32) {
	for addr, n := range v.neighbors[index] {
		v.plane.SetNeighbor(index, addr, n.mac)
	}
}

func (v *vpp) ipNeighborFlush(q *ip_neighbor.IPNeighborFlush, _ *ip_neighbor.IPNeighborFlushReply) retval {
	for _, n := range v.allNeighbors(q.Af == ip_types.ADDRESS_IP6) {
		if !n.static && (uint32(q.SwIfIndex) == noIndex || uint32(q.SwIfIndex) == n.index) {
			v.dropNeighbor(n.index, n.addr)
		}
	}
	return ok
}

// allNeighbors are the API's and the learned ones of a family.
func (v *vpp) allNeighbors(v6 bool) []*neighbor {
	var all []*neighbor
	for _, byAddr := range v.neighbors {
		for addr, n := range byAddr {
			if addr.Is6() == v6 {
				all = append(all, n)
			}
		}
	}
	for i := range v.interfaces.pool.all() {
		for addr, mac := range v.plane.Neighbors(i.index) {
			if addr.Is6() == v6 && v.neighbors[i.index][addr] == nil {
				all = append(all, &neighbor{index: i.index, addr: addr, mac: mac})
			}
		}
	}
	slices.SortFunc(all, func(a, b *neighbor) int {
		return cmp.Or(cmp.Compare(a.index, b.index), a.addr.Compare(b.addr))
	})
	return all
}

func (v *vpp) ipNeighborDump(q *ip_neighbor.IPNeighborDump, send func(govpp.Message)) {
	for _, n := range v.allNeighbors(q.Af == ip_types.ADDRESS_IP6) {
		if uint32(q.SwIfIndex) == noIndex || uint32(q.SwIfIndex) == n.index {
			send(&ip_neighbor.IPNeighborDetails{Neighbor: n.message()})
		}
	}
}

func (n *neighbor) message() ip_neighbor.IPNeighbor {
	m := ip_neighbor.IPNeighbor{
		SwIfIndex: interface_types.InterfaceIndex(n.index),
		IPAddress: toAddress(n.addr),
	}
	m.MacAddress = ethernet_types.NewMacAddress(n.mac)
	if n.static {
		m.Flags |= ip_neighbor.IP_API_NEIGHBOR_FLAG_STATIC
	}
	if n.noFIB {
		m.Flags |= ip_neighbor.IP_API_NEIGHBOR_FLAG_NO_FIB_ENTRY
	}
	return m
}
