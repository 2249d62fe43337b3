package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/vpp-cni/vpp-cni/schema"
)

// bridgeConf is the section bridge of an end.
type bridgeConf struct {
	Name bridgeName `json:"bridgeName"`
	ID   *int64     `json:"bridgeId"` // the Userspace CNI's older way to say a number
	VLAN *int64     `json:"vlanId"`
}

// bridgeName is a name or a number.
type bridgeName string

// UnmarshalJSON takes a string, or a whole number as its decimal digits. The error
// names the type of anything else: what is in it may have been meant for elsewhere.
func (b *bridgeName) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) == nil {
		*b = bridgeName(s)
		return nil
	}
	if !allDigits(string(data)) {
		return &schema.FieldError{Field: "bridgeName", Value: "a JSON " + typeOf(data), Allowed: "a name or a whole number"}
	}
	*b = bridgeName(data)
	return nil
}

// typeOf is the type of a JSON value, in the words of encoding/json's errors.
func typeOf(data []byte) string {
	switch data[0] { // a decoder gives no empty value and no space before it
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "bool"
	default:
		return "number"
	}
}

func allDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// setBridges reads the sections bridge and the VLAN of each end.
func (o *endsConf) setBridges(host, pod end, network string) error {
	name, err := host.bridge.name("host.bridge", network)
	if err != nil {
		return err
	}
	podName, err := pod.bridge.name("container.bridge", name)
	if err != nil {
		return err
	}
	vlan, err := host.bridge.vlan("host.bridge.vlanId", 0)
	if err != nil {
		return err
	}
	podVLAN, err := pod.bridge.vlan("container.bridge.vlanId", vlan)
	if err != nil {
		return err
	}
	if vlan != 0 && o.host.netType != schema.NetBridge {
		return badField("host.bridge.vlanId", strconv.Itoa(int(vlan)), "absent, where host.netType is not bridge")
	}
	for _, e := range []struct {
		field string
		end   *endConf
	}{{"host.netType", &o.host}, {"container.netType", &o.pod}} {
		if e.end.netType == schema.NetBridge && e.end.ifType == schema.Memif && e.end.memif.Mode == schema.MemifIP {
			return badField(e.field, string(schema.NetBridge), "interface or none, where memif.mode is ip: an ip-mode memif cannot join a bridge")
		}
	}
	if podVLAN != 0 && o.pod.memif.Mode == schema.MemifIP {
		return badField("container.bridge.vlanId", strconv.Itoa(int(podVLAN)), "absent, where memif.mode is ip")
	}
	if o.host.netType == schema.NetBridge {
		o.host.bridge, o.host.vlan = name, vlan
	}
	if o.pod.netType == schema.NetBridge {
		o.pod.bridge = podName
	}
	if o.pod.netType != schema.NetNone {
		o.pod.vlan = podVLAN
	}
	return nil
}

// name is the bridge's name or number; def where the section says neither.
func (b bridgeConf) name(field, def string) (string, error) {
	name := string(b.Name)
	if b.ID != nil {
		id := strconv.FormatInt(*b.ID, 10)
		if name != "" && name != id {
			return "", badField(field+".bridgeId", id, "the same as bridgeName, or absent")
		}
		if name == "" {
			name, field = id, field+".bridgeId"
		}
	} else {
		field += ".bridgeName"
	}
	if name == "" {
		return def, nil
	}
	if _, _, err := domainNumber(field, name); err != nil {
		return "", err
	}
	if err := schema.NetworkName(name).Validate(); err != nil {
		return "", badField(field, name, "a whole number, or letters, digits, '_', '.' and '-', starting with a letter or digit")
	}
	return name, nil
}

// domainNumber reads a bridge name that is a number: it is the bridge domain's
// id itself.
func domainNumber(field, name string) (id uint32, numbered bool, err error) {
	if !allDigits(name) {
		return 0, false, nil
	}
	n, parseErr := strconv.ParseUint(name, 10, 32)
	if parseErr != nil || n < 1 || n > uint64(schema.MaxNumberedDomain) || strconv.FormatUint(n, 10) != name {
		return 0, false, badField(field, name, fmt.Sprintf("a whole number from 1 to %d, or a name", schema.MaxNumberedDomain))
	}
	return uint32(n), true, nil
}

// vlan is the VLAN; def where the section says none.
func (b bridgeConf) vlan(field string, def uint16) (uint16, error) {
	if b.VLAN == nil {
		return def, nil
	}
	if *b.VLAN < schema.MinVLAN || *b.VLAN > schema.MaxVLAN {
		return 0, badField(field, strconv.FormatInt(*b.VLAN, 10), fmt.Sprintf("%d to %d", schema.MinVLAN, schema.MaxVLAN))
	}
	return uint16(*b.VLAN), nil
}
