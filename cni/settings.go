package main

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/config"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// The bounds of a call's time-out.
const (
	minTimeout = 100 * time.Millisecond
	maxTimeout = 10 * time.Minute
)

// settings are the network configuration and the node's file put together.
type settings struct {
	node    schema.Node
	etcd    store.Config
	runDir  string
	mtu     int // of the node's file; 0: none
	limit   int // of the node's attachments; 0: none
	timeout time.Duration
	agent   string // where the node's agent serves its report
	infoDir string // of the files of CNIDeviceInfoFile
	bootID  func() string
	log     logConf
	// ignored is what the network configuration may not say, and does; nil:
	// nothing.
	ignored error
}

// newSettings takes from the node's file what the network configuration does
// not give, or may not (see readNode). lenient is for a call that removes.
func newSettings(c *netConf, getenv func(string) string, hostname func() (string, error), lenient bool) (settings, error) {
	n, err := readNode(c, getenv, hostname, lenient)
	if err != nil {
		return settings{}, err
	}
	s := settings{
		runDir:  n.RunDir,
		mtu:     n.MTU,
		timeout: time.Duration(n.Timeout),
		limit:   n.Agent.MaxAttachments,
		agent:   n.Agent.HTTP,
		infoDir: n.DeviceInfoDir,
		bootID:  n.BootID,
		log:     logConf{file: n.LogFile, level: strings.ToLower(first(c.LogLevel, n.LogLevel))},
		ignored: n.ignored,
	}
	if c.LogFile != "" && c.LogFile != n.LogFile {
		s.log.file, s.log.under = c.LogFile, n.LogDir
	}
	if c.Timeout != "" {
		t, wrong := time.ParseDuration(c.Timeout)
		switch {
		case wrong == nil && t >= minTimeout && t <= maxTimeout:
			s.timeout = t
		case !lenient:
			return settings{}, badField("timeout", c.Timeout, "a duration from "+minTimeout.String()+" to "+maxTimeout.String()+", as in \"10s\"")
		}
	}
	node := first(n.node, n.Node)
	if node == "" {
		if node, err = hostname(); err != nil {
			return settings{}, fail(types.ErrInvalidEnvironmentVariables, "the host has no name, and node is not set", err)
		}
	}
	s.node = schema.Node(node)
	if err = s.node.Validate(); err != nil {
		return settings{}, invalid(err)
	}
	s.etcd = etcdSettings(n)
	s.etcd.RequestTimeout = min(s.timeout, store.DefaultRequestTimeout)
	s.etcd.DialTimeout = s.etcd.RequestTimeout
	return s, nil
}

// etcdSettings takes the section etcd as a whole, from the network where it gives
// endpoints: nobody's credentials go to an etcd that somebody else has named.
func etcdSettings(n nodeConf) store.Config {
	e := config.Etcd(n.etcd)
	if len(e.Endpoints) == 0 {
		e = n.Etcd
	}
	return store.Config{
		Endpoints: e.Endpoints, CACert: e.CACert, Cert: e.Cert, Key: e.Key, User: e.User, PasswordFile: e.PasswordFile,
		Prefix: first(n.prefix, n.Prefix),
	}
}

// checkLogLevel is for ADD: an unknown level does not keep DEL from its work.
func checkLogLevel(level string) error {
	return oneOf("logLevel", level, "panic", "fatal", "error", "warn", "warning", "info", "debug", "trace", "verbose")
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

// openStore makes the connection to etcd; the first call dials.
func openStore(cfg store.Config) (*store.Store, error) {
	s, err := store.Open(cfg)
	if err == nil {
		return s, nil
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return nil, fail(types.ErrIOFailure, "a file that the etcd settings name cannot be read", err)
	}
	return nil, fail(types.ErrInvalidNetworkConfig, "the etcd settings are not valid", err)
}
