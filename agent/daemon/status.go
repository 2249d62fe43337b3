package daemon

import (
	"errors"
	"strings"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/report"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// ReasonRefused is a Failed status: VPP refuses what is desired, and would again.
const ReasonRefused schema.Reason = "Refused"

// record is what the loop knows of one desired value.
type record struct {
	key  string
	rev  int64
	plan Attachment
	// broken is why the value cannot be used; plan is then of the value before.
	broken error
	result reconcile.Result
	// iface is the interface as last told.
	iface vpp.InterfaceState
	// since is when the attachment began to be on its way; zero: it is not.
	since time.Time
	// took is how long it was on its way the last time.
	took time.Duration
	// state is what the status says, empty before the first.
	state schema.State
}

// read plans for one desired value. It says false where the engine goes on with
// what it has: a value that cannot be understood cuts nobody.
func (d *Daemon) read(key string, e store.Entry) (reconcile.Spec, bool) {
	if err := d.cfg.Contract.Check(key); err != nil {
		d.log.WithField("key", key).WithField("err", err).Warn("key ignored")
		return reconcile.Spec{}, false
	}
	if d.held[key] != nil {
		delete(d.held, key)
		d.attachmentLog(key).Info("held attachment is desired again")
	}
	r := d.records[key]
	old := r != nil
	if !old {
		r = &record{key: key, result: reconcile.Result{Key: key, State: reconcile.Pending}}
		d.records[key] = r
	}
	same := old && r.rev == e.Rev && r.broken == nil
	r.rev = e.Rev
	plan, err := d.cfg.Contract.Plan(key, e.Value)
	r.broken = err
	d.mark(r)
	if err != nil {
		d.log.WithField("key", key).WithField("err", err).Warn("desired value refused")
		return d.spec(r), true
	}
	r.plan = plan
	d.makeRoom(key, plan)
	if !same && len(plan.Objects) > 0 {
		r.result = reconcile.Result{Key: key, State: reconcile.Pending}
		r.since = time.Now()
	}
	return d.spec(r), true
}

// spec is what a record asks for. One whose value never could be understood asks
// that what is there of it stays.
func (d *Daemon) spec(r *record) reconcile.Spec {
	s := reconcile.Spec{Order: r.rev, Objects: r.plan.Objects, Names: d.cfg.Contract.Interfaces(r.key)}
	if r.broken != nil && len(r.plan.Objects) == 0 {
		s.Keep = s.Names
	}
	return s
}

// mark asks for another look at a record's status.
func (d *Daemon) mark(r *record) {
	d.marked[r] = struct{}{}
}

// forget drops a record; its status goes when its objects are gone.
func (d *Daemon) forget(key string) {
	r := d.records[key]
	if r == nil {
		return
	}
	d.count(r, "")
	delete(d.marked, r)
	delete(d.records, key)
	d.mu.Lock()
	delete(d.pending, key)
	d.mu.Unlock()
}

// take notes results of the engine.
func (d *Daemon) take(results []reconcile.Result) {
	for _, res := range results {
		if res.State == reconcile.Gone {
			d.attachmentLog(res.Key).Info("attachment removed")
			d.pub.remove(d.cfg.Contract.statusKey(res.Key))
			continue
		}
		r := d.records[res.Key]
		if r == nil {
			continue
		}
		onItsWay := res.State == reconcile.Pending
		switch {
		case !onItsWay && !r.since.IsZero():
			r.took, r.since = time.Since(r.since), time.Time{}
		case !onItsWay:
		case r.since.IsZero():
			r.since = time.Now()
		}
		r.result = res
		d.mark(r)
	}
}

// report has the statuses written that need it, and sets the time of the next
// look at those that may still be on their way.
func (d *Daemon) report(now time.Time) {
	d.due.grace = time.Time{}
	for r := range d.marked {
		s := d.status(r)
		if until, wait := d.patience(r, s, now); wait {
			if d.due.grace.IsZero() || until.Before(d.due.grace) {
				d.due.grace = until
			}
			continue
		}
		delete(d.marked, r)
		d.count(r, s.State)
		d.note(r, s)
		d.tell(r, s)
		d.pub.put(d.cfg.Contract.statusKey(r.key), r.rev, s)
	}
}

// patience says whether a status waits, and until when: an attachment that is
// about to be ready gets one status, not two. A status in etcd that says Ready
// and is not true any more does not wait, except at the start, before VPP was
// heard of.
func (d *Daemon) patience(r *record, s schema.InterfaceStatus, now time.Time) (time.Time, bool) {
	if s.State != schema.Pending {
		return time.Time{}, false
	}
	until := r.since.Add(d.cfg.Grace)
	if !until.After(now) {
		return time.Time{}, false
	}
	if d.vppSeen && r.result.Err != nil {
		last, ok := d.pub.last(d.cfg.Contract.statusKey(r.key))
		if s.Reason == schema.ReasonVPPDown || ok && last.State == schema.Ready {
			return time.Time{}, false
		}
	}
	return until, true
}

// status says where a record stands.
func (d *Daemon) status(r *record) schema.InterfaceStatus {
	s := schema.InterfaceStatus{SpecRevision: r.rev, SocketPath: r.plan.SocketPath}
	if r.broken != nil {
		s.State, s.Reason, s.Message = schema.Failed, brokenReason(r.broken), oneLine(r.broken)
		return s
	}
	if r.plan.Failed != "" {
		s.State, s.Reason, s.Message = schema.Failed, r.plan.Failed, r.plan.Message
		return s
	}
	if r.plan.ApplicationOwned {
		s.State, s.Reason, s.Message = schema.Ready, schema.ReasonApplicationOwned, r.plan.Message
		return s
	}
	s.State, s.Reason = judge(r.result)
	if r.result.Err != nil {
		s.Message = oneLine(r.result.Err)
	}
	d.describe(r, &s)
	return s
}

// describe adds what VPP shows of the interface.
func (d *Daemon) describe(r *record, s *schema.InterfaceStatus) {
	if s.Reason == schema.ReasonVPPDown || r.plan.Interface == "" {
		return
	}
	i, ok := d.cfg.VPP.Interface(r.plan.Interface)
	if !ok {
		return
	}
	r.iface = i
	s.Interface, s.SwIfIndex, s.MTU = i.Name, &i.SwIfIndex, i.MTU
	s.MAC = schema.MAC(i.MAC)
	s.Link = schema.LinkDown
	if i.LinkUp {
		s.Link = schema.LinkUp
	}
}

func judge(r reconcile.Result) (schema.State, schema.Reason) {
	switch r.State {
	case reconcile.Ready:
		return schema.Ready, schema.ReasonApplied
	case reconcile.Conflict:
		return schema.Failed, schema.ReasonConflict
	case reconcile.Failed:
		return schema.Failed, ReasonRefused
	case reconcile.Pending, reconcile.Leaving, reconcile.Gone:
	}
	switch {
	case r.Err == nil:
		return schema.Pending, schema.ReasonProgramming
	case r.Away:
		return schema.Pending, schema.ReasonVPPDown
	default:
		return schema.Pending, schema.ReasonRetrying
	}
}

// oneLine is the text of an error that may be several, joined.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func brokenReason(err error) schema.Reason {
	var unknown *schema.UnknownFieldError
	if errors.As(err, &unknown) {
		return schema.ReasonUnknownField
	}
	return schema.ReasonInvalid
}

// count keeps the gauge of attachments by state.
func (d *Daemon) count(r *record, now schema.State) {
	if r.state != now {
		d.cfg.Metrics.moved(r.state, now)
		r.state = now
	}
}

// note keeps the report's list of what is not ready.
func (d *Daemon) note(r *record, s schema.InterfaceStatus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.State == schema.Ready {
		delete(d.pending, r.key)
		return
	}
	d.pending[r.key] = report.Pending{Attachment: d.name(r.key), Reason: s.Reason, Message: s.Message}
}
