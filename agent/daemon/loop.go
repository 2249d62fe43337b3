package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

const (
	// refreshDelay is from an event of interfaces to the read of all of them: one
	// change makes several events, and an ADD among them is not kept waiting.
	refreshDelay = 20 * time.Millisecond
	// refreshShare bounds the part of the time in which VPP is busy with such
	// reads to one in so many.
	refreshShare = 20
	refreshLimit = 10 * time.Second
	// againPause is the time before something is tried again that concerns
	// everything: a full pass, the list of statuses.
	againPause = time.Second
)

// dues are the times at which the loop has to act without being told. Zero
// means never.
type dues struct {
	audit   time.Time
	resync  time.Time
	load    time.Time
	refresh time.Time
	// grace is when the next attachment has been on its way for too long.
	grace time.Time
}

func (d dues) all() []time.Time {
	return []time.Time{d.audit, d.resync, d.load, d.refresh, d.grace}
}

func past(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

// loop handles one thing after the other. While a pass runs, what comes
// accumulates; an event that finds the loop idle is handled at once.
func (d *Daemon) loop(ctx context.Context) error {
	d.due.audit = time.Now().Add(d.cfg.Audit)
	timer := time.NewTimer(d.cfg.Audit)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.inbox.wake:
			d.receive(ctx, d.inbox.take())
		case ev := <-d.cfg.VPP.Events():
			d.vppEvent(ev)
		case <-d.fence:
			d.setState(func(*State) {}) // the state is there, but nobody was told
		case <-timer.C:
		}
		d.work(ctx)
		if ctx.Err() != nil {
			return nil
		}
		timer.Reset(d.wait())
	}
}

// wait is the time until the loop must act by itself.
func (d *Daemon) wait() time.Duration {
	wait := d.cfg.Audit
	if d.fenced() {
		return wait
	}
	now := time.Now()
	due := d.due
	if !d.snapshot {
		due.resync = time.Time{}
	}
	times := due.all()
	if t, ok := d.engine.NextRetry(); ok {
		times = append(times, t)
	}
	for _, t := range times {
		if !t.IsZero() {
			wait = min(wait, t.Sub(now))
		}
	}
	return max(wait, 0)
}

// receive takes what came from etcd.
func (d *Daemon) receive(ctx context.Context, n news) {
	d.cfg.Metrics.events("etcd", n.events)
	if n.rev != 0 {
		d.rev = n.rev
	}
	if n.snapshot != nil {
		d.replace(n)
	}
	for key, e := range n.changes {
		d.change(key, e)
	}
	if n.snapshot != nil && d.admitted() {
		d.load(ctx)
	}
	if n.lost != nil {
		d.engine.Stale()
		if text(d.State().Etcd) != text(n.lost) {
			d.log.WithField("err", n.lost).Warn("etcd not read, nothing is deleted until it is")
		}
	}
	if n.snapshot != nil || n.lost != nil {
		d.setState(func(s *State) { s.Etcd = n.lost })
	}
}

// replace takes a snapshot of all desired values.
func (d *Daemon) replace(n news) {
	for key, r := range d.records {
		if _, ok := n.snapshot[key]; !ok {
			d.hold(r)
		}
	}
	all := make(map[string]reconcile.Spec, len(n.snapshot))
	for key, e := range n.snapshot {
		if spec, ok := d.read(key, e); ok {
			all[key] = spec
		}
	}
	for key, r := range d.held {
		all[key] = d.heldSpec(r)
	}
	d.engine.Replace(all)
	if !d.snapshot {
		d.snapshot = true
		d.resyncAt(time.Now())
	}
	d.log.WithFields(logrus.Fields{"rev": n.rev, "count": len(n.snapshot)}).Info("desired state read")
}

