package deviceplugin

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	kubelet "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	// socketName is our socket's name in the kubelet's directory, kubeletName the
	// kubelet's.
	socketName  = "vpp-cni.sock"
	kubeletName = "kubelet.sock"
	// pollTime is the time between two looks at the sockets, and between two lists:
	// the kubelet writes a file for each. It tells the API server every 10 s.
	pollTime = time.Second
	// graceTime is how long the node may serve no ADD before devices are Unhealthy.
	graceTime = 5 * time.Second
	// watchTime is how long a kubelet that was told of us may take to ask for the
	// list, before it is told again.
	watchTime = 10 * time.Second
	// maxPause bounds the pause between two tries to register.
	maxPause = 30 * time.Second
)

var (
	errStarting = errors.New("starting")
	errUnheard  = errors.New("the kubelet has not asked for the devices yet")
)

// Config sets up a Plugin.
type Config struct {
	// Resource is the name that pods request.
	Resource string
	// Dir is the kubelet's directory of device plugins.
	Dir string
	// Limit is how many devices there are.
	Limit int
	// Counter knows the attachments.
	Counter *Counter
	// OnState is called with what keeps the kubelet from knowing of the devices, nil
	// for nothing, when that changes. It may be nil.
	OnState func(error)
	Log     *logrus.Entry

	// poll, grace and watch take the place of the constants in tests; 0: as there.
	poll, grace, watch time.Duration
}

// Plugin is the kubelet's device plugin for attachments.
type Plugin struct {
	kubelet.UnimplementedDevicePluginServer
	cfg Config
	log *logrus.Entry

	// What follows belongs to Run.
	server     *serving // nil: nothing is served
	kubelet    identity // the kubelet's socket that we are registered at
	registered time.Time
	tries      int // failed, in a row
	next       time.Time
	refused    error   // why the last one failed
	told       *string // the state that OnState has seen
	seen       listKey // what the list was made of

	mu       sync.Mutex
	list     []*kubelet.Device
	changed  chan struct{} // closed when there is another list
	watchers int
	away     error     // why no ADD is served, nil: it is
	since    time.Time // when that began
}

// listKey is what a list of devices depends on.
type listKey struct {
	changes int
	serving bool
}

// New makes a plugin; it does nothing before Run.
func New(cfg Config) *Plugin {
	for _, t := range []struct {
		to  *time.Duration
		def time.Duration
	}{{&cfg.poll, pollTime}, {&cfg.grace, graceTime}, {&cfg.watch, watchTime}} {
		if *t.to == 0 {
			*t.to = t.def
		}
	}
	p := &Plugin{cfg: cfg, log: cfg.Log.WithField("resource", cfg.Resource), changed: make(chan struct{}), away: errStarting}
	p.seen.changes = -1
	return p
}

// SetServing says why the node serves no ADD, nil where it does.
func (p *Plugin) SetServing(away error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if away != nil && p.away == nil {
		p.since = time.Now()
	}
	p.away = away
}

// serves says whether devices may be Healthy.
func (p *Plugin) serves(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away == nil || now.Sub(p.since) < p.cfg.grace
}

// Run serves the kubelet until ctx ends: a kubelet that is away is waited for, and
// one that has started anew is told again.
func (p *Plugin) Run(ctx context.Context) {
	defer p.stop()
	tick := time.NewTicker(p.cfg.poll)
	defer tick.Stop()
	for {
		p.refresh(time.Now())
		err := p.keep(ctx, time.Now())
		if ctx.Err() != nil {
			return
		}
		p.tell(err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refresh makes a new list where it is another one.
func (p *Plugin) refresh(now time.Time) {
	attachments, changes := p.cfg.Counter.attachments()
	key := listKey{changes: changes, serving: p.serves(now)}
	if key == p.seen {
		return
	}
	p.seen = key
	list := devices(p.cfg.Limit, attachments, key.serving)
	p.mu.Lock()
	defer p.mu.Unlock()
	if equal(p.list, list) {
		return
	}
	p.list = list
	close(p.changed)
	p.changed = make(chan struct{})
}

func equal(a, b []*kubelet.Device) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Health != b[i].Health {
			return false
		}
	}
	return true
}

// tell reports a state that is news.
func (p *Plugin) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if p.told != nil && *p.told == text {
		return
	}
	p.told = &text
	switch {
	case err == nil:
		p.log.WithField("count", p.cfg.Limit).Info("kubelet knows of the devices")
	case errors.Is(err, errUnheard):
		p.log.Info("registered at the kubelet")
	default:
		p.log.WithField("err", err).Warn("kubelet does not know of the devices")
	}
	if p.cfg.OnState != nil {
		p.cfg.OnState(err)
	}
}

// GetDevicePluginOptions implements the kubelet's API: there are none.
func (p *Plugin) GetDevicePluginOptions(context.Context, *kubelet.Empty) (*kubelet.DevicePluginOptions, error) {
	return &kubelet.DevicePluginOptions{}, nil
}

// Allocate implements the kubelet's API. A container needs nothing for a device.
func (p *Plugin) Allocate(_ context.Context, r *kubelet.AllocateRequest) (*kubelet.AllocateResponse, error) {
	out := &kubelet.AllocateResponse{}
	for range r.GetContainerRequests() {
		out.ContainerResponses = append(out.ContainerResponses, &kubelet.ContainerAllocateResponse{})
	}
	return out, nil
}

// ListAndWatch implements the kubelet's API: the devices, again at each change.
func (p *Plugin) ListAndWatch(_ *kubelet.Empty, s grpc.ServerStreamingServer[kubelet.ListAndWatchResponse]) error {
	p.watching(1)
	defer p.watching(-1)
	for {
		p.mu.Lock()
		list, changed := p.list, p.changed
		p.mu.Unlock()
		if err := s.Send(&kubelet.ListAndWatchResponse{Devices: list}); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-s.Context().Done():
			return nil
		}
	}
}

func (p *Plugin) watching(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watchers += n
}

func (p *Plugin) watched() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watchers > 0
}

func (p *Plugin) path(name string) string { return filepath.Join(p.cfg.Dir, name) }
