package plugins

import (
	"context"

	"github.com/ligato/cn-infra/infra"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/deviceplugin"
	"github.com/vpp-cni/vpp-cni/schema/config"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// DevicePlugin tells the kubelet how many attachments the node serves. It is a
// part only where agent.devicePlugin is enabled.
type DevicePlugin struct {
	infra.PluginName
	Config config.File
	Health *Health
	Log    *logrus.Entry

	*deviceplugin.Plugin
	counter *deviceplugin.Counter
	cancel  context.CancelFunc
	done    chan struct{}
}

// Init makes the plugin; the kubelet need not be there.
func (p *DevicePlugin) Init() error {
	p.Health.Register(p.PluginName, nil)
	p.counter = deviceplugin.NewCounter()
	p.Plugin = deviceplugin.New(deviceplugin.Config{
		Resource: p.Config.Agent.DevicePlugin.Resource, Dir: p.Config.Agent.DevicePlugin.Dir,
		Limit: p.Config.Agent.MaxAttachments, Counter: p.counter,
		OnState: func(err error) { p.Health.Report(p.PluginName, err) },
		Log:     p.Log,
	})
	return nil
}

// AfterInit serves the kubelet.
func (p *DevicePlugin) AfterInit() error {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		p.Run(ctx)
	}()
	return nil
}

// Close ends the service: to the kubelet no device is healthy then.
func (p *DevicePlugin) Close() error {
	if p.cancel != nil {
		p.cancel()
		<-p.done
	}
	return nil
}

// changed takes a new state of the run loop.
func (p *DevicePlugin) changed(s daemon.State) { p.SetServing(s.Ready()) }

// counted is a tree whose desired values are counted on their way to the
// reconciler.
type counted struct {
	daemon.Tree
	counter *deviceplugin.Counter
}

// Follow implements daemon.Tree.
func (t counted) Follow(ctx context.Context, prefix string, f store.Follower) error {
	return t.Tree.Follow(ctx, prefix, t.counter.Before(f))
}
