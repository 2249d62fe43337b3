// Package config reads the node's configuration file, /etc/vpp-cni/config.yaml,
// which the plugin, the agents and vpp-cnictl share. It opens no connection and
// checks no file that the configuration names: their users do.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode"

	strict "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/vpp-cni/vpp-cni/schema/file"
)

// Env is the environment variable that names the file where neither a flag nor
// a network configuration does.
const Env = "VPP_CNI_CONFIG"

// DefaultPath is read when no other file is named; it may be missing.
const DefaultPath = "/etc/vpp-cni/config.yaml"

// File is the configuration of a node. Every field may be left out.
type File struct {
	// Node is this node's name in the keys; empty: the host name.
	Node string `json:"node,omitempty"`
	// Prefix is the part of every key before the contract's version; empty:
	// schema.DefaultPrefix.
	Prefix string `json:"prefix,omitempty"`
	Etcd   Etcd   `json:"etcd"`
	// RunDir is the directory of the sockets as the host sees it.
	RunDir string `json:"runDir"`
	// MTU is the L3 MTU in bytes of attachments whose network gives none; 0:
	// VPP's default (9000).
	MTU int `json:"mtu,omitempty"`
	// BootIDFile is where the kernel's id of this boot is read (proc(5)); empty:
	// nobody knows of boots.
	BootIDFile string `json:"bootIDFile"`
	// Timeout bounds one call of the plugin.
	Timeout Duration `json:"timeout"`
	// LogFile is the plugin's log; empty: standard error.
	LogFile string `json:"logFile,omitempty"`
	// LogDir is the directory under which a network configuration may have a log
	// of its own. The plugin makes it where it is missing, but not what leads there.
	LogDir string `json:"logDir"`
	// DeviceInfoDir is the directory of the files that a runtime may ask for by
	// runtimeConfig.CNIDeviceInfoFile. In none other is one written.
	DeviceInfoDir string `json:"deviceInfoDir"`
	// NetworkMayOverride lets a network configuration name another etcd, node,
	// prefix or file than this one. In Kubernetes, whoever may write a
	// NetworkAttachmentDefinition can then have any file of the node sent away.
	NetworkMayOverride bool `json:"networkMayOverride,omitempty"`
	// LogLevel is one of logrus' level names.
	LogLevel string `json:"logLevel"`
	Agent    Agent  `json:"agent"`
}

// Etcd says where etcd is; see store.Config for the meaning of the fields.
type Etcd struct {
	Endpoints    []string `json:"endpoints"`
	CACert       string   `json:"cacert,omitempty"`
	Cert         string   `json:"cert,omitempty"`
	Key          string   `json:"key,omitempty"`
	User         string   `json:"user,omitempty"`
	PasswordFile string   `json:"passwordFile,omitempty"`
}

// Agent is what the host agent needs, and the plugin of MaxAttachments.
type Agent struct {
	// VPPSocket is the Unix socket of VPP's binary API.
	VPPSocket string `json:"vppSocket"`
	// HTTP is where health, metrics and the report for vpp-cnictl are served:
	// unix:///path or host:port.
	HTTP string `json:"http"`
	// SocketMode is the mode of the pods' sockets in octal.
	SocketMode string `json:"socketMode"`
	// SocketGroup is the group of the pods' directories and sockets, a name or a
	// number, for pods that do not run as root; empty: the agent's, and VPP's.
	SocketGroup string `json:"socketGroup,omitempty"`
	// HostMemifSlave lets a network make the pod the memif's master. VPP 25.10
	// connects to it from its main thread and waits until the pod takes the
	// connection: a pod that never does stops the host's VPP, for all pods.
	HostMemifSlave bool `json:"hostMemifSlave,omitempty"`
	// AuditInterval is the time between two comparisons of everything.
	AuditInterval Duration `json:"auditInterval"`
	// LeaseTTL is how long a dead agent's presence stays.
	LeaseTTL Duration `json:"leaseTTL"`
	// MaxAttachments is how many attachments the node serves at a time: the
	// plugin refuses an ADD beyond it. 0: no limit.
	MaxAttachments int          `json:"maxAttachments"`
	DevicePlugin   DevicePlugin `json:"devicePlugin"`
}

