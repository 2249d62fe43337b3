package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// scopeLink is a route's scope "link" (linux/rtnetlink.h, RT_SCOPE_LINK): its
// destination is on the link, whatever gateway there is.
const scopeLink = 253

// request is everything that an attachment is made of, apart from the
// addresses. Equal requests and equal IPAM results give equal values.
type request struct {
	node    schema.Node
	id      identity
	network schema.NetworkName
	sandbox string
	bootID  string
	// device is the kubelet's name of the device that the attachment is.
	device string
	ends   endsConf
	mtu    uint16
	vrf    uint32
	// podMAC is what the runtime asks for; zero: a derived address.
	podMAC schema.MAC
	// hostDomain and podDomain are the ids of the ends' bridge domains, 0 where
	// an end is in none.
	hostDomain, podDomain uint32
	// secret is the attachment's own, where the configuration leaves it to us.
	secret schema.Secret
}

// build makes the values of both ends; ip is nil without IPAM. The error is a
// schema.FieldError, or several.
func (r request) build(ip *types100.Result) (store.Attachment, error) {
	a := r.skeleton()
	if ip != nil {
		if err := setAddresses(&a, ip); err != nil {
			return store.Attachment{}, err
		}
	}
	if err := a.Host.Validate(); err != nil {
		return store.Attachment{}, err
	}
	return a, a.Pod.Validate()
}

// skeleton makes the values without addresses.
func (r request) skeleton() store.Attachment {
	host := schema.HostInterface{
		Network: r.network, Pod: r.id.pod, Sandbox: r.sandbox, BootID: r.bootID, DeviceID: r.device,
		IfType: r.ends.host.ifType, NetType: r.ends.host.netType, MTU: r.mtu,
	}
	pod := schema.PodInterface{
		Network: r.network, Container: r.id.container, Pod: r.id.pod,
		IfType: r.ends.pod.ifType, NetType: r.ends.pod.netType, MTU: r.mtu,
	}
	host.Memif, host.VhostUser = r.ends.host.link(r.id.ifName)
	pod.Memif, pod.VhostUser = r.ends.pod.link(r.id.ifName)
	if r.ends.ownSecret && host.Memif != nil && pod.Memif != nil {
		host.Memif.Secret, pod.Memif.Secret = r.secret, r.secret
	}
	host.Bridge = r.ends.host.bridgeEnd(r.hostDomain)
	pod.Bridge = r.ends.pod.bridgeEnd(r.podDomain)
	if pod.NetType == schema.NetInterface {
		pod.VLAN = r.ends.pod.vlan
	}
	if host.NetType == schema.NetInterface {
		host.VRF = r.vrf
		pod.Routed = true
	}
	if !r.ends.ipMode() {
		names := []string{string(r.node), string(r.id.container), string(r.id.ifName)}
		host.MAC = schema.DeriveMAC(append(names, "host")...)
		pod.MAC = r.podMAC
		if pod.MAC.IsZero() {
			pod.MAC = schema.DeriveMAC(append(names, "pod")...)
		}
	}
	return store.Attachment{Node: r.node, Container: r.id.container, IfName: r.id.ifName, Host: host, Pod: pod}
}

func (o endsConf) ipMode() bool {
	return o.host.ifType == schema.Memif && o.host.memif.Mode == schema.MemifIP
}

// link is the end's memif or vhost-user device, with the default socket where
// none is named.
func (e endConf) link(i schema.IfName) (*schema.MemifEnd, *schema.VhostEnd) {
	if e.ifType == schema.VhostUser {
		v := e.vhost
		if v.Socket == "" {
			v.Socket = schema.SocketName(e.ifType, i)
		}
		return nil, &v
	}
	m := e.memif
	if m.Socket == "" {
		m.Socket = schema.SocketName(e.ifType, i)
	}
	return &m, nil
}

func (e endConf) bridgeEnd(domain uint32) *schema.BridgeEnd {
	if e.netType != schema.NetBridge {
		return nil
	}
	return &schema.BridgeEnd{Name: e.bridge, DomainID: domain, VLAN: e.vlan}
}

