package main

import (
	"context"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/schema/failpoint"
)

// cmdDel removes an attachment. It needs no network namespace, no prevResult
// and no CNI_ARGS, and what is not there is no error. It fails only where
// something would be lost: keys that cannot be removed, addresses that cannot
// be given back.
func cmdDel(cmd *skel.CmdArgs) error {
	return serve(cmd, "DEL", (*call).del)
}

func (c *call) del(ctx context.Context) error {
	// A pod id that is not allowed was not allowed in ADD.
	id, err := identify(c.cmd, c.args)
	if err != nil {
		if id, err = identify(c.cmd, cniArgs{}); err != nil {
			return err
		}
	}
	withIPAM, err := c.findIPAM(ctx, id)
	if err != nil {
		return err
	}
	failpoint.Hit("del-before-detach")
	d, err := c.store.Detach(ctx, c.lookup(id), 0)
	if err != nil {
		return storeError("the attachment cannot be removed from etcd", err)
	}
	failpoint.Hit("del-after-detach")
	if d.Awaited {
		c.awaitGone(ctx, id)
	}
	pod := id.pod.ID
	if d.Host != nil {
		pod = d.Host.Pod.ID
	}
	if err := c.removeInfo(pod); err != nil { // it speaks of nothing any more, whoever reads it
		c.log.WithField("err", err).Warn("device information stays")
	}
	failpoint.Hit("del-before-ipam")
	if withIPAM {
		if err := c.ipam.del(ctx); err != nil {
			return c.ipam.error("DEL", err)
		}
	}
	c.log.WithFields(logrus.Fields{"rev": d.Rev, "existed": d.Existed, "took": c.took()}).Info("attachment removed")
	return nil
}

// findIPAM says whether IPAM's DEL is to be run. A plugin that is missing is an
// error while the attachment is there, before its keys go: afterwards nobody
// would know that its addresses are still to be given back. Without an
// attachment it is none, or the DEL after an ADD that failed for the same
// reason would fail for ever.
func (c *call) findIPAM(ctx context.Context, id identity) (bool, error) {
	if c.ipam.plugin == "" {
		return false, nil
	}
	_, missing := c.ipam.find()
	if missing == nil {
		return true, nil
	}
	view, err := c.store.Look(ctx, c.lookup(id))
	if err != nil {
		return false, storeError("the attachment cannot be looked up in etcd", err)
	}
	if view.Host != nil {
		return false, c.ipam.error("DEL", missing)
	}
	c.log.WithField("err", missing).Warn("IPAM plugin is missing, no attachment holds addresses")
	return false, nil
}
