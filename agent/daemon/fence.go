package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/reconcile"
)

// errFenced ends what was under way when the daemon was fenced.
var errFenced = errors.New("fenced")

// SetFenced keeps the daemon from acting while err is not nil: another agent
// may be at work on the same VPP and under the same keys. What is under way is
// broken off, and what was to be written is forgotten. With nil it begins anew:
// statuses and VPP are read again, since the other one may have changed both.
// It may be called at any time, before Run too, and does not wait.
func (d *Daemon) SetFenced(err error) {
	d.mu.Lock()
	d.state.Fenced = err
	if err != nil {
		d.afresh = true
		d.state.Pass = errNoPass
		d.pub.shut()
		if d.stopPass != nil {
			d.stopPass()
		}
	}
	d.mu.Unlock()
	select {
	case d.fence <- struct{}{}:
	default:
	}
}

// fenced says whether the daemon must not act.
func (d *Daemon) fenced() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Fenced != nil
}

// admitted says whether the daemon may act. After a fence it forgets what it
// knew.
func (d *Daemon) admitted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.Fenced != nil {
		return false
	}
	if !d.afresh {
		return true
	}
	d.afresh = false
	d.pub.reopen()
	for _, driver := range d.drivers() {
		d.engine.Down(driver, reconcile.ErrNotRead)
	}
	for key := range d.held { // what is still there of it is found in VPP
		d.engine.Forget(key)
	}
	clear(d.held)
	for _, r := range d.records {
		d.mark(r)
	}
	now := time.Now()
	d.due.load = now
	d.resyncAt(now)
	return true
}

// permit is the context of one pass, which a fence ends.
func (d *Daemon) permit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := func() { cancel(errFenced) }
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopPass = stop
	if d.state.Fenced != nil {
		stop()
	}
	return ctx, func() {
		stop()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stopPass = nil
	}
}

func (d *Daemon) drivers() []reconcile.Driver {
	return append([]reconcile.Driver{d.cfg.VPP}, d.cfg.Drivers...)
}
