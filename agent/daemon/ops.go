package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/reconcile"
)

// found tells of objects that are not as they were left.
func (d *Daemon) found(drift []reconcile.Difference) {
	for _, diff := range drift {
		d.log.WithFields(logrus.Fields{"kind": diff.ID.Kind.String(), "id": diff.ID.Name, "op": string(diff.Op), "keys": diff.Keys}).Warn("drift found")
		if _, known := d.drifted[diff.ID]; !known {
			d.drifted[diff.ID] = time.Now()
		}
	}
}

// mended tells of those that are as wanted again.
func (d *Daemon) mended() {
	for id, since := range d.drifted {
		if d.engine.AsWanted(id) {
			delete(d.drifted, id)
			d.cfg.Metrics.mended.WithLabelValues(id.Kind.String()).Inc()
			d.log.WithFields(logrus.Fields{"kind": id.Kind.String(), "id": id.Name, "took": time.Since(since).Round(time.Microsecond).String()}).Info("drift mended")
		}
	}
}

// logOps tells what was done. Many operations are one line each at level debug
// only.
func (d *Daemon) logOps(rep reconcile.Report) {
	debug := d.log.Logger.IsLevelEnabled(logrus.DebugLevel)
	for _, op := range rep.Ops {
		if op.Err == nil && !debug {
			continue // a full pass has thousands
		}
		log := d.log.WithFields(logrus.Fields{
			"op": string(op.Verb), "kind": op.ID.Kind.String(), "id": op.ID.Name, "took": op.Took.Round(time.Microsecond).String(),
		})
		switch {
		case errors.Is(op.Err, context.Canceled): // broken off
		case op.Err != nil && op.Retry:
			log.WithField("err", op.Err).Debug("object refused again")
		case op.Err != nil:
			log.WithField("err", op.Err).Warn("object refused, will be tried again")
		default:
			log.Debug("object applied")
		}
	}
}
