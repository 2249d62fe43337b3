package plugins

import (
	"context"

	"github.com/ligato/cn-infra/infra"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/config"
)

// Gateway serves each pod its own keys, on a socket in the pod's directory. The
// reconciler opens and closes the sockets.
type Gateway struct {
	infra.PluginName
	Config   config.File
	Node     schema.Node
	Store    *Store
	VPP      *VPP
	Presence *Presence
	Health   *Health
	Log      *logrus.Entry
	// Failed is called if it ends by itself.
	Failed func(error)

	*gateway.Gateway
	cancel context.CancelFunc
	done   chan struct{}
}

// Init makes the gateway; nothing listens yet.
func (p *Gateway) Init() error {
	p.Health.Register(p.PluginName, nil)
	p.Gateway = gateway.New(gateway.Config{
		RunDir:  p.Config.RunDir,
		Tree:    p.Store.Subtree(p.Store.Keys().NodePrefix(p.Node)).OwnedBy(p.Presence.Presence),
		Dirs:    p.VPP.dirs,
		OnState: func(err error) { p.Health.Report(p.PluginName, err) },
		Log:     p.Log,
	})
	return nil
}

// AfterInit follows the pods' keys; etcd need not be there.
func (p *Gateway) AfterInit() error {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		if err := p.Run(ctx); err != nil {
			p.Failed(err)
		}
	}()
	return nil
}

// Close ends all sockets.
func (p *Gateway) Close() error {
	if p.cancel != nil {
		p.cancel()
		<-p.done
	}
	if p.Gateway != nil {
		p.Gateway.Close()
	}
	return nil
}
