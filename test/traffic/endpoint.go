package traffic

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/vppsim/memif"
)

// Endpoint says what a pod's end of a memif attachment is.
type Endpoint struct {
	// Name is for errors.
	Name string
	// Socket is the full path of the memif's control socket, its id there 0.
	Socket string
	// Master: this end serves the socket.
	Master bool
	// IP: the memif carries bare IP packets.
	IP     bool
	Secret string
	MAC    schema.MAC
	// VLAN tags each frame; 0 for none.
	VLAN uint16
	// Addresses with the lengths of their subnets.
	Addresses []netip.Prefix
	Gateways  []netip.Addr
	// Routed: the gateways are the only neighbours.
	Routed bool
}

// EndpointOf is the pod's end as etcd wants it, with the pod's directory of
// sockets as the test sees it.
func EndpointOf(v schema.PodInterface, socketDir string) (Endpoint, error) {
	if v.IfType != schema.Memif || v.Memif == nil {
		return Endpoint{}, fmt.Errorf("pod %s: traffic needs a memif, not %q", v.Pod.ID, v.IfType)
	}
	e := Endpoint{
		Name: v.Pod.Name, Socket: filepath.Join(socketDir, v.Memif.Socket),
		Master: v.Memif.Role == schema.MemifMaster, IP: v.Memif.Mode == schema.MemifIP,
		Secret: v.Memif.Secret.Reveal(), MAC: v.MAC, VLAN: v.VLAN,
		Addresses: v.Addresses, Gateways: v.Gateways, Routed: v.Routed,
	}
	if e.Name == "" {
		e.Name = string(v.Pod.ID)
	}
	return e, nil
}

// End is an open endpoint. It answers for its addresses, and reconnects by
// itself within 2 s when the other side comes back, as a pod's VPP does within 3.
type End struct {
	Endpoint

	ifc    *memif.Interface
	server *memif.Server // of a master

	mu        sync.Mutex
	neighbors map[netip.Addr]schema.MAC
	sinks     map[uint32]*Stream
	connects  int
}

// Open opens the end. It connects when the other side is there.
func Open(e Endpoint) (*End, error) {
	if e.MAC.IsZero() {
		e.MAC = schema.DeriveMAC("traffic", e.Socket)
	}
	end := &End{Endpoint: e, neighbors: map[netip.Addr]schema.MAC{}, sinks: map[uint32]*Stream{}}
	cfg := memif.Config{Socket: e.Socket, Secret: e.Secret, AppName: "traffic", InterfaceName: e.Name}
	if e.IP {
		cfg.Mode = memif.IP
	}
	events := memif.Events{Connected: end.connected, Receive: end.receive}
	if !e.Master {
		end.ifc = memif.NewSlave(cfg, events)
		end.ifc.SetAdminUp(true)
		return end, nil
	}
	var err error
	if end.server, err = memif.Listen(e.Socket); err != nil {
		return nil, fmt.Errorf("end %s: %w", e.Name, err)
	}
	end.ifc = end.server.AddMaster(cfg, events)
	return end, nil
}

// Close disconnects for good.
func (e *End) Close() {
	e.ifc.Close()
	if e.server != nil {
		e.server.Close()
	}
}

// Connected says whether packets can leave.
func (e *End) Connected() bool { return e.ifc.Connected() }

// Connects is how often the end has connected.
func (e *End) Connects() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.connects
}

// WaitConnected waits until packets can leave, without the pause between two
// tries that an end has by itself.
func (e *End) WaitConnected(ctx context.Context) error {
	for !e.Connected() {
		e.ifc.Kick()
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("end %s is not connected to %s (%s): %w", e.Name, e.Socket, e.ifc.Reason(), err)
		}
	}
	return nil
}

// connected announces the addresses, as a pod's VPP does when its link comes up.
func (e *End) connected(string) {
	e.mu.Lock()
	e.connects++
	e.mu.Unlock()
	e.announce()
}

// address is the first of the family.
func (e *End) address(ipv6 bool) (netip.Prefix, bool) {
	for _, a := range e.Addresses {
		if a.Addr().Is6() == ipv6 {
			return a, true
		}
	}
	return netip.Prefix{}, false
}

func (e *End) owns(a netip.Addr) bool {
	for _, own := range e.Addresses {
		if own.Addr() == a {
			return true
		}
	}
	return false
}

// nextHop is whom to send to on the link for dst.
func (e *End) nextHop(dst netip.Addr) (netip.Addr, error) {
	if !e.Routed {
		for _, own := range e.Addresses {
			if own.Contains(dst) {
				return dst, nil
			}
		}
	}
	for _, gw := range e.Gateways {
		if gw.Is6() == dst.Is6() {
			return gw, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("end %s has no way to %s", e.Name, dst)
}

// pause sleeps, or says why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
