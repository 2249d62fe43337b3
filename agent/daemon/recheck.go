package daemon

import "context"

// recheck is the audit's look at the statuses: one that somebody has deleted or
// written over is written again. An agent does not watch its own statuses, so
// that it never wakes itself. While etcd is away the next audit will do.
func (d *Daemon) recheck(ctx context.Context) {
	if !d.snapshot || d.State().Etcd != nil {
		return
	}
	due := d.due.load
	d.load(ctx)
	if failed := !d.due.load.IsZero(); failed {
		d.due.load = due
		return
	}
	for _, r := range d.records {
		d.mark(r)
	}
}
