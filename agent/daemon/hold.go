package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/report"
)

// An attachment is removed from VPP when its desired value is gone, but only if
// the store bears witness that it was removed: the delete was seen as an event,
// or the attachment's status stands, which is deleted only when nothing is left
// in VPP. Where a list shows neither value nor status, etcd was wiped, restored
// from an older backup, or its keys were deleted by hand: the attachment is held.
// It stays in VPP until its key comes back, a status for it appears (DEL leaves
// one), something desired needs its socket, or an operator gives the word. In a
// pod nothing is left of a removal and nobody gives a word: an end whose removal
// was not seen stays until its interface is wanted again or the pod goes.

const (
	// heldOrder puts held attachments behind all that are desired, in the order
	// that they had.
	heldOrder = 1 << 62
	// toldHeld bounds the attachments that a line of the log names.
	toldHeld = 10
)

// hold puts an attachment aside of which a list showed no desired value. Its
// last plan stays in force.
func (d *Daemon) hold(r *record) {
	d.forget(r.key)
	if s := d.spec(r); len(s.Objects)+len(s.Keep) == 0 {
		d.engine.Remove(r.key) // nothing of it is in VPP
		return
	}
	d.held[r.key] = r
}

// heldSpec is what a held attachment has.
func (d *Daemon) heldSpec(r *record) reconcile.Spec {
	s := d.spec(r)
	s.Order = heldOrder + r.rev
	return s
}

// letGo removes a held attachment as any other. Its status goes with it.
func (d *Daemon) letGo(key, why string) {
	if d.held[key] == nil {
		return
	}
	delete(d.held, key)
	d.engine.Remove(key)
	d.attachmentLog(key).WithField("reason", why).Info("held attachment let go")
}

// makeRoom lets the held attachments go that have the socket of a desired one,
// as that of an earlier sandbox of the same pod has.
func (d *Daemon) makeRoom(key string, plan Attachment) {
	for other, r := range d.held {
		if plan.SocketPath != "" && r.plan.SocketPath == plan.SocketPath && other != key {
			d.letGo(other, "its socket is needed")
		}
	}
}

// unknownGone takes the delete of a value that was never seen, as after an ADD
// and its DEL in one moment. Its removal may have left a status for a witness.
func (d *Daemon) unknownGone(key string) {
	d.letGo(key, "it was removed")
	ids := d.cfg.Contract.Interfaces(key)
	if d.engine.Release(ids...) == 0 && d.engine.Absent(ids...) {
		d.pub.remove(d.cfg.Contract.statusKey(key))
		return
	}
	d.orphans[d.cfg.Contract.statusKey(key)] = true
	d.resyncAt(time.Now())
}

// witness takes the statuses in etcd, each with the revision of which it speaks.
// A status of a revision that the view of the desired values has not reached
// says nothing about them: the two come from different times or clusters.
func (d *Daemon) witness(statuses map[string]int64) {
	clear(d.orphans)
	var ids []model.ID
	for status, rev := range statuses {
		key := d.cfg.Contract.desiredKey(status)
		if d.records[key] != nil || rev > d.rev {
			continue
		}
		d.letGo(key, "it was removed")
		d.orphans[status] = true
		ids = append(ids, d.cfg.Contract.Interfaces(key)...)
	}
	d.engine.Witness(ids)
}

// heed looks for the operator's word. One that was there before anything was
// held, or that is meant for another instance, is none; nor is one that came
// when nothing was held any more, before that was told.
func (d *Daemon) heed(ctx context.Context) {
	name := d.cfg.Contract.Release
	if name == "" || !d.holding() && !d.listening {
		return
	}
	entries, _, err := d.cfg.Tree.List(ctx, name)
	if err != nil {
		d.log.WithField("err", err).Warn("the operator's word not read, will be tried again")
		return
	}
	listening := d.listening && d.holding()
	d.listening = d.holding()
	e, ok := entries[name]
	if !ok {
		return
	}
	log := d.log.WithField("key", name)
	word, err := schema.Decode[schema.Release](e.Value)
	switch {
	case err != nil:
		log.WithField("err", err).Warn("release ignored")
	case word.Instance != d.cfg.Instance:
		log.WithField("instance", word.Instance).Warn("release ignored, it is meant for another instance")
	case !listening:
		log.Warn("release ignored, nothing was held when it was given")
	default:
		d.releaseAll("an operator gave the word")
	}
	// The guard is a key that nobody can have: the prefix of all of them.
	if _, err := d.cfg.Tree.DeleteIfAbsent(ctx, d.cfg.Contract.Desired, name); err != nil {
		log.WithField("err", err).Warn("release not deleted, will be tried again")
	}
}

