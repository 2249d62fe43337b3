// Program vpp-container-agent makes a pod's own VPP match what etcd says of the
// pod's ends, and tells etcd what it sees. This file only puts the parts
// together.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/container-agent/podplan"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/config"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/schema/version"
)

const long = `vpp-container-agent runs in a pod, beside the pod's own VPP. It makes the pod's
end of every attachment there: a memif on the socket in the mounted directory,
its MAC, MTU, addresses and routes, and writes a status for each. A vhost-user
end belongs to the application: the agent makes nothing and its status says so.

It speaks etcd's API over etcd.sock in the socket directory, where the node's
agent serves this pod's keys and no others; the directory may be mounted
read-only, and no network is needed. With --node, --pod and where etcd is it
speaks with etcd itself.

It may be started before VPP and before etcd: it waits, and says so. When it is
stopped VPP keeps everything, and traffic goes on.

With --http, health and metrics are served: /livez, /readyz, /metrics, /verify.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "vpp-container-agent: %v\n", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	node, pod                            string
	endpoints                            []string
	etcdConfig, prefix                   string
	socketDir, vppSocket, http, logLevel string
	audit                                time.Duration
}

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "vpp-container-agent",
		Short: "Make a pod's VPP match what etcd says",
		Long:  long,
		Example: `  vpp-container-agent
  vpp-container-agent --socket-dir /run/vpp-cni --vpp-socket /run/vpp/api.sock
  vpp-container-agent --endpoints http://10.0.0.1:2379 --node worker-1 --pod 5cf0f7b4-6a4c-4d0c-9a53-0d9c6b1c7a11
  vpp-container-agent --etcd-config /etc/vpp-cni/config.yaml --node worker-1 --pod $POD_UID`,
		Args:          cobra.NoArgs,
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return run(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.node, "node", "", "with etcd itself: the name of the pod's node in the keys")
	f.StringVar(&o.pod, "pod", "", "with etcd itself: the pod's UID, or its container id where the runtime gives no UID")
	f.StringSliceVar(&o.endpoints, "endpoints", nil, "etcd: host:port, http://, https:// or unix:///path, several with commas (default unix://<socket-dir>/"+schema.GatewaySocket+")")
	f.StringVar(&o.etcdConfig, "etcd-config", "", "with etcd itself: a configuration file that says where it is, in the form of "+config.DefaultPath)
	f.StringVar(&o.prefix, "prefix", "", "with etcd itself: the part of every key before the version (default "+schema.DefaultPrefix+")")
	f.StringVar(&o.socketDir, "socket-dir", "/run/vpp-cni", "the pod's directory of sockets as mounted here")
	f.StringVar(&o.vppSocket, "vpp-socket", "/run/vpp/api.sock", "VPP's binary API socket")
	f.StringVar(&o.http, "http", "", "where health and metrics are served: unix:///path or host:port (default: nowhere)")
	f.StringVar(&o.logLevel, "log-level", "info", "error, warn, info or debug")
	f.DurationVar(&o.audit, "audit-interval", daemon.DefaultAudit, "the time between two comparisons of everything")
	c.AddCommand(health())
	c.CompletionOptions.DisableDefaultCmd = true
	return c
}

// health is the command that asks the agent that runs.
func health() *cobra.Command {
	var address string
	c := daemon.HealthCommand(func() (string, error) { return address, nil })
	c.Flags().StringVar(&address, "http", "", "where the agent serves: unix:///path or host:port")
	_ = c.MarkFlagRequired("http")
	return c
}

// direct says whether the agent speaks with etcd itself, and whether what is given
// goes together.
func (o options) direct() (bool, error) {
	etcd := o.etcdConfig != "" || slices.ContainsFunc(o.endpoints, func(e string) bool { return !strings.HasPrefix(e, "unix://") })
	switch {
	case (o.node == "") != (o.pod == ""):
		return false, errors.New("--node and --pod go together: set both to speak with etcd itself, or none for the node's agent in --socket-dir")
	case o.node != "" && o.etcdConfig == "" && len(o.endpoints) == 0:
		return false, errors.New("--node and --pod are for etcd itself: say where it is with --endpoints or --etcd-config, or leave them out for the node's agent in --socket-dir")
	case o.node == "" && etcd:
		return false, errors.New("etcd itself has the keys of all pods: say which with --node and --pod, or leave --endpoints and --etcd-config out for the node's agent in --socket-dir")
	case o.node == "" && o.prefix != "":
		return false, errors.New("--prefix is for etcd itself: it goes with --node and --pod")
	case o.node == "":
		return false, nil
	}
	if err := errors.Join(schema.Node(o.node).Validate(), schema.PodID(o.pod).Validate()); err != nil {
		return false, fmt.Errorf("--node and --pod: %w", err)
	}
	return true, nil
}

// etcd says where etcd is, or the node's agent in its place.
func (o options) etcd() (store.Config, error) {
	if o.etcdConfig == "" {
		endpoints := o.endpoints
		if len(endpoints) == 0 {
			endpoints = []string{"unix://" + filepath.Join(o.socketDir, schema.GatewaySocket)}
		}
		return store.Config{Endpoints: endpoints, Prefix: o.prefix}, nil
	}
	f, err := config.Load(o.etcdConfig)
	if err != nil {
		return store.Config{}, err
	}
	out := store.Config{
		Endpoints: f.Etcd.Endpoints, CACert: f.Etcd.CACert, Cert: f.Etcd.Cert, Key: f.Etcd.Key,
		User: f.Etcd.User, PasswordFile: f.Etcd.PasswordFile, Prefix: f.Prefix,
	}
	if len(o.endpoints) > 0 {
		out.Endpoints = o.endpoints
	}
	if o.prefix != "" {
		out.Prefix = o.prefix
	}
	return out, nil
}

// tree is the pod's part of the keys. The gateway's root is the pod's prefix;
// seen through Subtree, so is this.
func (o options) tree(s *store.Store, direct bool) *store.Subtree {
	if !direct {
		return s.Subtree("")
	}
	return s.Subtree(s.Keys().PodPrefix(schema.Node(o.node), schema.PodID(o.pod)))
}

func run(ctx context.Context, o options) error {
	direct, err := o.direct()
	if err != nil {
		return err
	}
	level, err := logrus.ParseLevel(o.logLevel)
	if err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	logger := logrus.New()
	logger.SetLevel(level)
	logger.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: time.RFC3339Nano})
	log := logrus.NewEntry(logger)
	if direct {
		log = logger.WithFields(logrus.Fields{"node": o.node, "pod": o.pod})
	}
	cfg, err := o.etcd()
	if err != nil {
		return err
	}
	s, err := store.Open(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	log.WithFields(logrus.Fields{
		"version": version.Version, "endpoints": strings.Join(cfg.Endpoints, ","), "vpp": o.vppSocket, "socketdir": o.socketDir,
	}).Info("vpp-container-agent starts")
	if err := serve(ctx, o, o.tree(s, direct), log); err != nil {
		return err
	}
	log.Info("vpp-container-agent ends, VPP keeps everything")
	return nil
}

func serve(ctx context.Context, o options, tree daemon.Tree, log *logrus.Entry) error {
	planner := podplan.Planner{SocketDir: o.socketDir}
	d, err := daemon.New(daemon.Config{
		Node: o.node, Tree: tree,
		VPP: vpp.New(vpp.Config{Socket: o.vppSocket, SocketRoot: o.socketDir, Logger: log}),
		Contract: daemon.Contract{
			Desired: schema.PodInterfacesPrefix, Statuses: schema.PodStatusPrefix,
			Check: func(key string) error { _, err := schema.ParsePodKey(key); return err },
			Plan: func(key string, value []byte) (daemon.Attachment, error) {
				plan, err := planner.Decode(key, value)
				return daemon.Attachment(plan), err
			},
			Interfaces: podplan.Interfaces,
		},
		Audit: o.audit, Log: log,
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if o.http != "" {
		l, err := daemon.Listen(ctx, o.http)
		if err != nil {
			return err
		}
		g.Go(func() error { return daemon.Serve(ctx, l, d.Handler(d.Checks), log) })
	}
	g.Go(func() error { return d.Run(ctx) })
	return g.Wait()
}