// change takes one change of a desired value.
func (d *Daemon) change(key string, e *store.Entry) {
	log := d.log.WithField("key", key)
	if e == nil {
		if d.records[key] != nil {
			log.Debug("not desired any more")
			d.forget(key)
			d.engine.Remove(key)
			return
		}
		d.unknownGone(key)
		return
	}
	log.WithField("rev", e.Rev).Debug("desired")
	if spec, ok := d.read(key, *e); ok {
		d.engine.Set(key, spec)
	}
}

// load reads the statuses in etcd and notes those that no desired value has. They
// bear witness of what was removed.
func (d *Daemon) load(ctx context.Context) {
	d.due.load = time.Time{}
	statuses, err := d.pub.load(ctx)
	if err != nil {
		d.due.load = time.Now().Add(againPause)
		d.log.WithField("err", err).Warn("statuses not read, will be tried again")
		return
	}
	d.witness(statuses)
	d.heed(ctx)
	if len(d.orphans) > 0 {
		d.resyncAt(time.Now()) // they go after a pass that leaves nothing behind
	}
}

// vppEvent takes an event of the connection to VPP.
func (d *Daemon) vppEvent(ev vpp.Event) {
	d.cfg.Metrics.events("vpp", 1)
	now := time.Now()
	switch ev.Kind {
	case vpp.EventConnected:
		d.vppUp(ev, now)
	case vpp.EventDisconnected:
		d.vppDown(ev.Err)
	case vpp.EventInterfacesChanged:
		if d.due.refresh.IsZero() {
			d.due.refresh = now.Add(refreshDelay)
			if d.due.refresh.Before(d.rested) {
				d.due.refresh = d.rested
			}
		}
	}
}

func (d *Daemon) vppUp(ev vpp.Event, now time.Time) {
	unnoticed := d.up && ev.PID != d.pid // the end of the other one
	d.vppSeen, d.up, d.pid = true, true, ev.PID
	if ev.Epoch == d.epoch && !d.engine.Away(d.cfg.VPP) { // a full pass came before the news
		d.setState(func(s *State) { s.VPP = d.cfg.VPP.Info() })
		return
	}
	why := vpp.ErrDown
	if unnoticed {
		why = fmt.Errorf("%w: a new VPP (pid %d) is being filled", vpp.ErrDown, ev.PID)
	}
	d.engine.Down(d.cfg.VPP, why)
	if unnoticed {
		d.take(d.engine.All())
		d.report(now)
	}
	d.due.resync = now
	d.setState(func(s *State) { s.VPP, s.Pass = d.cfg.VPP.Info(), errNoPass })
}

func (d *Daemon) vppDown(err error) {
	if err == nil {
		err = vpp.ErrDown
	}
	d.vppSeen, d.up = true, false
	d.engine.Down(d.cfg.VPP, err)
	d.take(d.engine.All())
	d.setState(func(s *State) { s.VPP, s.Pass = d.cfg.VPP.Info(), errNoPass })
}

// lookAtInterfaces moves the statuses with the interfaces. One that is gone, or
// down, without us having done it asks for a full pass.
func (d *Daemon) lookAtInterfaces(now time.Time) {
	for _, r := range d.records {
		if r.broken != nil || r.result.State != reconcile.Ready || r.plan.Interface == "" {
			continue
		}
		if !d.allUp(r.plan) {
			d.resyncAt(now)
		} else if i, ok := d.cfg.VPP.Interface(r.plan.Interface); ok && i != r.iface {
			d.mark(r)
		}
	}
}

// allUp says whether every interface that an attachment stands on is there and
// up: its own, its VLAN's, and the gateway's, which it may share.
func (d *Daemon) allUp(plan Attachment) bool {
	for _, o := range plan.Objects {
		up, ok := o.(model.AdminUp)
		if !ok {
			continue
		}
		if i, there := d.cfg.VPP.Interface(model.Tag(up.Interface.Name)); !there || !i.AdminUp {
			return false
		}
	}
	return true
}

