package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/vpp-cni/vpp-cni/schema"
)

// netConf is the network configuration. Its form is the Userspace CNI's, with
// the fields from Etcd on added. Fields that others add at the top level (the
// runtime, Multus, other plugins' cni.dev keys) are left alone; in the sections
// host, container and etcd an unknown field is an error.
type netConf struct {
	CNIVersion string `json:"cniVersion"`
	Name       string `json:"name"`

	// Host and Container are the two ends (see rawEnd).
	Host      json.RawMessage `json:"host"`
	Container json.RawMessage `json:"container"`
	// SharedDir and KubeConfig are the Userspace CNI's ways to tell the pod:
	// etcd and the agent's run-dir take their place, so they have no effect.
	SharedDir  string `json:"sharedDir"`
	KubeConfig string `json:"kubeconfig"`
	LogFile    string `json:"logFile"`
	LogLevel   string `json:"logLevel"`

	IPAM types.IPAM `json:"ipam"`
	DNS  types.DNS  `json:"dns"`

	// Etcd replaces the node's file as a whole where it gives endpoints, so that
	// credentials of one etcd never go to another.
	Etcd json.RawMessage `json:"etcd"`
	// Node is this node's name in the keys.
	Node string `json:"node"`
	// Prefix is the part of every key before the contract's version.
	Prefix string `json:"prefix"`
	// MTU is the L3 MTU in bytes of both ends.
	MTU int `json:"mtu"`
	// Timeout bounds one call, as in "10s".
	Timeout string `json:"timeout"`
	// ConfigFile is read in place of /etc/vpp-cni/config.yaml.
	ConfigFile string `json:"configFile"`

	// DeviceID is the device that the kubelet gave the pod for this attachment, as
	// Multus puts it in where the network has a resource.
	DeviceID string `json:"deviceID"`

	RuntimeConfig struct {
		MAC string `json:"mac"`
		// CNIDeviceInfoFile is where the runtime wants to read what device the
		// attachment is (see deviceInfo).
		CNIDeviceInfoFile *string `json:"CNIDeviceInfoFile"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			MAC string `json:"mac"`
		} `json:"cni"`
	} `json:"args"`
	PrevResult json.RawMessage `json:"prevResult"`
	// ValidAttachments is given with GC only; nil is not the same as empty.
	ValidAttachments *[]types.GCAttachment `json:"cni.dev/valid-attachments"`
}

// etcdConf is the section etcd.
type etcdConf struct {
	Endpoints    []string `json:"endpoints"`
	CACert       string   `json:"cacert"`
	Cert         string   `json:"cert"`
	Key          string   `json:"key"`
	User         string   `json:"user"`
	PasswordFile string   `json:"passwordFile"`
}

// parseConfig reads a network configuration. What only ADD needs is not
// checked here, so that a DEL is not held up by it.
func parseConfig(data []byte) (*netConf, error) {
	if len(data) > maxStdin {
		return nil, fail(types.ErrDecodingFailure, fmt.Sprintf("the network configuration is too large: over %d bytes", maxStdin), nil)
	}
	conf := &netConf{}
	if err := json.Unmarshal(data, conf); err != nil {
		return nil, decodeFailure("", err)
	}
	if conf.Name == "" {
		return nil, fail(types.ErrInvalidNetworkConfig, "name is missing from the network configuration", nil)
	}
	if err := schema.NetworkName(conf.Name).Validate(); err != nil {
		return nil, invalid(err)
	}
	return conf, nil
}

// invalid is a configuration that must be changed before it works.
func invalid(err error) *types.Error {
	return fail(types.ErrInvalidNetworkConfig, "the network configuration is not valid", err)
}

// badField is a field with a value that is not allowed.
func badField(field, value, allowed string) *types.Error {
	return invalid(&schema.FieldError{Field: field, Value: value, Allowed: allowed})
}

// section decodes one of our own sections; field is its path. A missing one
// leaves v alone.
func section(field string, data json.RawMessage, v any) error {
	if len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return decodeFailure(field, err)
	}
	return nil
}

// decodeFailure gives a decoder's error its CNI code: 7 with the field's path
// where one field is wrong, 6 where the text is no JSON.
func decodeFailure(path string, err error) error {
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		field := join(path, strings.Trim(name, `"`))
		return fail(types.ErrInvalidNetworkConfig, "the network configuration has an unknown field", fmt.Errorf("%s is not known", field))
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return badField(join(path, wrong.Field), "a JSON "+wrong.Value, jsonType(wrong.Type.Kind().String()))
	}
	var typed *types.Error
	if errors.As(err, &typed) {
		return typed
	}
	var field *schema.FieldError
	if errors.As(err, &field) {
		return badField(join(path, field.Field), field.Value, field.Allowed)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the text ends too early")
	}
	return fail(types.ErrDecodingFailure, "the network configuration is not JSON that can be read", err)
}

func join(path, field string) string {
	if path == "" || field == "" {
		return path + field
	}
	return path + "." + field
}

// jsonType says in JSON's words what a Go kind is read from.
func jsonType(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case kind == "struct" || kind == "map":
		return "an object"
	case kind == "slice":
		return "an array"
	case kind == "bool":
		return "true or false"
	default:
		return "a string"
	}
}

// oneOf checks a word of the configuration and names what is allowed.
func oneOf(field, got string, allowed ...string) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	return badField(field, got, strings.Join(allowed, ", "))
}
