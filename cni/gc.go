package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/failpoint"
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
	list = slices.DeleteFunc(list, func(v store.AttachmentView) bool {
		return v.Host == nil && v.Pod == nil || valid[attachmentKey{v.Container, v.IfName}]
	})
	removed, errs := c.collect(ctx, list)
	c.log.WithFields(logrus.Fields{"removed": removed, "failed": len(errs), "took": c.took()}).Info("attachments collected")
	failpoint.Hit("gc-before-ipam")
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

// collect removes attachments unless they were made anew since the list: first
// all host ends, then the wait for the agent, then addresses and pod ends. The
// pod end goes last. While it stands, a GC that comes after one that was killed
// finds what is still to be given back; nobody else would, since GC is for what
// the runtime does not know.
func (c *call) collect(ctx context.Context, list []store.AttachmentView) (removed int, errs []error) {
	var going []store.AttachmentView
	for _, v := range list {
		switch gone, err := c.collectHost(ctx, v); {
		case err != nil:
			errs = append(errs, collectError(v, err))
		case gone:
			going = append(going, v)
		}
	}
	c.awaitAllGone(ctx, going)
	for _, v := range going {
		if err := c.collectRest(ctx, v); err != nil {
			errs = append(errs, collectError(v, err))
			continue
		}
		removed++
	}
	return removed, errs
}

func collectError(v store.AttachmentView, err error) error {
	return fmt.Errorf("attachment %s/%s: %w", v.Container, v.IfName, err)
}

// listed is what Detach is to find: the ADD that the list showed.
func listed(v store.AttachmentView) (store.Lookup, int64) {
	l := store.Lookup{Node: v.Node, Container: v.Container, IfName: v.IfName, Pod: v.PodID}
	if v.Host != nil {
		return l, v.Host.Rev
	}
	return l, v.Pod.Rev // a host end that was made since has another revision
}

// collectHost removes the host end, and says whether the attachment is the one
// of the list.
func (c *call) collectHost(ctx context.Context, v store.AttachmentView) (bool, error) {
	failpoint.Hit("gc-before-detach")
	l, rev := listed(v)
	_, err := c.store.DetachHost(ctx, l, rev)
	if errors.Is(err, store.ErrConflict) {
		return false, nil
	}
	failpoint.Hit("gc-after-detach")
	return err == nil, err
}

// awaitAllGone waits for the agent as long as DEL does, for all together.
func (c *call) awaitAllGone(ctx context.Context, going []store.AttachmentView) {
	ctx, cancel := context.WithTimeout(ctx, min(c.set.timeout/2, cleanupTime))
	defer cancel()
	for _, v := range going {
		c.awaitGone(ctx, identity{container: v.Container, ifName: v.IfName})
		if ctx.Err() != nil {
			return
		}
	}
}

// collectRest gives the addresses back, since not every IPAM plugin knows GC, and
// removes the pod end.
func (c *call) collectRest(ctx context.Context, v store.AttachmentView) error {
	if err := c.ipam.of(string(v.Container), string(v.IfName)).del(ctx); err != nil {
		return c.ipam.error("DEL", err)
	}
	failpoint.Hit("gc-after-release")
	l, rev := listed(v)
	d, err := c.store.Detach(ctx, l, rev)
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	c.log.WithFields(logrus.Fields{"container": v.Container, "ifname": v.IfName, "rev": d.Rev}).Info("attachment collected")
	return nil
}
