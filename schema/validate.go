package schema

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Bounds of the values.
const (
	MinMTU     = 68   // IPv4's minimum (RFC 791)
	MinMTUIPv6 = 1280 // IPv6's minimum (RFC 8200, section 5)
	MaxMTU     = 9000 // VPP's default L3 MTU
	MinVLAN    = 1
	MaxVLAN    = 4094 // 0 and 4095 are reserved (IEEE 802.1Q)
	MaxSecret  = 23   // VPP's field has 24 bytes with a final NUL
	MaxVRF     = 1<<32 - 2
	// MaxDeviceID has room for what device plugins use: PCI addresses, UUIDs.
	MaxDeviceID = 64
	// MaxSocketPath is the longest path of a memif socket that VPP 25.10 binds
	// (src/vppinfra/socket.c; one less than sun_path would hold). vhost-user
	// sockets could have one character more.
	MaxSocketPath = 106
	// maxSocketName leaves room for the default run-dir and a 64-digit id.
	maxSocketName = 23
	// GatewaySocket is the file name of the pod's window on etcd, in the same
	// directory as the sockets of its interfaces.
	GatewaySocket = "etcd.sock"
)

// SocketName is the default file name of an interface's socket. The ending
// keeps it from meeting GatewaySocket whatever the interface is called.
func SocketName(t IfType, i IfName) string {
	if t == VhostUser {
		return string(i) + ".vhost"
	}
	return string(i) + ".memif"
}

// CheckSocketName says whether s can be the file name of a socket in a pod's
// directory.
func CheckSocketName(field, s string) error {
	allowed := fmt.Sprintf("a file name of 1 to %d letters, digits and other printable ASCII without '/', starting with a letter, digit or '_', not %s", maxSocketName, GatewaySocket)
	bad := &FieldError{Field: field, Value: s, Allowed: allowed}
	if s == "" || len(s) > maxSocketName || s == GatewaySocket {
		return bad
	}
	for _, r := range s {
		if r <= ' ' || r > '~' || r == '/' {
			return bad
		}
	}
	if s[0] == '.' || s[0] == '-' {
		return bad
	}
	return nil
}

// Validate checks a desired host end; the error names each field that is wrong
// and what it allows.
func (h HostInterface) Validate() error {
	e := end{ifType: h.IfType, netType: h.NetType, memif: h.Memif, vhost: h.VhostUser, bridge: h.Bridge, mac: h.MAC, mtu: h.MTU}
	errs := append(e.check(), h.Network.Validate(), h.Pod.ID.Validate(), CheckDeviceID("deviceID", h.DeviceID))
	if h.NetType != NetInterface && (len(h.Gateways) > 0 || len(h.PodAddresses) > 0 || h.VRF != 0) {
		errs = append(errs, &FieldError{"netType", string(h.NetType), "interface, where gateways, podAddresses or vrf are set"})
	}
	for _, a := range slices.Concat(h.Gateways, h.PodAddresses) {
		errs = append(errs, checkAddress("address", a))
	}
	if h.VRF > MaxVRF {
		errs = append(errs, &FieldError{"vrf", strconv.FormatUint(uint64(h.VRF), 10), fmt.Sprintf("0 to %d", uint32(MaxVRF))})
	}
	if h.MTU != 0 && h.MTU < MinMTUIPv6 && slices.ContainsFunc(h.PodAddresses, netip.Addr.Is6) {
		errs = append(errs, mtuIPv6Error(h.MTU))
	}
	return errors.Join(errs...)
}

// Validate checks a desired pod end; the error names each field that is wrong
// and what it allows.
func (p PodInterface) Validate() error {
	e := end{ifType: p.IfType, netType: p.NetType, memif: p.Memif, vhost: p.VhostUser, bridge: p.Bridge, mac: p.MAC, mtu: p.MTU}
	errs := append(e.check(), p.Network.Validate(), p.Pod.ID.Validate(), p.Container.Validate())
	six := false
	for _, a := range p.Addresses {
		if !a.IsValid() {
			errs = append(errs, &FieldError{"addresses", a.String(), "an IPv4 or IPv6 address with its prefix length"})
			continue
		}
		errs = append(errs, checkAddress("addresses", a.Addr()))
		six = six || a.Addr().Is6()
	}
	for _, r := range p.Routes {
		errs = append(errs, checkRoute(r))
	}
	for _, gw := range p.Gateways {
		errs = append(errs, checkAddress("gateways", gw))
	}
	if p.VLAN != 0 {
		errs = append(errs, CheckVLAN("vlan", int(p.VLAN)))
		if p.NetType == NetBridge || p.Memif != nil && p.Memif.Mode == MemifIP {
			errs = append(errs, &FieldError{"vlan", strconv.Itoa(int(p.VLAN)), "absent, where netType is bridge or memif.mode is ip"})
		}
	}
	if p.MTU != 0 && p.MTU < MinMTUIPv6 && six {
		errs = append(errs, mtuIPv6Error(p.MTU))
	}
	return errors.Join(errs...)
}

