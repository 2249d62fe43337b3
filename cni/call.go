package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// cleanupTime bounds the removal of a failed ADD's traces, and DEL's wait for
// the agent.
const cleanupTime = 5 * time.Second

// call is one call of the plugin: what it was asked, and what it works with.
type call struct {
	cmd   *skel.CmdArgs
	conf  *netConf
	args  cniArgs
	set   settings
	store *store.Store
	ipam  ipam
	log   *logrus.Entry
	logTo io.Closer
	start time.Time
}

// newCall reads the configuration and opens log and store. Nothing is dialed
// yet. lenient is for a call that removes: what the network configuration may not
// say is passed over.
func newCall(cmd *skel.CmdArgs, lenient bool) (*call, error) {
	c := &call{cmd: cmd, start: time.Now()}
	var err error
	if c.conf, err = parseConfig(cmd.StdinData); err != nil {
		return nil, err
	}
	if c.set, err = newSettings(c.conf, os.Getenv, os.Hostname, lenient); err != nil {
		return nil, err
	}
	if c.store, err = openStore(c.set.etcd); err != nil {
		return nil, err
	}
	c.args = parseArgs(cmd.Args)
	logger, closer := newLog(c.set.log)
	c.logTo = closer
	c.log = logger.WithFields(logrus.Fields{"node": c.set.node, "network": c.conf.Name})
	if cmd.ContainerID != "" {
		c.log = c.log.WithFields(logrus.Fields{"container": cmd.ContainerID, "ifname": cmd.IfName})
	}
	if c.set.ignored != nil {
		c.log.WithField("err", c.set.ignored).Warn("the network configuration says what it may not, the node's file is followed")
	}
	c.ipam = newIPAM(c.conf.IPAM.Type, cmd)
	return c, nil
}

// serve runs a verb within the call's time, and logs why it failed.
func serve(cmd *skel.CmdArgs, verb string, do func(*call, context.Context) error) error {
	c, err := newCall(cmd, verb == "DEL" || verb == "GC")
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := c.context()
	defer cancel()
	if err := do(c, ctx); err != nil {
		return c.failed(verb, err)
	}
	return nil
}

func (c *call) close() {
	if err := c.store.Close(); err != nil {
		c.log.WithField("err", err).Debug("store did not close")
	}
	_ = c.logTo.Close()
}

// context ends with the call's time-out, or with SIGTERM or SIGINT; the cause
// says which. While it lives a second signal changes nothing, so that cleaning
// up is not cut short, and writing to a runtime that is gone is an error rather
// than the end.
func (c *call) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ctx, stop := context.WithTimeoutCause(ctx, c.set.timeout, errTimeout)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGPIPE)
	go func() {
		for s := range signals {
			if s != syscall.SIGPIPE {
				cancel(errSignal)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		stop()
		cancel(context.Canceled)
	}
}

// lookup names the attachment for the store.
func (c *call) lookup(id identity, networks ...schema.NetworkName) store.Lookup {
	return store.Lookup{Node: c.set.node, Container: id.container, IfName: id.ifName, Pod: id.pod.ID, Networks: networks}
}

// took is the time since the call began, for the log.
func (c *call) took() time.Duration { return time.Since(c.start).Round(100 * time.Microsecond) }
