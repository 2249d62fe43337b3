package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema/config"
)

func write(t *testing.T, content string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

const whole = `# every field
node: worker-1
prefix: /lab
etcd:
  endpoints: [https://10.0.0.1:2379, https://10.0.0.2:2379]
  cacert: /etc/ca.pem
  cert: /etc/c.pem
  key: /etc/c.key
  user: cni
  passwordFile: /etc/pw
runDir: /run/other
mtu: 1500
bootIDFile: /run/boot_id
timeout: 1m30s
logFile: /var/log/vpp-cni.log
logDir: /var/log/networks
deviceInfoDir: /run/devinfo
networkMayOverride: true
logLevel: debug
agent:
  vppSocket: /run/vpp/other.sock
  http: 127.0.0.1:9000
  socketMode: "0660"
  socketGroup: pods
  hostMemifSlave: true
  auditInterval: 30s
  leaseTTL: 5s
  maxAttachments: 250
  devicePlugin:
    enabled: true
    resource: example.net/vpp
    dir: /var/lib/k0s/kubelet/device-plugins
`

func TestLoad(t *testing.T) {
	f, err := config.Load(write(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	want := config.File{
		Node: "worker-1", Prefix: "/lab",
		Etcd: config.Etcd{
			Endpoints: []string{"https://10.0.0.1:2379", "https://10.0.0.2:2379"}, CACert: "/etc/ca.pem", Cert: "/etc/c.pem", Key: "/etc/c.key",
			User: "cni", PasswordFile: "/etc/pw",
		},
		RunDir: "/run/other", MTU: 1500, BootIDFile: "/run/boot_id", Timeout: config.Duration(90 * time.Second), LogFile: "/var/log/vpp-cni.log",
		LogDir: "/var/log/networks", DeviceInfoDir: "/run/devinfo", NetworkMayOverride: true, LogLevel: "debug",
		Agent: config.Agent{
			VPPSocket: "/run/vpp/other.sock", HTTP: "127.0.0.1:9000", SocketMode: "0660", SocketGroup: "pods", HostMemifSlave: true,
			AuditInterval: config.Duration(30 * time.Second), LeaseTTL: config.Duration(5 * time.Second),
			MaxAttachments: 250,
			DevicePlugin:   config.DevicePlugin{Enabled: true, Resource: "example.net/vpp", Dir: "/var/lib/k0s/kubelet/device-plugins"},
		},
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestDefaults(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "comment": "# nothing\n", "empty sections": "etcd: {}\nagent: {}\n"} {
		f, err := config.Load(write(t, content))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(config.Default(), f); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
	if err := config.Default().Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	f, err := config.Load(write(t, "agent:\n  auditInterval: 2m\n"))
	if err != nil || f.Agent.AuditInterval.String() != "2m0s" || f.Agent.LeaseTTL != config.Default().Agent.LeaseTTL {
		t.Errorf("%+v, %v: want one field changed and the others as by default", f.Agent, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"unknown field", "nodes: x", `unknown field "nodes"`},
		{"unknown field in a section", "etcd:\n  endpoint: x", `unknown field "etcd.endpoint"`},
		{"two unknown fields", "nodes: x\netcd: {endpoint: x}", `"etcd.endpoint"; unknown field "nodes"`},
		{"a field twice", "node: a\nnode: b", `"node" already set`},
		{"no YAML", "node: [", "did not find expected"},
		{"a list", "- a", "cannot unmarshal array"},
		{"duration without a unit", "timeout: 10", `"10s"`},
		{"duration that is none", "timeout: soon", `"soon" is not a duration`},
		{"no timeout", "timeout: 0s", "timeout"},
		{"node", "node: a/b", "node "},
		{"prefix", "prefix: lab", "prefix "},
		{"relative run-dir", "runDir: run", "runDir "},
		{"dots in run-dir", "runDir: /run/../etc", "runDir "},
		{"relative boot id file", "bootIDFile: boot_id", "bootIDFile "},
		{"mtu", "mtu: 20", "mtu "},
		{"relative log directory", "logDir: log", "logDir "},
		{"no log directory", "logDir: ''", "logDir "},
		{"relative directory of device information", "deviceInfoDir: devinfo", "deviceInfoDir "},
		{"negative limit", "agent: {maxAttachments: -1}", `agent.maxAttachments "-1"`},
		{"limit over what a kubelet can be told", "agent: {maxAttachments: 50001}", "0 (no limit) to 50000"},
		{"device plugin without a limit", "agent: {maxAttachments: 0, devicePlugin: {enabled: true}}", "where agent.devicePlugin is enabled"},
		{"resource without a domain", "agent: {devicePlugin: {resource: attachment}}", `agent.devicePlugin.resource "attachment"`},
		{"resource of Kubernetes' own", "agent: {devicePlugin: {resource: kubernetes.io/attachment}}", "agent.devicePlugin.resource"},
		{"resource with two names", "agent: {devicePlugin: {resource: a.io/b/c}}", "agent.devicePlugin.resource"},
		{"relative directory of device plugins", "agent: {devicePlugin: {dir: plugins}}", "agent.devicePlugin.dir "},
		{"unknown field of the device plugin", "agent: {devicePlugin: {socket: x}}", `unknown field "agent.devicePlugin.socket"`},
		{"log level", "logLevel: loud", "logLevel "},
		{"endpoint", `etcd: {endpoints: [""]}`, "etcd.endpoints "},
		{"cert alone", "etcd: {cert: /a}", "etcd.cert and etcd.key"},
		{"user alone", "etcd: {user: a}", "etcd.user and etcd.passwordFile"},
		{"http", "agent: {http: 8080}", "agent"},
		{"http word", "agent: {http: here}", "agent.http "},
		{"http relative socket", "agent: {http: 'unix://a.sock'}", "agent.http "},
		{"socket mode", `agent: {socketMode: "0999"}`, "agent.socketMode "},
		{"socket mode too wide", `agent: {socketMode: "4755"}`, "agent.socketMode "},
		{"socket group", "agent: {socketGroup: 'a b'}", "agent.socketGroup "},
		{"lease", "agent: {leaseTTL: 1s}", "agent.leaseTTL "},
		{"audit", "agent: {auditInterval: 10ms}", "agent.auditInterval "},
		{"huge", "#" + strings.Repeat("x", 1<<20), "at most"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := write(t, tt.content)
			_, err := config.Load(p)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), p) {
				t.Errorf("error %v, want it to name the file and %q", err, tt.want)
			}
		})
	}
	if _, err := config.Load(filepath.Join(t.TempDir(), "missing.yaml")); err == nil {
		t.Error("a missing file that was named: no error")
	}
	if _, err := config.Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestFind(t *testing.T) {
	p := write(t, "node: worker-1")
	f, path, err := config.Find(p)
	if err != nil || path != p || f.Node != "worker-1" {
		t.Errorf("%+v, %q, %v: want the file that is named", f, path, err)
	}
	if _, _, err = config.Find(filepath.Join(t.TempDir(), "missing.yaml")); err == nil {
		t.Error("a missing file that was named: no error")
	}
	if _, err = os.Lstat(config.DefaultPath); err == nil {
		t.Skipf("%s exists: there is no node without a file to try", config.DefaultPath)
	}
	f, path, err = config.Find("")
	if d := cmp.Diff(config.Default(), f); d != "" || path != "" || err != nil {
		t.Errorf("%q, %v, -want +got\n%s", path, err, d)
	}
}

func TestBootID(t *testing.T) {
	f := config.File{BootIDFile: write(t, " 0b6b-77\n")}
	if got := f.BootID(); got != "0b6b-77" {
		t.Errorf("boot id %q, want what the file says", got)
	}
	for _, name := range []string{"", filepath.Join(t.TempDir(), "missing")} {
		f.BootIDFile = name
		if got := f.BootID(); got != "" {
			t.Errorf("boot id %q from file %q, want none", got, name)
		}
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fifo, "/dev/zero"} {
		f.BootIDFile = name
		if got := f.BootID(); got != "" {
			t.Errorf("boot id of %d bytes from %s", len(got), name)
		}
		if _, err := config.Load(name); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("configuration %s: %v", name, err)
		}
	}
	// Its size is 0, and it has more than is read.
	if _, err := config.Load("/proc/kallsyms"); err == nil || !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "at most") {
		t.Errorf("a large file of /proc: %v", err)
	}
	if config.Default().BootID() == "" {
		t.Error("the kernel's boot id is not read")
	}
}

// FuzzLoad: a configuration that is taken is the same when it is written and read
// again, so that nothing is taken for what it is not; and an error names the file
// in a few printable lines, whatever is in it.
func FuzzLoad(f *testing.F) {
	for _, content := range []string{
		whole, "a: &a [*a]", "etcd: null", "bootIDFile: ''\nagent: {socketMode: ''}", "etcd: {endpoints: []}", "etcd: {endpoints: null}",
		"node: \"\\u202e\"", "\"\\e[2J\": 1", "timeout: [\"\u202e\"]", "timeout: \"" + strings.Repeat("x", 2000) + "\"",
		strings.Repeat("x", 2000) + ": 1", "a: *" + strings.Repeat("x", 2000), "etcd: {endpoints: [" + strings.Repeat("'',", 2000) + "]}",
		"etcd: {cacert: \"\\u0085\\ufeff \\n\\0\"}", "logDir: \"/\\u2028 #\"", "runDir: /a\nrunDir: /b",
	} {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content string) {
		const name = "config.yaml"
		file, err := config.Parse(name, []byte(content))
		if err != nil {
			reads(t, name, err.Error())
			return
		}
		text := asJSON(t, file)
		again, err := config.Parse(name, []byte(text))
		if d := cmp.Diff(file, again); d != "" || err != nil {
			t.Errorf("%q is written as %q, which is read otherwise: %v, -was +is\n%s", content, text, err, d)
		}
	})
}

// asJSON is JSON that YAML reads alike: there the characters that YAML refuses or
// folds, such as U+0085, are escaped too.
func asJSON(t *testing.T, file config.File) string {
	t.Helper()
	data, err := json.Marshal(file)
	if err != nil {
		t.Fatalf("%+v cannot be written: %v", file, err)
	}
	var b strings.Builder
	for _, r := range string(data) {
		if unicode.IsPrint(r) || r > 0xffff {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// reads wants an error that a person can read.
func reads(t *testing.T, name, text string) {
	t.Helper()
	if len(text) > 8<<10 || !strings.Contains(text, name) {
		t.Errorf("an error of %d bytes, want it short and with the file's name: %.200q", len(text), text)
	}
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("the error has %q in it: %q", r, text)
		}
	}
}
