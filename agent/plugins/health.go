package plugins

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/gogo/protobuf/proto"
	"github.com/ligato/cn-infra/datasync"
	"github.com/ligato/cn-infra/health/statuscheck"
	"github.com/ligato/cn-infra/health/statuscheck/model/status"
	"github.com/ligato/cn-infra/infra"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
)

// Health is cn-infra's status check. The check publishes the state of each part
// through a transport; ours keeps the last one for /readyz.
type Health struct {
	*statuscheck.Plugin
	published *published
}

// NewHealth makes the status check.
func NewHealth() *Health {
	p := &published{parts: map[string]*status.PluginStatus{}}
	return &Health{
		Plugin:    statuscheck.NewPlugin(statuscheck.UseDeps(func(d *statuscheck.Deps) { d.Transport = p })),
		published: p,
	}
}

// Report tells the status check how a part stands; nil is well.
func (h *Health) Report(part infra.PluginName, err error) {
	state := statuscheck.OK
	if err != nil {
		state = statuscheck.Error
	}
	h.ReportStateChange(part, state, err)
}

// Checks are the states that the status check has published, by name.
func (h *Health) Checks() []daemon.Check { return h.published.checks() }

// published takes what the status check writes.
type published struct {
	mu    sync.Mutex
	parts map[string]*status.PluginStatus
}

// Put implements datasync.KeyProtoValWriter. The check calls it with its own
// lock held and goes on changing data afterwards: it is copied.
func (p *published) Put(key string, data proto.Message, _ ...datasync.PutOption) error {
	s, ok := data.(*status.PluginStatus)
	name, isPart := strings.CutPrefix(key, status.PluginStatusKey(""))
	if !ok || !isPart {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts[name] = &status.PluginStatus{State: s.State, Error: s.Error}
	return nil
}

var errStarting = errors.New("starting")

func (p *published) checks() []daemon.Check {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]daemon.Check, 0, len(p.parts))
	for name, s := range p.parts {
		c := daemon.Check{Name: name}
		switch {
		case s.State == status.OperationalState_INIT:
			c.Err = errStarting
		case s.State != status.OperationalState_OK:
			c.Err = errors.New(cmp.Or(s.Error, "error"))
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b daemon.Check) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
