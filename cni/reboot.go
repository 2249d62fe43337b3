package main

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/schema/failpoint"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// ofEarlierBoot says whether the attachment that is there is of an earlier boot
// of the node: its sandbox, its VPP interface and its socket are gone, and nothing
// of it can be joined. Where either boot is not known, it is not.
func (a *adding) ofEarlierBoot() bool {
	host := a.view.Host
	return host != nil && host.Err == nil && host.Value.BootID != "" && a.req.bootID != "" && host.Value.BootID != a.req.bootID
}

// dropEarlier does what the DEL that the reboot cut short would have done, and
// looks again: keys first, then addresses, as everywhere.
func (a *adding) dropEarlier(ctx context.Context) error {
	rev := a.view.Host.Rev
	d, err := a.store.Detach(ctx, a.lookup(a.id), rev)
	switch {
	case errors.Is(err, store.ErrConflict): // another call was faster
		return a.look(ctx)
	case err != nil:
		return storeError("the attachment of an earlier boot cannot be removed from etcd", err)
	}
	failpoint.Hit("add-after-drop")
	if d.Awaited {
		a.awaitGone(ctx, a.id)
	}
	if err := a.ipam.del(ctx); err != nil {
		return a.ipam.error("DEL", err)
	}
	a.log.WithFields(logrus.Fields{"rev": rev}).Info("attachment of an earlier boot removed")
	return a.look(ctx)
}
