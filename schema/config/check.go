package config

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
)

const (
	// maxMaxAttachments is as much as the kubelet's largest message holds of
	// devices (gRPC's 4 MiB), with room to spare.
	maxMaxAttachments = 50000
	// maxDomain leaves room for the "requests." that a quota puts before it.
	maxDomain = 253 - len("requests.")
)

var (
	domainPattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	resourcePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
)

var groupPattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,31}$`)

func (f File) check() []error {
	errs := []error{
		schema.CheckMTU("mtu", f.MTU),
		absolute("runDir", f.RunDir),
		absolute("logDir", f.LogDir),
		absolute("deviceInfoDir", f.DeviceInfoDir),
		atLeast("timeout", f.Timeout, 100*time.Millisecond),
		oneOf("logLevel", f.LogLevel, "panic", "fatal", "error", "warn", "warning", "info", "debug", "trace"),
	}
	if f.Node != "" {
		errs = append(errs, schema.Node(f.Node).Validate())
	}
	if _, err := schema.NewKeys(f.Prefix); err != nil {
		errs = append(errs, err)
	}
	if f.BootIDFile != "" {
		errs = append(errs, absolute("bootIDFile", f.BootIDFile))
	}
	if f.LogFile != "" {
		errs = append(errs, absolute("logFile", f.LogFile))
	}
	return append(append(errs, f.Etcd.check()...), f.Agent.check()...)
}

func (e Etcd) check() []error {
	var errs []error
	for _, ep := range e.Endpoints {
		if strings.TrimSpace(ep) == "" || strings.ContainsAny(ep, " \t\n") {
			errs = append(errs, &schema.FieldError{Field: "etcd.endpoints", Value: ep, Allowed: "host:port, http://host:port, https://host:port or unix:///path"})
			break // a file holds many
		}
	}
	if (e.Cert == "") != (e.Key == "") {
		errs = append(errs, fmt.Errorf("etcd.cert and etcd.key go together: set both or none"))
	}
	if (e.User == "") != (e.PasswordFile == "") {
		errs = append(errs, fmt.Errorf("etcd.user and etcd.passwordFile go together: set both or none"))
	}
	return errs
}

func (a Agent) check() []error {
	errs := []error{
		absolute("agent.vppSocket", a.VPPSocket),
		checkListen(a.HTTP),
		atLeast("agent.auditInterval", a.AuditInterval, time.Second),
		atLeast("agent.leaseTTL", a.LeaseTTL, 2*time.Second),
	}
	if a.SocketMode != "" {
		if m, err := strconv.ParseUint(a.SocketMode, 8, 32); err != nil || m > 0o777 {
			errs = append(errs, &schema.FieldError{Field: "agent.socketMode", Value: a.SocketMode, Allowed: "an octal mode in quotes, up to \"0777\""})
		}
	}
	if a.SocketGroup != "" && !groupPattern.MatchString(a.SocketGroup) {
		errs = append(errs, &schema.FieldError{Field: "agent.socketGroup", Value: a.SocketGroup, Allowed: "a group's name or number"})
	}
	if a.MaxAttachments < 0 || a.MaxAttachments > maxMaxAttachments {
		errs = append(errs, &schema.FieldError{
			Field: "agent.maxAttachments", Value: strconv.Itoa(a.MaxAttachments), Allowed: fmt.Sprintf("0 (no limit) to %d", maxMaxAttachments),
		})
	}
	return append(errs, a.checkDevicePlugin()...)
}

func (a Agent) checkDevicePlugin() []error {
	d := a.DevicePlugin
	errs := []error{absolute("agent.devicePlugin.dir", d.Dir), checkResource("agent.devicePlugin.resource", d.Resource)}
	if d.Enabled && a.MaxAttachments == 0 {
		errs = append(errs, &schema.FieldError{
			Field: "agent.maxAttachments", Value: "0", Allowed: fmt.Sprintf("1 to %d, where agent.devicePlugin is enabled: the kubelet is told of a number", maxMaxAttachments),
		})
	}
	return errs
}

// checkResource takes what Kubernetes takes for the name of an extended resource
// (k8s.io/kubernetes, pkg/apis/core/v1/helper, IsExtendedResourceName).
func checkResource(field, s string) error {
	domain, name, _ := strings.Cut(s, "/")
	native := domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") || strings.HasPrefix(domain, "requests.")
	if !native && len(domain) <= maxDomain && domainPattern.MatchString(domain) && resourcePattern.MatchString(name) {
		return nil
	}
	return &schema.FieldError{Field: field, Value: s, Allowed: "a domain of yours, '/' and a name, such as vpp-cni.io/attachment"}
}

// checkListen takes unix:///path, or host:port with a host that may be empty.
func checkListen(s string) error {
	bad := &schema.FieldError{Field: "agent.http", Value: s, Allowed: "unix:///path or host:port"}
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		if !filepath.IsAbs(path) {
			return bad
		}
		return schema.CheckSocketPath(path)
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return bad
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return bad
	}
	return nil
}

func absolute(field, path string) error {
	if filepath.IsAbs(path) && filepath.Clean(path) == strings.TrimRight(path, "/") {
		return nil
	}
	return &schema.FieldError{Field: field, Value: path, Allowed: "an absolute path without . and .."}
}

func atLeast(field string, d Duration, limit time.Duration) error {
	if time.Duration(d) >= limit && time.Duration(d) <= 24*time.Hour {
		return nil
	}
	return &schema.FieldError{Field: field, Value: d.String(), Allowed: fmt.Sprintf("a duration from %s to 24h", limit)}
}

func oneOf(field, got string, allowed ...string) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	return &schema.FieldError{Field: field, Value: got, Allowed: strings.Join(allowed, ", ")}
}
