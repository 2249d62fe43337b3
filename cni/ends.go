package main

import (
	"encoding/json"
	"errors"

	"github.com/vpp-cni/vpp-cni/schema"
)

// rawEnd is the section host or container as it is written.
type rawEnd struct {
	Engine  string          `json:"engine"`  // vpp, the default
	IfType  string          `json:"iftype"`  // memif, the default; vhostuser or vhost-user
	NetType string          `json:"netType"` // bridge, interface, none
	Memif   json.RawMessage `json:"memif"`
	Vhost   json.RawMessage `json:"vhost"`
	Bridge  json.RawMessage `json:"bridge"`
}

// memifConf is the section memif of an end.
type memifConf struct {
	Role       string        `json:"role"` // master or slave; the Userspace CNI's server and client mean the same
	Mode       string        `json:"mode"` // ethernet, the default, or ip
	Socketfile string        `json:"socketfile"`
	Secret     schema.Secret `json:"secret"` // see setSecret
}

// vhostConf is the section vhost of an end. On the host it says VPP's mode, in
// the container the application's, which is the opposite.
type vhostConf struct {
	Mode       string `json:"mode"`  // server, the default, or client
	Group      string `json:"group"` // no effect: the agent's socketGroup decides
	Socketfile string `json:"socketfile"`
}

// end is one end with its sections read.
type end struct {
	rawEnd
	memif  memifConf
	vhost  vhostConf
	bridge bridgeConf
}

func parseEnd(field string, data json.RawMessage) (end, error) {
	var e end
	err := errors.Join(
		section(field, data, &e.rawEnd),
		section(field+".memif", e.Memif, &e.memif),
		section(field+".vhost", e.Vhost, &e.vhost),
		section(field+".bridge", e.Bridge, &e.bridge))
	return e, err
}

// endConf is one end, checked, with all defaults in place.
type endConf struct {
	ifType  schema.IfType
	netType schema.NetType
	// memif is set with ifType memif, vhost with ifType vhost-user; an empty
	// Socket means the default name.
	memif schema.MemifEnd
	vhost schema.VhostEnd
	// bridge names the bridge domain of netType bridge.
	bridge string
	vlan   uint16
}

// endsConf are both ends of the attachments of a network.
type endsConf struct {
	host, pod endConf
	// ownSecret says that each attachment gets a memif secret of its own.
	ownSecret bool
	// notes are settings that have no effect here, for the log.
	notes []string
}

// ends checks the sections host and container.
func (c *netConf) ends() (endsConf, error) {
	host, err := parseEnd("host", c.Host)
	if err != nil {
		return endsConf{}, err
	}
	pod, err := parseEnd("container", c.Container)
	if err != nil {
		return endsConf{}, err
	}
	if len(c.Host) == 0 || string(c.Host) == "null" {
		return endsConf{}, badField("host", "", "an object; it is missing from the network configuration")
	}
	var out endsConf
	for _, step := range []func(host, pod end) error{out.setTypes, out.setMemif, out.setVhost, out.setSocket} {
		if err := step(host, pod); err != nil {
			return endsConf{}, err
		}
	}
	if err := out.setBridges(host, pod, c.Name); err != nil {
		return endsConf{}, err
	}
	out.note(c, host, pod)
	return out, nil
}

// setTypes reads engine, iftype and netType.
func (o *endsConf) setTypes(host, pod end) error {
	if pod.Engine == "" {
		pod.Engine = host.Engine
	}
	for _, e := range []struct{ field, engine string }{{"host.engine", host.Engine}, {"container.engine", pod.Engine}} {
		if e.engine != "" {
			if err := oneOf(e.field, e.engine, "vpp"); err != nil {
				return err
			}
		}
	}
	ifType, err := readIfType("host.iftype", host.IfType, schema.Memif)
	if err != nil {
		return err
	}
	podType, err := readIfType("container.iftype", pod.IfType, ifType)
	if err != nil {
		return err
	}
	if podType != ifType {
		return badField("container.iftype", pod.IfType, "the same as host.iftype: one interface has two ends of one type")
	}
	o.host.ifType, o.pod.ifType = ifType, ifType
	if o.host.netType, err = readNetType("host.netType", host.NetType, schema.NetNone); err != nil {
		return err
	}
	o.pod.netType, err = readNetType("container.netType", pod.NetType, schema.NetInterface)
	return err
}

func readIfType(field, s string, def schema.IfType) (schema.IfType, error) {
	switch s {
	case "":
		return def, nil
	case "memif":
		return schema.Memif, nil
	case "vhostuser", "vhost-user":
		return schema.VhostUser, nil
	}
	return "", badField(field, s, "memif, vhostuser")
}

func readNetType(field, s string, def schema.NetType) (schema.NetType, error) {
	if s == "" {
		return def, nil
	}
	return schema.NetType(s), oneOf(field, s, string(schema.NetBridge), string(schema.NetInterface), string(schema.NetNone))
}

