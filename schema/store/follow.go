package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// silentAfter is how many progress intervals without a sign of life make a
	// watch stale.
	silentAfter = 3
	// mutedFactor stretches that for a server that has never answered a progress
	// request, as etcd's own gRPC proxy does not.
	mutedFactor = 10
)

// Follow keeps f up to date with everything under prefix: a list at a revision,
// then a watch of what comes after. Whatever breaks the watch (compaction, a lost
// leader, silence, a cluster that was restored to an older revision) leads to
// Lost and, as soon as etcd answers, to a new Snapshot. It returns only when ctx
// ends, with its cause.
func (t *Subtree) Follow(ctx context.Context, prefix string, f Follower) error {
	for try := 0; ; try++ {
		lived, err := t.followOnce(ctx, prefix, f)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			f.Lost(err)
		}
		if lived {
			try = 0
		}
		if err = t.pause(ctx, try, err); err != nil {
			return err
		}
	}
}

// pause waits before the next list. While somebody else has the presence there
// is nothing to read until that changes.
func (t *Subtree) pause(ctx context.Context, try int, err error) error {
	var taken *TakenError
	if !errors.As(err, &taken) {
		return sleep(ctx, jitter(growing(try, firstRetry, maxRetry)))
	}
	other, turn := t.owner.takenBy()
	if other == nil {
		return nil
	}
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// following is one watch after one list.
type following struct {
	f       Follower
	mirror  Mirror // f if it is one, else nil
	w       clientv3.Watcher
	cluster uint64
	base    int64 // the list's revision
	rev     int64 // everything up to here has been told
	every   time.Duration
	owner   *Presence
	// check asks etcd whether it is where it was, or later.
	check func(ctx context.Context, rev int64) error

	created  bool
	answered bool // the server knows progress requests
	alive    time.Time
}

// followOnce returns when the watch breaks, and says whether it had begun. A nil
// error asks for a new list while the view may well be right.
func (t *Subtree) followOnce(ctx context.Context, prefix string, f Follower) (bool, error) {
	l, err := t.snapshot(ctx, prefix)
	if err != nil {
		return false, err
	}
	c, err := t.s.connect()
	if err != nil {
		return false, t.s.classify(ctx, "watch "+t.root+prefix, 0, err)
	}
	mirror, _ := f.(Mirror)
	if mirror != nil {
		mirror.Cluster(l.cluster)
	}
	f.Snapshot(l.entries(), l.rev)
	fl := &following{
		f: f, mirror: mirror, w: t.watcher(c), cluster: l.cluster, base: l.rev, rev: l.rev,
		every: t.s.cfg.ProgressInterval, owner: t.owner, alive: time.Now(),
		check: func(ctx context.Context, rev int64) error { return t.check(ctx, prefix, rev) },
	}
	err = fl.run(ctx, prefix)
	t.s.known.note(l.cluster, fl.rev)
	if err != nil && !told(err) {
		err = t.s.classify(ctx, "watch "+t.root+prefix, time.Since(fl.alive), err)
	}
	return fl.created, err
}

// snapshot is a list that may be acted upon: it goes with what was known of the
// cluster, and the presence is still this owner's after it was read.
func (t *Subtree) snapshot(ctx context.Context, prefix string) (listing, error) {
	states := t.s.survey(ctx)
	l, err := t.list(ctx, prefix, false)
	if err == nil {
		err = t.s.believe(l.cluster, l.rev, states)
	}
	if err == nil && t.owner != nil {
		err = t.owner.confirm(ctx)
	}
	return l, err
}

// told says whether err is one of ours, which say all by themselves.
func told(err error) bool {
	var st *stale
	var taken *TakenError
	return errors.As(err, &st) || errors.As(err, &taken)
}

func (fl *following) run(parent context.Context, prefix string) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(parent))
	defer cancel()
	events, err := fl.watch(ctx, cancel, prefix)
	if err != nil {
		return err
	}
	tick := time.NewTicker(fl.every)
	defer tick.Stop()
	owned, stop := fl.ownership()
	defer stop()
	var nudge <-chan struct{}
	if fl.mirror != nil {
		nudge = fl.mirror.Nudge()
	}
	for {
		select {
		case <-nudge:
			fl.ask(ctx)
		case <-owned:
			if err = fl.checkOwner(); err != nil {
				return err
			}
		case resp, ok := <-events:
			if !ok {
				return errors.New("the watch was closed")
			}
			if err = fl.take(resp); err != nil {
				return err
			}
			if resp.Created {
				fl.ask(ctx) // at once: does this server answer at all?
			}
		case <-tick.C:
			if over, silent := fl.overdue(); over {
				return silent
			}
			if err = fl.doubt(ctx); err != nil {
				return err
			}
			fl.ask(ctx)
		case <-parent.Done():
			return context.Cause(parent)
		}
	}
}

