// Program vpp-agent makes a node's VPP match what etcd says, and tells etcd what
// it sees. This file only puts the parts together.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ligato/cn-infra/agent"
	"github.com/ligato/cn-infra/infra"
	"github.com/ligato/cn-infra/logging"
	"github.com/ligato/cn-infra/servicelabel"
	"github.com/namsral/flag"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/plugins"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/config"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/schema/version"
)

const (
	startLimit = 15 * time.Second
	stopLimit  = 10 * time.Second
)

const long = `vpp-agent makes this node's VPP match what etcd says: it makes the host end of
every attachment (memif or vhost-user, in a bridge domain or routed), the pods'
directories of sockets under the run-dir, and writes a status for each. What it
makes carries a tag in VPP; it touches nothing else. In each pod's directory it
serves etcd's API on etcd.sock, with that pod's keys alone. As the kubelet's device
plugin (agent.devicePlugin) it tells how many attachments the node serves.

It may be started before VPP and before etcd: it waits, and says so. When it is
stopped VPP keeps everything, and traffic goes on.

Health and metrics are served on agent.http: /livez, /readyz, /metrics, /verify.

Configuration comes from the file, and from flags where they are given.`

func main() {
	if err := command().ExecuteContext(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "vpp-agent: %v\n", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "vpp-agent",
		Short: "Make a node's VPP match what etcd says",
		Long:  long,
		Example: `  vpp-agent
  vpp-agent --config /etc/vpp-cni/config.yaml --log-level debug
  vpp-agent --endpoints https://10.0.0.1:2379,https://10.0.0.2:2379 --node worker-1`,
		Args:          cobra.NoArgs,
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return run(c, o) },
	}
	f := c.Flags()
	f.StringVar(&o.file, "config", "", "the configuration file (default "+config.DefaultPath+" if it exists)")
	f.StringVar(&o.node, "node", "", "this node's name in the keys (default: the host name)")
	f.StringSliceVar(&o.endpoints, "endpoints", nil, "etcd: host:port, http://, https:// or unix:///path, several with commas")
	f.StringVar(&o.vppSocket, "vpp-socket", "", "VPP's binary API socket")
	f.StringVar(&o.runDir, "run-dir", "", "the directory of the pods' sockets")
	f.StringVar(&o.http, "http", "", "where health and metrics are served: unix:///path or host:port")
	f.BoolVar(&o.devicePlugin, "device-plugin", false, "tell the kubelet how many attachments the node serves (agent.devicePlugin)")
	f.StringVar(&o.logLevel, "log-level", "", "error, warn, info or debug")
	c.AddCommand(health())
	c.CompletionOptions.DisableDefaultCmd = true
	return c
}

// health is the command that asks the agent that runs.
func health() *cobra.Command {
	var o options
	c := daemon.HealthCommand(func() (string, error) {
		f, err := o.load()
		return f.Agent.HTTP, err
	})
	c.Flags().StringVar(&o.file, "config", "", "the configuration file (default "+config.DefaultPath+" if it exists)")
	c.Flags().StringVar(&o.http, "http", "", "where the agent serves: unix:///path or host:port")
	return c
}

// options are the flags; empty: as in the file.
type options struct {
	file, node                        string
	endpoints                         []string
	vppSocket, runDir, http, logLevel string
	devicePlugin                      bool
}

// load reads the file and lays the flags over it.
func (o options) load() (config.File, error) {
	f, err := config.Load(o.file)
	if err != nil {
		return f, err
	}
	for _, s := range []struct {
		to   *string
		from string
	}{{&f.Node, o.node}, {&f.Agent.VPPSocket, o.vppSocket}, {&f.RunDir, o.runDir}, {&f.Agent.HTTP, o.http}, {&f.LogLevel, o.logLevel}} {
		if s.from != "" {
			*s.to = s.from
		}
	}
	if len(o.endpoints) > 0 {
		f.Etcd.Endpoints = o.endpoints
	}
	if o.devicePlugin {
		f.Agent.DevicePlugin.Enabled = true
	}
	if f.Node == "" {
		if f.Node, err = os.Hostname(); err != nil {
			return f, fmt.Errorf("node: %w", err)
		}
	}
	return f, f.Validate()
}

