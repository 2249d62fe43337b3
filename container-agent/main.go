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
		Example: `  vpp-container-agent --endpoints http://10.0.0.1:2379 --node worker-1 --pod 5cf0f7b4-6a4c-4d0c-9a53-0d9c6b1c7a11
  vpp-container-agent --etcd-config /etc/vpp-cni/config.yaml --node worker-1 --pod $POD_UID`,
		Args:          cobra.NoArgs,
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return run(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.node, "node", "", "the name of the pod's node in the keys")
	f.StringVar(&o.pod, "pod", "", "the pod's UID, or its container id where the runtime gives no UID")
	f.StringSliceVar(&o.endpoints, "endpoints", nil, "etcd: host:port, http://, https:// or unix:///path, several with commas")
	f.StringVar(&o.etcdConfig, "etcd-config", "", "a configuration file that says where etcd is, in the form of "+config.DefaultPath)
	f.StringVar(&o.prefix, "prefix", "", "the part of every key before the version (default "+schema.DefaultPrefix+")")
	f.StringVar(&o.socketDir, "socket-dir", "/run/vpp-cni", "the pod's directory of sockets as mounted here")
	f.StringVar(&o.vppSocket, "vpp-socket", "/run/vpp/api.sock", "VPP's binary API socket")
	f.StringVar(&o.http, "http", "", "where health and metrics are served: unix:///path or host:port (default: nowhere)")
	f.StringVar(&o.logLevel, "log-level", "info", "error, warn, info or debug")
	f.DurationVar(&o.audit, "audit-interval", daemon.DefaultAudit, "the time between two comparisons of everything")
	return c
}

// etcd says where etcd is.
func (o options) etcd() (store.Config, error) {
	if o.etcdConfig == "" {
		if len(o.endpoints) == 0 {
			return store.Config{}, errors.New("say where etcd is: --endpoints or --etcd-config")
		}
		return store.Config{Endpoints: o.endpoints, Prefix: o.prefix}, nil
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

func run(ctx context.Context, o options) error {
	node, pod := schema.Node(o.node), schema.PodID(o.pod)
	if err := errors.Join(node.Validate(), pod.Validate()); err != nil {
		return fmt.Errorf("--node and --pod: %w", err)
	}
	level, err := logrus.ParseLevel(o.logLevel)
	if err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	logger := logrus.New()
	logger.SetLevel(level)
	logger.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: time.RFC3339Nano})
	log := logger.WithFields(logrus.Fields{"node": o.node, "pod": o.pod})
	cfg, err := o.etcd()
	if err != nil {
		return err
	}
	s, err := store.Open(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	// The gateway's root is the pod's prefix; seen through Subtree, so is this.
	tree := s.Subtree(s.Keys().PodPrefix(node, pod))
	log.WithFields(logrus.Fields{
		"version": version.Version, "endpoints": strings.Join(cfg.Endpoints, ","), "vpp": o.vppSocket, "socketdir": o.socketDir,
	}).Info("vpp-container-agent starts")
	if err := serve(ctx, o, tree, log); err != nil {
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