// watch begins the watch, which is there when etcd says so: the call waits for
// that as long as its context, also for one that never answers.
//
// It is from the list's own revision, whose events are skipped: while etcd is
// idle it does not answer progress requests of a watch from a revision to come
// (server/storage/mvcc, progressIfSync).
func (fl *following) watch(ctx context.Context, cancel func(), prefix string) (clientv3.WatchChan, error) {
	limit := silentAfter * fl.every
	late := time.AfterFunc(limit, cancel)
	events := fl.w.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(fl.base),
		clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	if !late.Stop() {
		return nil, &stale{fmt.Sprintf("the watch was not answered within %s", limit)}
	}
	return events, nil
}

// ownership ticks where there is a presence to look after. It notices an etcd
// that does not answer at all sooner than the watch does, at no cost: the lease
// cannot be refreshed.
func (fl *following) ownership() (<-chan time.Time, func()) {
	if fl.owner == nil {
		return nil, func() {}
	}
	t := time.NewTicker(fl.owner.c.TTL / refreshes)
	return t.C, t.Stop
}

// checkOwner ends a watch whose events may be meant for another owner.
func (fl *following) checkOwner() error {
	if fl.owner == nil || fl.owner.Owned() {
		return nil
	}
	if other, _ := fl.owner.takenBy(); other != nil {
		return other
	}
	return &stale{"the presence's lease was not refreshed in time"}
}

func (fl *following) take(resp clientv3.WatchResponse) error {
	if err := resp.Err(); err != nil {
		return err
	}
	if id := resp.Header.GetClusterId(); id != 0 && fl.cluster != 0 && id != fl.cluster {
		return twoClusters(fl.cluster, id)
	}
	if err := fl.checkOwner(); err != nil {
		return err
	}
	if resp.Created {
		fl.created, fl.alive = true, time.Now()
		return nil
	}
	// A member that is behind what is known shows no life: it may be catching
	// up, or restored to an older revision for good.
	if resp.Header.GetRevision() >= fl.rev {
		fl.alive = time.Now()
	}
	if resp.IsProgressNotify() {
		fl.answered = true
		fl.rev = max(fl.rev, resp.Header.GetRevision())
	}
	for _, ev := range resp.Events {
		fl.tell(ev)
	}
	if fl.mirror != nil {
		fl.mirror.Progress(fl.rev)
	}
	return nil
}

func (fl *following) tell(ev *clientv3.Event) {
	var e *Entry
	if ev.Type != clientv3.EventTypeDelete {
		put := entryOf(ev.Kv)
		e = &put
	}
	switch rev := ev.Kv.ModRevision; {
	case rev > fl.base:
		fl.rev = max(fl.rev, rev)
		fl.f.Changed(string(ev.Kv.Key), e, rev)
	case fl.mirror != nil:
		fl.mirror.Again(string(ev.Kv.Key), e, rev)
	}
}

// overdue says whether the watch has been silent for too long. Silence of a
// server that has never answered may be its way, so that the view is read anew
// without calling it lost.
func (fl *following) overdue() (bool, error) {
	limit := silentAfter * fl.every
	quiet := time.Since(fl.alive)
	switch {
	case quiet < limit:
		return false, nil
	case fl.answered || !fl.created:
		return true, silence(quiet.Round(time.Millisecond))
	default:
		return quiet >= mutedFactor*limit, nil
	}
}

// doubt asks etcd itself where it is when a watch is silent whose server has
// never answered. A watch that the client has taken up again waits on an etcd
// that was wiped meanwhile for a revision to come, without a word.
func (fl *following) doubt(ctx context.Context) error {
	if fl.answered || time.Since(fl.alive) < silentAfter*fl.every {
		return nil
	}
	err := fl.check(ctx, fl.rev)
	if !told(err) {
		return nil // etcd does not answer: that is what overdue looks for
	}
	return err
}

// ask requests a sign of life. While the connection is being made anew the
// request has no taker, so it waits a moment only.
func (fl *following) ask(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, min(fl.every, time.Second))
	defer cancel()
	// No answer is what overdue looks for; an error here says nothing more.
	_ = fl.w.RequestProgress(bounded)
}
