package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// cmdGC removes this node's attachments of this network that the runtime does
// not list.
func cmdGC(cmd *skel.CmdArgs) error {
	return serve(cmd, "GC", (*call).gc)
}

// attachmentKey is what the runtime knows an attachment by.
type attachmentKey struct {
	container schema.ContainerID
	ifName    schema.IfName
}

func (c *call) gc(ctx context.Context) error {
	valid, err := c.validAttachments()
	if err != nil {
		return err
	}
	list, _, err := c.store.Attachments(ctx, store.Filter{Node: c.set.node, Network: schema.NetworkName(c.conf.Name)})
	if err != nil {
		return storeError("the attachments cannot be listed from etcd", err)
	}
	var errs []error
	removed := 0
	for _, v := range list {
		if v.Host == nil || valid[attachmentKey{v.Container, v.IfName}] {
			continue
		}
		if err := c.collect(ctx, v); err != nil {
			errs = append(errs, fmt.Errorf("attachment %s/%s: %w", v.Container, v.IfName, err))
			continue
		}
		removed++
	}
	c.log.WithFields(logrus.Fields{"removed": removed, "failed": len(errs), "took": c.took()}).Info("attachments collected")
	if err := c.ipam.run(ctx, "GC"); err != nil {
		errs = append(errs, c.ipam.error("GC", err))
	}
	if err := errors.Join(errs...); err != nil {
		return fail(codeOf(err), "not all could be collected", err)
	}
	return nil
}

// validAttachments reads the runtime's list. A missing list is not an empty
// one, and an entry that names nothing spares nothing: both would remove
// attachments that are in use.
func (c *call) validAttachments() (map[attachmentKey]bool, error) {
	const field = "cni.dev/valid-attachments"
	if c.conf.ValidAttachments == nil {
		return nil, fail(types.ErrInvalidNetworkConfig, field+" is missing from the network configuration", nil)
	}
	valid := make(map[attachmentKey]bool, len(*c.conf.ValidAttachments))
	for i, a := range *c.conf.ValidAttachments {
		if a.ContainerID == "" || a.IfName == "" {
			return nil, badField(fmt.Sprintf("%s[%d]", field, i), a.ContainerID+"/"+a.IfName, "an object with containerID and ifname")
		}
		valid[attachmentKey{schema.ContainerID(a.ContainerID), schema.IfName(a.IfName)}] = true
	}
	return valid, nil
}

// collect removes one attachment unless it was made anew since the list, and
// gives its addresses back: not every IPAM plugin knows GC.
func (c *call) collect(ctx context.Context, v store.AttachmentView) error {
	l := store.Lookup{Node: v.Node, Container: v.Container, IfName: v.IfName, Pod: v.PodID}
	d, err := c.store.Detach(ctx, l, v.Host.Rev)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	c.log.WithFields(logrus.Fields{"container": v.Container, "ifname": v.IfName, "rev": d.Rev}).Info("attachment collected")
	if err := c.ipam.of(string(v.Container), string(v.IfName)).del(ctx); err != nil {
		return c.ipam.error("DEL", err)
	}
	return nil
}
