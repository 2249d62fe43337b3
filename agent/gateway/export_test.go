package gateway

import (
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
)

// TakeRights has the gateway take what pods pass to it, as on a kernel before
// 6.16, and not cut short a thread's wait for it within so long. It comes before
// the first socket.
func (g *Gateway) TakeRights(lingers time.Duration) { g.takesRights, g.lingers = true, lingers }

// Places is how many of a pod's places are taken.
func (g *Gateway) Places(id schema.PodID) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.places[id]
}

// Break has a pod's listener fail, as one does that the kernel has no memory for.
func (g *Gateway) Break(id schema.PodID) error { return g.socket(id).l.UnixListener.Close() }