func run(_ *cobra.Command, o options) error {
	f, err := o.load()
	if err != nil {
		return err
	}
	log, err := logger(f.LogLevel)
	if err != nil {
		return err
	}
	log.WithFields(logrus.Fields{
		"version": version.Version, "endpoints": strings.Join(f.Etcd.Endpoints, ","), "vpp": f.Agent.VPPSocket, "rundir": f.RunDir,
	}).Info("vpp-agent starts")
	failed := make(chan error, 2)
	quit := make(chan struct{})
	fail := func(err error) {
		select {
		case failed <- err:
			if len(failed) == 1 {
				close(quit)
			}
		default:
		}
	}
	a := agent.NewAgent(
		agent.Plugins(parts(f, log.WithField("node", f.Node), fail)...),
		agent.StartTimeout(startLimit), agent.StopTimeout(stopLimit), agent.QuitOnClose(quit),
	)
	tone(log)
	if err := a.Run(); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		log.Info("vpp-agent ends, VPP keeps everything")
		return nil
	}
}

// parts are the plugins in the order in which they start; they stop in the
// reverse order. The presence goes around the reconciler: no other agent of this
// node may begin before this one has ended. It says ready when the first full
// pass is done, and ADDs wait for that. The gateway goes around the reconciler,
// which opens and closes its sockets. The device plugin, where there is one, is told
// by it.
func parts(f config.File, log *logrus.Entry, failed func(error)) []infra.Plugin {
	// cn-infra's flags stay at their defaults; it must not read our arguments.
	_ = flag.CommandLine.Parse(nil)
	node := schema.Node(f.Node)
	health := plugins.NewHealth()
	etcd := &plugins.Store{PluginName: "etcd", Log: log, Config: store.Config{
		Endpoints: f.Etcd.Endpoints, CACert: f.Etcd.CACert, Cert: f.Etcd.Cert, Key: f.Etcd.Key,
		User: f.Etcd.User, PasswordFile: f.Etcd.PasswordFile, Prefix: f.Prefix,
	}}
	vpp := &plugins.VPP{PluginName: "vpp", Config: f, Log: log}
	presence := &plugins.Presence{
		PluginName: "presence", Config: f, Node: node, Store: etcd, VPP: vpp, Health: health, Log: log, Failed: failed,
	}
	window := &plugins.Gateway{
		PluginName: "gateway", Config: f, Node: node, Store: etcd, VPP: vpp, Presence: presence, Health: health, Log: log, Failed: failed,
	}
	reconciler := &plugins.Reconciler{
		PluginName: "reconciler", Config: f, Node: node, Store: etcd, VPP: vpp, Presence: presence, Gateway: window, Health: health, Log: log, Failed: failed,
	}
	all := []infra.Plugin{servicelabel.NewPlugin(servicelabel.UseLabel(f.Node)), health, etcd, vpp, presence, window}
	if f.Agent.DevicePlugin.Enabled {
		reconciler.Devices = &plugins.DevicePlugin{PluginName: "device-plugin", Config: f, Health: health, Log: log}
		all = append(all, reconciler.Devices)
	}
	http := &plugins.HTTP{PluginName: "http", Address: f.Agent.HTTP, Reconciler: reconciler, Health: health, Log: log, Failed: failed}
	return append(all, reconciler, http)
}

func logger(level string) (*logrus.Logger, error) {
	log := logrus.New()
	l, err := logrus.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log-level: %w", err)
	}
	log.SetLevel(l)
	log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: time.RFC3339Nano})
	return log, nil
}

// tone makes cn-infra's loggers write as ours do. Below debug they tell of
// trouble only: the parts themselves say what happens.
func tone(log *logrus.Logger) {
	level := logging.WarnLevel
	if log.IsLevelEnabled(logrus.DebugLevel) {
		level = logging.DebugLevel
	}
	names := make([]string, 0, 8)
	for name := range logging.DefaultRegistry.ListLoggers() {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if l, ok := logging.DefaultRegistry.Lookup(name); ok {
			l.SetFormatter(log.Formatter)
			l.SetLevel(level)
		}
	}
}
