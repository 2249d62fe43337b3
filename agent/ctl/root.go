package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/config"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/schema/version"
)

// app is one run of the program.
type app struct {
	in          io.Reader
	out, errOut io.Writer

	configFile string
	etcd       config.Etcd
	prefix     string
	timeout    time.Duration
}

const rootLong = `vpp-cnictl shows which pods are attached to VPP on which node, and checks that
each node's VPP holds what etcd says it should.

It reads etcd, where the CNI plugin writes what is wanted and the agents write
what they see. Where etcd is comes from the node's configuration file
(` + config.DefaultPath + `) and can be overridden by flags.

Every view can also be had with plain etcdctl:
  etcdctl get --prefix /vpp-cni/v1/nodes/

Exit codes:
  0  done; verify: VPP holds what is desired
  1  verify: VPP does not hold what is desired
  2  error: bad usage, not found, etcd or the agent cannot be reached`

const rootExample = `  vpp-cnictl get nodes
  vpp-cnictl get attachments --node worker-1 -o wide
  vpp-cnictl describe attachment default/web-0
  vpp-cnictl verify`

func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use:           "vpp-cnictl",
		Short:         "Show and check the pods attached to VPP",
		Long:          rootLong,
		Example:       rootExample,
		Version:       version.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	f := c.PersistentFlags()
	f.StringVar(&a.configFile, "config", os.Getenv(config.Env), "configuration file (default $"+config.Env+", else "+config.DefaultPath+", which may be missing)")
	f.StringSliceVar(&a.etcd.Endpoints, "endpoints", nil, "etcd endpoints, separated by commas: host:port, http://, https:// or unix:///path")
	f.StringVar(&a.prefix, "prefix", "", "the part of every key before v1 (default "+schema.DefaultPrefix+")")
	f.StringVar(&a.etcd.CACert, "cacert", "", "file of the certificates that sign etcd's")
	f.StringVar(&a.etcd.Cert, "cert", "", "file of the client's certificate")
	f.StringVar(&a.etcd.Key, "key", "", "file of the client's private key")
	f.StringVar(&a.etcd.User, "user", "", "etcd user name")
	f.StringVar(&a.etcd.PasswordFile, "password-file", "", "file that holds the etcd user's password")
	f.DurationVar(&a.timeout, "timeout", store.DefaultRequestTimeout, "how long to wait for each answer of etcd")
	c.AddCommand(a.get(), a.describe(), a.watch(), a.network(), a.nodeCommand(), a.verify(), a.etcdCommand())
	return c
}

// load reads the configuration file and puts the flags over it.
func (a *app) load() (config.File, error) {
	path := a.configFile
	if path == "" {
		path = os.Getenv(config.Env)
	}
	f, err := config.Load(path)
	if err != nil {
		return config.File{}, err
	}
	over(&f.Prefix, a.prefix)
	over(&f.Etcd.CACert, a.etcd.CACert)
	over(&f.Etcd.Cert, a.etcd.Cert)
	over(&f.Etcd.Key, a.etcd.Key)
	over(&f.Etcd.User, a.etcd.User)
	over(&f.Etcd.PasswordFile, a.etcd.PasswordFile)
	if len(a.etcd.Endpoints) > 0 {
		f.Etcd.Endpoints = a.etcd.Endpoints
	}
	return f, nil
}

func over(field *string, flag string) {
	if flag != "" {
		*field = flag
	}
}

// with opens the store for the time of fn.
func (a *app) with(ctx context.Context, fn func(context.Context, *store.Store) error) error {
	return a.open(ctx, nil, fn)
}

// show is with for what is only looked at: a user who may not read all of it is
// shown the rest, and told so.
func (a *app) show(ctx context.Context, fn func(context.Context, *store.Store) error) error {
	var once sync.Once
	return a.open(ctx, func(shown []string) {
		once.Do(func() {
			_, _ = fmt.Fprintf(a.errOut, "note: not everything may be read by this user; this is what stands under %s\n", strings.Join(shown, ", "))
		})
	}, fn)
}

func (a *app) open(ctx context.Context, partial func([]string), fn func(context.Context, *store.Store) error) error {
	f, err := a.load()
	if err != nil {
		return err
	}
	if a.timeout <= 0 {
		return fmt.Errorf("--timeout %s is not allowed: a positive duration, as in 5s", a.timeout)
	}
	s, err := store.Open(store.Config{
		Endpoints: f.Etcd.Endpoints, CACert: f.Etcd.CACert, Cert: f.Etcd.Cert, Key: f.Etcd.Key,
		User: f.Etcd.User, PasswordFile: f.Etcd.PasswordFile, Prefix: f.Prefix,
		DialTimeout: a.timeout, RequestTimeout: a.timeout, Partial: partial,
	})
	if err != nil {
		return err
	}
	err = fn(ctx, s)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}

// checkOutput is the check of the flag -o.
func checkOutput(form string, allowed ...string) error {
	if slices.Contains(allowed, form) {
		return nil
	}
	return fmt.Errorf("--output %q is not allowed: one of %s", form, strings.Join(allowed, ", "))
}