// work does all that is due.
func (d *Daemon) work(ctx context.Context) {
	if !d.admitted() {
		return
	}
	ctx, done := d.permit(ctx)
	defer done()
	now := time.Now()
	if past(d.due.load, now) {
		d.load(ctx)
	}
	if past(d.due.refresh, now) {
		d.refresh(ctx, now)
	}
	if past(d.due.audit, now) {
		d.due.audit = now.Add(d.cfg.Audit)
		d.recheck(ctx)
		d.resyncAt(now)
	}
	switch {
	case !d.snapshot:
	case past(d.due.resync, now):
		d.resync(ctx)
	default:
		d.sync(ctx)
	}
	if d.fenced() {
		return
	}
	d.weigh(time.Now())
	d.report(time.Now())
}

func (d *Daemon) resyncAt(t time.Time) {
	if d.due.resync.IsZero() || t.Before(d.due.resync) {
		d.due.resync = t
	}
}

// refresh reads all interfaces: what events tell is a hint only.
func (d *Daemon) refresh(ctx context.Context, now time.Time) {
	d.due.refresh = time.Time{}
	if !d.cfg.VPP.Info().Connected {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refreshLimit)
	defer cancel()
	if err := d.cfg.VPP.RefreshInterfaces(ctx); err != nil {
		d.log.WithField("err", err).Warn("interfaces not read, will be tried again")
		d.due.refresh = now.Add(againPause)
		return
	}
	end := time.Now()
	d.rested = end.Add(refreshShare * end.Sub(now))
	d.lookAtInterfaces(end)
}

func (d *Daemon) sync(ctx context.Context) {
	rep := d.engine.Sync(ctx)
	if len(rep.Ops) > 0 {
		d.cfg.Metrics.pass("sync", rep)
		d.logOps(rep)
	}
	d.take(rep.Results)
	d.mended()
	// Where VPP is there after all, no event tells to try again.
	if d.cfg.VPP.Info().Connected && d.engine.Away(d.cfg.VPP) {
		d.resyncAt(time.Now().Add(againPause))
	}
}

func (d *Daemon) resync(ctx context.Context) {
	d.due.resync = time.Time{}
	d.due.audit = time.Now().Add(d.cfg.Audit)
	epoch := d.cfg.VPP.Info().Epoch
	rep, err := d.engine.Resync(ctx)
	if ctx.Err() != nil {
		return
	}
	d.cfg.Metrics.pass("resync", rep)
	d.found(rep.Drift)
	d.logOps(rep)
	d.take(rep.Results)
	d.mended()
	switch {
	case err != nil && d.cfg.VPP.Info().Connected:
		d.resyncAt(time.Now().Add(againPause))
		d.log.WithField("err", err).Warn("full pass incomplete, will be tried again")
	case err == nil:
		d.log.WithFields(logrus.Fields{"ops": len(rep.Ops), "took": rep.Took.Round(time.Microsecond).String()}).Debug("full pass done")
	}
	if err == nil && d.snapshot {
		d.epoch = epoch
		d.setState(func(s *State) {
			if s.Fenced == nil {
				s.Pass = nil
			}
		})
	}
	if rep.Clean || len(rep.Left) > 0 {
		d.bury(rep.Left)
	}
}

// bury removes the statuses without a desired value after a pass that left what is
// given. A pod's directory that cannot be removed keeps the statuses of its pod,
// and those that do not say whose they are. What is left in VPP keeps all of them:
// it does not always tell whose it was.
func (d *Daemon) bury(left []model.ID) {
	stuck := map[string]bool{}
	for _, id := range left {
		if id.Kind != model.KindDirectory {
			return
		}
		stuck[id.Name] = true
	}
	for key := range d.orphans {
		if s, _ := d.pub.last(key); len(stuck) > 0 && (s.SocketPath == "" || stuck[filepath.Dir(s.SocketPath)]) {
			continue
		}
		if d.records[d.cfg.Contract.desiredKey(key)] == nil {
			d.pub.remove(key)
		}
		delete(d.orphans, key)
	}
}
