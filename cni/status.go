package main

import (
	"context"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/vpp-cni/vpp-cni/schema/store"
)

// statusProbe stands where a Look wants an attachment: STATUS asks about none.
// Its key is read and never written.
const statusProbe = "status"

// statusTime bounds STATUS, which is asked every 5 s.
const statusTime = 2 * time.Second

// cmdStatus says whether an ADD can be served now: error 50 while etcd or the
// node's agent is away, 51 while VPP is. Runtimes ask every few seconds, so it
// is one round trip.
func cmdStatus(cmd *skel.CmdArgs) error {
	c, err := newCall(cmd, false)
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := c.context()
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, statusTime)
	defer stop()
	return c.status(ctx)
}

func (c *call) status(ctx context.Context) error {
	if _, err := c.conf.ends(); err != nil {
		return err
	}
	view, err := c.store.Look(ctx, store.Lookup{Node: c.set.node, Container: statusProbe, IfName: statusProbe, Pod: statusProbe})
	if err != nil {
		return fail(types.ErrPluginNotAvailable, "etcd cannot be asked", err)
	}
	if err := c.agentError(view.Agent, types.ErrPluginNotAvailable, types.ErrLimitedConnectivity); err != nil {
		return err
	}
	if err := c.ipam.run(ctx, "STATUS"); err != nil {
		return c.ipam.error("STATUS", err)
	}
	return nil
}