// socket is the file name of the attachment's socket.
func socket(h schema.HostInterface) string {
	if h.VhostUser != nil {
		return h.VhostUser.Socket
	}
	if h.Memif != nil {
		return h.Memif.Socket
	}
	return ""
}

// setAddresses puts IPAM's answer into both values: all of it into the pod's,
// so that an ADD repeated answers the same.
func setAddresses(a *store.Attachment, ip *types100.Result) error {
	p, err := readIPAM(ip)
	if err != nil {
		return err
	}
	if a.Host.NetType == schema.NetInterface {
		a.Host.Gateways = p.gateways
		for _, addr := range p.addresses {
			a.Host.PodAddresses = appendNew(a.Host.PodAddresses, addr.Addr())
		}
	}
	a.Pod.Addresses, a.Pod.Gateways, a.Pod.Routes, a.Pod.DNS = p.addresses, p.gateways, p.routes, p.dns
	return nil
}

// plan is IPAM's answer in our own types.
type plan struct {
	addresses []netip.Prefix
	gateways  []netip.Addr // of the addresses, each once
	routes    []schema.Route
	dns       *schema.DNS
}

func readIPAM(ip *types100.Result) (plan, error) {
	var p plan
	for _, c := range ip.IPs {
		addr, err := prefix("ips.address", c.Address)
		if err != nil {
			return p, err
		}
		p.addresses = appendNew(p.addresses, addr)
		if len(c.Gateway) == 0 {
			continue
		}
		gw, err := address("ips.gateway", c.Gateway)
		if err != nil {
			return p, err
		}
		p.gateways = appendNew(p.gateways, gw)
	}
	for _, r := range ip.Routes {
		if r == nil {
			return p, &schema.FieldError{Field: "routes", Value: "null", Allowed: "routes"}
		}
		dst, err := prefix("routes.dst", r.Dst)
		if err != nil {
			return p, err
		}
		route := schema.Route{Dst: dst.Masked()}
		switch {
		case len(r.GW) > 0:
			if route.GW, err = address("routes.gw", r.GW); err != nil {
				return p, err
			}
		case r.Scope == nil || *r.Scope != scopeLink:
			route.GW = p.gatewayLike(dst.Addr())
		}
		p.routes = appendNew(p.routes, route)
	}
	if !ip.DNS.IsEmpty() {
		p.dns = &schema.DNS{Nameservers: ip.DNS.Nameservers, Domain: ip.DNS.Domain, Search: ip.DNS.Search, Options: ip.DNS.Options}
	}
	return p, nil
}

// gatewayLike is the first gateway of a's family, invalid where IPAM gave none
// (CNI specification: a route without gw goes by the network's default
// gateway).
func (p plan) gatewayLike(a netip.Addr) netip.Addr {
	for _, gw := range p.gateways {
		if gw.Is4() == a.Is4() {
			return gw
		}
	}
	return netip.Addr{}
}

func prefix(field string, n net.IPNet) (netip.Prefix, error) {
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	addr = addr.Unmap()
	if addr.Is4() && bits == 128 {
		ones -= 96
		bits = 32
	}
	if !ok || bits != addr.BitLen() || ones < 0 {
		return netip.Prefix{}, &schema.FieldError{Field: field, Value: n.String(), Allowed: "an address with the length of its prefix"}
	}
	return netip.PrefixFrom(addr, ones), nil
}

func address(field string, ip net.IP) (netip.Addr, error) {
	addr, ok := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	if !ok || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback() {
		return netip.Addr{}, &schema.FieldError{Field: field, Value: ip.String(), Allowed: "a unicast IPv4 or IPv6 address"}
	}
	return addr, nil
}

// appendNew appends v unless it is there.
func appendNew[V comparable](list []V, v V) []V {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// checkSocketPath says whether VPP can bind the attachment's socket.
func (r request) checkSocketPath(runDir string) error {
	return schema.CheckSocketPath(fmt.Sprintf("%s/pods/%s/%s", runDir, r.id.pod.ID, socket(r.skeleton().Host)))
}