func (d *Daemon) releaseAll(why string) {
	n := len(d.held) + d.engine.Release(d.engine.Held()...)
	for key := range d.held {
		d.letGo(key, why)
	}
	d.log.WithFields(logrus.Fields{"count": n, "reason": why}).Warn("held attachments released")
}

func (d *Daemon) holding() bool { return len(d.held) > 0 || len(d.engine.Held()) > 0 }

// weigh brings up to date what is told of held attachments.
func (d *Daemon) weigh(now time.Time) {
	strangers := d.engine.Held()
	n := len(d.held) + len(strangers)
	d.cfg.Metrics.held.Set(float64(n))
	if n == 0 && d.State().Held == 0 {
		return
	}
	known := make([]report.Held, 0, len(d.held))
	for key, r := range d.held {
		known = append(known, report.Held{Attachment: d.name(key), Interface: d.vppName(r.plan.Interface)})
	}
	d.mu.Lock()
	d.heldKnown = known
	d.mu.Unlock()
	was := d.State().Held
	d.setState(func(s *State) { s.Held = n })
	switch {
	case n == 0:
		d.log.Info("no attachment is held any more")
		d.lookAgain(now)
		return
	case n != was:
		d.log.WithFields(logrus.Fields{"count": n, "held": some(d.heldList(known, strangers))}).Warn("attachments held that etcd does not know of: " +
			"was it wiped or restored? They stay in VPP until their keys are back, or until vpp-cnictl node release")
	}
	d.lookAgain(now)
	if was == 0 && len(strangers) > 0 {
		d.due.load = now // found in VPP: the statuses known may be older
	}
}

// lookAgain sets the time of the next look for what ends a hold.
func (d *Daemon) lookAgain(now time.Time) {
	if next := now.Add(d.cfg.HoldPause); d.due.load.IsZero() || d.due.load.After(next) {
		d.due.load = next
	}
}

// heldList is what is held: attachments that are remembered, and those whose
// interfaces were found in VPP.
func (d *Daemon) heldList(known []report.Held, strangers []model.ID) []report.Held {
	out := slices.Clone(known)
	for _, id := range strangers {
		ifname, container, _ := strings.Cut(strings.TrimPrefix(id.Name, model.TagPrefix), "/")
		out = append(out, report.Held{Attachment: container + "/" + ifname, Interface: d.vppName(model.Tag(id.Name))})
	}
	slices.SortFunc(out, func(a, b report.Held) int { return strings.Compare(a.Attachment, b.Attachment) })
	return out
}

// reportHeld is what is held where strangers were found in VPP just now.
func (d *Daemon) reportHeld(strangers []model.ID) []report.Held {
	d.mu.Lock()
	known := d.heldKnown
	d.mu.Unlock()
	return d.heldList(known, strangers)
}

// vppName is VPP's name of an interface, or its tag where VPP does not show it.
func (d *Daemon) vppName(tag model.Tag) string {
	if i, ok := d.cfg.VPP.Interface(tag); ok {
		return i.Name
	}
	return string(tag)
}

// some names the first few of what is held.
func some(held []report.Held) string {
	var out []string
	for _, h := range held[:min(len(held), toldHeld)] {
		out = append(out, h.Attachment)
	}
	if len(held) > toldHeld {
		out = append(out, "…")
	}
	return strings.Join(out, " ")
}