// Validate checks a network's record.
func (n Network) Validate() error {
	var errs []error
	if n.DomainID > MaxDomain {
		errs = append(errs, &FieldError{"domainID", strconv.FormatUint(uint64(n.DomainID), 10), fmt.Sprintf("0 to %d", MaxDomain)})
	}
	if n.VRF > MaxVRF {
		errs = append(errs, &FieldError{"vrf", strconv.FormatUint(uint64(n.VRF), 10), fmt.Sprintf("0 to %d", uint32(MaxVRF))})
	}
	return errors.Join(append(errs, CheckMTU("mtu", int(n.MTU)))...)
}

// Validate checks a status.
func (s InterfaceStatus) Validate() error {
	var errs []error
	if s.SpecRevision <= 0 {
		errs = append(errs, &FieldError{"specRevision", strconv.FormatInt(s.SpecRevision, 10), "a positive etcd revision"})
	}
	errs = append(errs,
		oneOf("state", s.State, Pending, Ready, Failed, Removed),
		oneOf("link", s.Link, "", LinkUp, LinkDown))
	if s.Reason == "" || strings.ContainsAny(string(s.Reason), " \t\n") {
		errs = append(errs, &FieldError{"reason", string(s.Reason), "one word"})
	}
	return errors.Join(errs...)
}

// Validate checks an operator's word.
func (r Release) Validate() error {
	var errs []error
	if r.Instance == "" {
		errs = append(errs, &FieldError{"instance", r.Instance, "the instance of the node's agent"})
	}
	if r.At.IsZero() {
		errs = append(errs, &FieldError{"at", r.At.String(), "when the word was given"})
	}
	return errors.Join(errs...)
}

// end is what both ends of an attachment have in common.
type end struct {
	ifType  IfType
	netType NetType
	memif   *MemifEnd
	vhost   *VhostEnd
	bridge  *BridgeEnd
	mac     MAC
	mtu     uint16
}

func (e end) check() []error {
	errs := []error{
		oneOf("ifType", e.ifType, Memif, VhostUser),
		oneOf("netType", e.netType, NetBridge, NetInterface, NetNone),
		CheckMTU("mtu", int(e.mtu)),
	}
	if (e.memif != nil) != (e.ifType == Memif) {
		errs = append(errs, &FieldError{"memif", presence(e.memif != nil), "present with ifType memif, and only there"})
	}
	if (e.vhost != nil) != (e.ifType == VhostUser) {
		errs = append(errs, &FieldError{"vhostUser", presence(e.vhost != nil), "present with ifType vhost-user, and only there"})
	}
	if (e.bridge != nil) != (e.netType == NetBridge) {
		errs = append(errs, &FieldError{"bridge", presence(e.bridge != nil), "present with netType bridge, and only there"})
	}
	if e.memif != nil {
		errs = append(errs, e.checkMemif()...)
	}
	if e.vhost != nil {
		errs = append(errs, oneOf("vhostUser.role", e.vhost.Role, VhostServer, VhostClient), CheckSocketName("vhostUser.socket", e.vhost.Socket))
	}
	if e.bridge != nil {
		errs = append(errs, e.bridge.check()...)
	}
	if e.mac[0]&1 != 0 {
		errs = append(errs, &FieldError{"mac", e.mac.String(), "a unicast address"})
	}
	return errs
}