// DevicePlugin makes the agent tell the kubelet how many attachments the node
// serves, as devices that pods request.
type DevicePlugin struct {
	Enabled bool `json:"enabled,omitempty"`
	// Resource is the name that pods request and NetworkAttachmentDefinitions name
	// in the annotation k8s.v1.cni.cncf.io/resourceName.
	Resource string `json:"resource"`
	// Dir is where the kubelet has its socket kubelet.sock, and takes those of
	// device plugins.
	Dir string `json:"dir"`
}

// Duration is a time span written as Go writes it, such as 10s or 1m30s.
type Duration time.Duration

// String is the form with units.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the form with units.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is not a duration: a number with its unit is needed, as in \"10s\"", b)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration: a number with its unit is needed, as in \"10s\"", s)
	}
	*d = Duration(v)
	return nil
}

// Default is the configuration without a file.
func Default() File {
	return File{
		Etcd:       Etcd{Endpoints: []string{"http://127.0.0.1:2379"}},
		RunDir:     "/run/vpp-cni",
		BootIDFile: "/proc/sys/kernel/random/boot_id",
		Timeout:    Duration(10 * time.Second),
		LogLevel:   "info",
		LogDir:     "/var/log/vpp-cni",
		// The path of the Device Information Specification 1.1.0, section 4.2.
		DeviceInfoDir: "/var/run/k8s.cni.cncf.io/devinfo/cni",
		Agent: Agent{
			VPPSocket:     "/run/vpp/api.sock",
			HTTP:          "unix:///run/vpp-cni/agent.sock",
			SocketMode:    "0660",
			AuditInterval: Duration(time.Minute),
			LeaseTTL:      Duration(10 * time.Second),
			// What is supported on a real VPP.
			MaxAttachments: 1000,
			DevicePlugin:   DevicePlugin{Resource: "vpp-cni.io/attachment", Dir: "/var/lib/kubelet/device-plugins"},
		},
	}
}

// Find reads the node's file: the one that env names ($VPP_CNI_CONFIG), else that
// at DefaultPath. There may be none: then path is empty, and all is as Default
// says.
func Find(env string) (f File, path string, err error) {
	path = env
	if path == "" {
		if _, err = os.Lstat(DefaultPath); errors.Is(err, fs.ErrNotExist) {
			return Default(), "", nil
		}
		path = DefaultPath
	}
	f, err = Load(path)
	return f, path, err
}

// Load reads the file at path over Default and validates it. An empty path is
// DefaultPath, which may be missing. A field that File does not have is an
// error that names it.
func Load(path string) (File, error) {
	name := path
	if name == "" {
		name = DefaultPath
	}
	data, err := file.Read(name)
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		return Default(), nil
	}
	if err != nil {
		return File{}, fmt.Errorf("configuration file: %w", err)
	}
	return Parse(name, data)
}

// Parse reads data as Load reads a file; name is for the errors.
func Parse(name string, data []byte) (File, error) {
	f := Default()
	if err := decode(data, &f); err != nil {
		return File{}, fmt.Errorf("configuration file %s: %s", name, plain(err))
	}
	if err := f.Validate(); err != nil {
		return File{}, fmt.Errorf("configuration file %s: %w", name, err)
	}
	return f, nil
}

// decode refuses a key that is given twice, and one that there is not, by its
// whole path.
func decode(data []byte, f *File) error {
	text, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return err
	}
	unknown, err := strict.UnmarshalStrict(text, f, strict.DisallowUnknownFields)
	return errors.Join(append(unknown, err)...)
}

// maxReason is how much of what a decoder says stands in an error, in bytes.
const maxReason = 500

// plain takes the decoders' names out of err: what is left names the field, and
// may quote the file, of which nothing moves a terminal's cursor.
func plain(err error) string {
	s := err.Error()
	for _, p := range []string{"error unmarshaling JSON: ", "error converting YAML to JSON: ", "while decoding JSON: ", "json: "} {
		s = strings.TrimPrefix(s, p)
	}
	s = strings.ReplaceAll(s, "\n", "; ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// BootID is the kernel's id of this boot of the node; empty where it cannot be
// read.
func (f File) BootID() string {
	data, err := file.Read(f.BootIDFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// Validate checks the form of every field.
func (f File) Validate() error {
	return errors.Join(f.check()...)
}