// setMemif reads the sections memif: opposite roles, one mode, one secret.
func (o *endsConf) setMemif(host, pod end) error {
	if o.host.ifType != schema.Memif {
		return nil
	}
	hostRole, err := readRole("host.memif.role", host.memif.Role)
	if err != nil {
		return err
	}
	podRole, err := readRole("container.memif.role", pod.memif.Role)
	if err != nil {
		return err
	}
	if hostRole != "" && hostRole == podRole {
		return badField("container.memif.role", pod.memif.Role, "the opposite of host.memif.role: one end is master, the other slave")
	}
	if hostRole == "" {
		hostRole = opposite(podRole, schema.MemifMaster, schema.MemifSlave)
	}
	mode, err := sameAtBothEnds("memif.mode", host.memif.Mode, pod.memif.Mode)
	if err != nil {
		return err
	}
	if mode, err = readMode(mode); err != nil {
		return err
	}
	o.host.memif = schema.MemifEnd{Role: hostRole, Mode: schema.MemifMode(mode)}
	o.pod.memif = o.host.memif
	o.pod.memif.Role = opposite(hostRole, schema.MemifMaster, schema.MemifSlave)
	return o.setSecret(host.memif.Secret, pod.memif.Secret)
}

func readRole(field, s string) (schema.MemifRole, error) {
	switch s {
	case "":
		return "", nil
	case "master", "server":
		return schema.MemifMaster, nil
	case "slave", "client":
		return schema.MemifSlave, nil
	}
	return "", badField(field, s, "master, slave")
}

func readMode(s string) (string, error) {
	switch s {
	case "":
		return string(schema.MemifEthernet), nil
	case "inject-punt", "punt-inject":
		return "", badField("memif.mode", s, "ethernet, ip: VPP ends when a memif of this mode is made")
	}
	return s, oneOf("memif.mode", s, string(schema.MemifEthernet), string(schema.MemifIP))
}

// setVhost reads the sections vhost. VPP's mode stands in both values; the
// application takes the other.
func (o *endsConf) setVhost(host, pod end) error {
	if o.host.ifType != schema.VhostUser {
		return nil
	}
	for _, e := range []struct{ field, mode string }{{"host.vhost.mode", host.vhost.Mode}, {"container.vhost.mode", pod.vhost.Mode}} {
		if e.mode != "" {
			if err := oneOf(e.field, e.mode, string(schema.VhostServer), string(schema.VhostClient)); err != nil {
				return err
			}
		}
	}
	mode := schema.VhostRole(host.vhost.Mode)
	if mode == "" {
		mode = opposite(schema.VhostRole(pod.vhost.Mode), schema.VhostServer, schema.VhostClient)
	}
	if pod.vhost.Mode == string(mode) {
		return badField("container.vhost.mode", pod.vhost.Mode, "the opposite of host.vhost.mode: one side serves the socket, the other connects")
	}
	o.host.vhost.Role, o.pod.vhost.Role = mode, mode
	return nil
}

// setSocket reads the socket's file name, which both ends share.
func (o *endsConf) setSocket(host, pod end) error {
	field, h, p := "memif.socketfile", host.memif.Socketfile, pod.memif.Socketfile
	if o.host.ifType == schema.VhostUser {
		field, h, p = "vhost.socketfile", host.vhost.Socketfile, pod.vhost.Socketfile
	}
	name, err := sameAtBothEnds(field, h, p)
	if err != nil || name == "" {
		return err
	}
	if err := schema.CheckSocketName(field, name); err != nil {
		return invalid(err)
	}
	for _, e := range []*endConf{&o.host, &o.pod} {
		e.memif.Socket, e.vhost.Socket = name, name
	}
	return nil
}

// note collects what the configuration asks for without effect.
func (o *endsConf) note(c *netConf, host, pod end) {
	if c.SharedDir != "" {
		o.notes = append(o.notes, "sharedDir: sockets are in the agent's runDir, one directory a pod")
	}
	if c.KubeConfig != "" {
		o.notes = append(o.notes, "kubeconfig: no call to Kubernetes is needed")
	}
	if host.vhost.Group != "" || pod.vhost.Group != "" {
		o.notes = append(o.notes, "vhost.group: the agent's socketGroup decides")
	}
	if o.pod.netType != schema.NetInterface && o.pod.ifType == schema.Memif && c.IPAM.Type != "" {
		o.notes = append(o.notes, "ipam: container.netType is not interface, so the addresses are for the application to set")
	}
}

// sameAtBothEnds is what one or both ends give.
func sameAtBothEnds(field, host, pod string) (string, error) {
	if host != "" && pod != "" && host != pod {
		return "", badField("container."+field, pod, "the same as host."+field+", or absent")
	}
	if host == "" {
		return pod, nil
	}
	return host, nil
}

// opposite is the other of a and b; a where s is neither.
func opposite[S ~string](s, a, b S) S {
	if s == a {
		return b
	}
	return a
}