func (e end) checkMemif() []error {
	m := e.memif
	errs := []error{
		oneOf("memif.role", m.Role, MemifMaster, MemifSlave),
		oneOf("memif.mode", m.Mode, MemifEthernet, MemifIP),
		CheckSocketName("memif.socket", m.Socket),
		CheckSecret("memif.secret", m.Secret),
	}
	if m.Mode == MemifIP && e.netType == NetBridge {
		errs = append(errs, &FieldError{"memif.mode", string(m.Mode), "ethernet, where netType is bridge: an ip-mode memif cannot join a bridge"})
	}
	if m.Mode == MemifIP && !e.mac.IsZero() {
		errs = append(errs, &FieldError{"mac", e.mac.String(), "absent on an ip-mode memif"})
	}
	return errs
}

func (b BridgeEnd) check() []error {
	var errs []error
	if b.DomainID < 1 || b.DomainID > MaxDomain {
		errs = append(errs, &FieldError{"bridge.domainID", strconv.FormatUint(uint64(b.DomainID), 10), fmt.Sprintf("1 to %d", MaxDomain)})
	}
	if b.VLAN != 0 {
		errs = append(errs, CheckVLAN("bridge.vlan", int(b.VLAN)))
	}
	return append(errs, NetworkName(b.Name).Validate())
}

// CheckMTU says whether mtu bytes is an L3 MTU; 0 is VPP's default.
func CheckMTU(field string, mtu int) error {
	if mtu == 0 || mtu >= MinMTU && mtu <= MaxMTU {
		return nil
	}
	return &FieldError{field, strconv.Itoa(mtu), fmt.Sprintf("%d to %d bytes (%d at least with IPv6), or 0 for VPP's default", MinMTU, MaxMTU, MinMTUIPv6)}
}

// CheckVLAN says whether id is a VLAN id that can be used.
func CheckVLAN(field string, id int) error {
	if id >= MinVLAN && id <= MaxVLAN {
		return nil
	}
	return &FieldError{field, strconv.Itoa(id), fmt.Sprintf("%d to %d", MinVLAN, MaxVLAN)}
}

// CheckDeviceID says whether s can be a device's name at the kubelet; empty is none.
func CheckDeviceID(field, s string) error {
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return deviceIDError(field, s)
		}
	}
	if len(s) > MaxDeviceID {
		return deviceIDError(field, s)
	}
	return nil
}

func deviceIDError(field, s string) error {
	return &FieldError{field, s, fmt.Sprintf("up to %d printable ASCII characters without a space", MaxDeviceID)}
}

// CheckSecret says whether s can be a memif secret. The error does not hold it.
func CheckSecret(field string, s Secret) error {
	if text := s.Reveal(); len(text) > MaxSecret || strings.ContainsRune(text, 0) {
		return &FieldError{field, s.String(), fmt.Sprintf("1 to %d bytes without NUL", MaxSecret)}
	}
	return nil
}

// CheckSocketPath says whether VPP can bind path.
func CheckSocketPath(path string) error {
	if len(path) <= MaxSocketPath {
		return nil
	}
	return &FieldError{"socket path", path, fmt.Sprintf("at most %d characters, it has %d: shorten run-dir or the socket's name", MaxSocketPath, len(path))}
}

func checkAddress(field string, a netip.Addr) error {
	if !a.IsValid() || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return &FieldError{field, a.String(), "a unicast IPv4 or IPv6 address"}
	}
	return nil
}

func checkRoute(r Route) error {
	if !r.Dst.IsValid() || r.Dst != r.Dst.Masked() {
		return &FieldError{"routes.dst", r.Dst.String(), "a prefix without host bits, as 10.0.0.0/8"}
	}
	if !r.GW.IsValid() {
		return nil
	}
	if r.GW.Is4() != r.Dst.Addr().Is4() {
		return &FieldError{"routes.gw", r.GW.String(), "an address of the same family as dst " + r.Dst.String()}
	}
	return checkAddress("routes.gw", r.GW)
}

func mtuIPv6Error(mtu uint16) error {
	return &FieldError{"mtu", strconv.Itoa(int(mtu)), fmt.Sprintf("%d at least, where an address is IPv6", MinMTUIPv6)}
}

func oneOf[S ~string](field string, got S, allowed ...S) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	names := make([]string, 0, len(allowed))
	for _, a := range allowed {
		if a != "" {
			names = append(names, string(a))
		}
	}
	return &FieldError{field, string(got), strings.Join(names, ", ")}
}

func presence(p bool) string {
	if p {
		return "present"
	}
	return "absent"
}
