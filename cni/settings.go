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
	node     schema.Node
	etcd     store.Config
	runDir   string
	mtu      int // of the node's file; 0: none
	timeout  time.Duration
	agent    string // where the node's agent serves its report
	bootID   func() string
	logFile  string
	logLevel string
}

// newSettings takes from the node's file what the network configuration does
// not give.
func newSettings(c *netConf, getenv func(string) string, hostname func() (string, error)) (settings, error) {
	path := c.ConfigFile
	if path == "" {
		path = getenv(config.Env)
	}
	file, err := config.Load(path)
	if err != nil {
		return settings{}, fail(types.ErrInvalidNetworkConfig, "the node's configuration is not valid", err)
	}
	s := settings{
		runDir:   file.RunDir,
		mtu:      file.MTU,
		timeout:  time.Duration(file.Timeout),
		agent:    file.Agent.HTTP,
		bootID:   file.BootID,
		logFile:  first(c.LogFile, file.LogFile),
		logLevel: strings.ToLower(first(c.LogLevel, file.LogLevel)),
	}
	if c.Timeout != "" {
		if s.timeout, err = time.ParseDuration(c.Timeout); err != nil || s.timeout < minTimeout || s.timeout > maxTimeout {
			return settings{}, badField("timeout", c.Timeout, "a duration from "+minTimeout.String()+" to "+maxTimeout.String()+", as in \"10s\"")
		}
	}
	node := first(c.Node, file.Node)
	if node == "" {
		if node, err = hostname(); err != nil {
			return settings{}, fail(types.ErrInvalidEnvironmentVariables, "the host has no name, and node is not set", err)
		}
	}
	s.node = schema.Node(node)
	if err = s.node.Validate(); err != nil {
		return settings{}, invalid(err)
	}
	s.etcd, err = etcdSettings(c, file.Etcd)
	s.etcd.Prefix = first(c.Prefix, file.Prefix)
	s.etcd.RequestTimeout = min(s.timeout, store.DefaultRequestTimeout)
	s.etcd.DialTimeout = s.etcd.RequestTimeout
	return s, err
}

// etcdSettings takes the section etcd as a whole where it gives endpoints:
// the file's credentials are for the file's etcd alone. Without endpoints its
// fields come before the file's.
func etcdSettings(c *netConf, file config.Etcd) (store.Config, error) {
	var conf etcdConf
	if err := section("etcd", c.Etcd, &conf); err != nil {
		return store.Config{}, err
	}
	if len(conf.Endpoints) > 0 {
		file = config.Etcd{}
	}
	return store.Config{
		Endpoints:    append(conf.Endpoints, file.Endpoints...),
		CACert:       first(conf.CACert, file.CACert),
		Cert:         first(conf.Cert, file.Cert),
		Key:          first(conf.Key, file.Key),
		User:         first(conf.User, file.User),
		PasswordFile: first(conf.PasswordFile, file.PasswordFile),
	}, nil
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
