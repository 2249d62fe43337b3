package daemon

import (
	"path"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/schema"
)

// attachmentLog names an attachment in the log. A pod's agent has no container
// in its keys: its log names the pod.
func (d *Daemon) attachmentLog(key string) *logrus.Entry {
	container, ifname := path.Split(d.name(key))
	log := d.log.WithField("ifname", ifname)
	if container == "" {
		return log
	}
	return log.WithField("container", path.Clean(container))
}

// tell logs where an attachment stands when that is not what etcd says already:
// one line for an ADD, none for a restart of the agent. What concerns every
// attachment or has been logged with its cause is not told once more for each.
func (d *Daemon) tell(r *record, s schema.InterfaceStatus) {
	last, ok := d.pub.last(d.cfg.Contract.statusKey(r.key))
	if ok && last.State == s.State && last.Reason == s.Reason && last.SpecRevision == s.SpecRevision {
		return
	}
	log := d.attachmentLog(r.key).WithField("rev", r.rev)
	switch {
	case s.Reason == schema.ReasonVPPDown || r.broken != nil:
	case s.State == schema.Ready:
		if s.Interface != "" {
			log = log.WithField("interface", s.Interface)
		}
		log.WithField("took", r.took.Round(time.Microsecond)).Info("attachment ready")
	default:
		log.WithFields(logrus.Fields{"reason": s.Reason, "err": s.Message}).Warn("attachment not ready")
	}
}
