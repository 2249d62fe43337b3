package vppsim

import (
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/test/vppsim/api"
	"github.com/vpp-cni/vpp-cni/test/vppsim/dataplane"
)

// vpp is one life of a simulated VPP: from start to crash.
type vpp struct {
	cfg      Config
	pid      uint32
	log      logrus.FieldLogger
	faults   *faults
	plane    *dataplane.Plane
	table    *api.Table
	handlers handlers
	server   *api.Server
	tasks    tasks
	pings    sync.WaitGroup

	quitOnce sync.Once
	quit     chan struct{} // closed when the life ends
	buried   chan struct{} // closed when nothing of it runs any more

	// main is VPP's main thread: who holds it is the one thing that happens.
	// All below is under it.
	main       sync.Mutex
	interfaces interfaces
	loopbacks  map[uint32]*swInterface // by instance
	events     events
	memif      memifState
	bridges    bridges
	fib4, fib6 *fib
	neighbors  neighbors
	vhost      vhostState
	vxlan      pool[vxlanTunnel]
}

func startVPP(cfg Config, pid uint32, f *faults, log logrus.FieldLogger) (*vpp, error) {
	table, err := messageTable()
	if err != nil {
		return nil, err
	}
	v := &vpp{
		cfg: cfg, pid: pid, faults: f,
		log:      log.WithField("pid", pid),
		plane:    dataplane.New(),
		table:    table,
		handlers: make(handlers),
		quit:     make(chan struct{}),
		buried:   make(chan struct{}),

		loopbacks: make(map[uint32]*swInterface),
		fib4:      newFIB(false),
		fib6:      newFIB(true),
		neighbors: make(neighbors),
	}
	v.tasks.init()
	v.register()
	v.initInterfaces()
	v.initMemif()
	v.initBridges()

	// The main thread starts with everything in place, or not at all.
	v.main.Lock()
	defer v.main.Unlock()
	server, err := api.Listen(cfg.APISocket, table, v, v.log)
	if err != nil {
		v.plane.Close()
		return nil, err
	}
	v.server = server
	go v.runTasks()
	return v, nil
}

// register fills the handler table, a feature at a time.
func (v *vpp) register() {
	v.registerVPE()
	v.registerEvents()
	v.registerInterface()
	v.registerLoopback()
	v.registerMemif()
	v.registerBridge()
	v.registerVLAN()
	v.registerAddress()
	v.registerIP6()
	v.registerRoute()
	v.registerNeighbor()
	v.registerVhost()
	v.registerPing()
	v.registerVXLAN()
}

// crash ends the life: the API socket breaks and memif peers lose their
// connections. It does not wait, so a message handler may call it.
func (v *vpp) crash(why string) {
	v.quitOnce.Do(func() {
		close(v.quit)
		v.log.WithField("reason", why).Info("simulated VPP ends")
		v.server.Abort()
		v.tasks.close()
		go v.bury()
	})
}

// bury ends what runs, last what the main thread may still be using.
func (v *vpp) bury() {
	defer close(v.buried)
	v.server.Wait()
	<-v.tasks.done
	v.pings.Wait()
	v.main.Lock()
	defer v.main.Unlock()
	v.closeMemif()
	v.closeVhost()
	v.plane.Close()
}

// wait returns when nothing of this life runs any more, after crash.
func (v *vpp) wait() { <-v.buried }

func (v *vpp) dead() bool {
	select {
	case <-v.quit:
		return true
	default:
		return false
	}
}

// Message is one turn of the main thread.
func (v *vpp) Message(c *api.Client, r api.Request) {
	v.main.Lock()
	defer v.main.Unlock()
	if v.dead() {
		return
	}
	if !v.admit(c, r) {
		return
	}
	if v.server.Control(c, r) {
		return
	}
	if h := v.handlers[r.Entry.Name]; h != nil {
		h(c, r)
	} else {
		v.unimplemented(c, r)
	}
	if !v.dead() {
		v.flushEvents()
	}
}

// Closed forgets what the client asked for.
func (v *vpp) Closed(c *api.Client) {
	v.main.Lock()
	defer v.main.Unlock()
	v.events.forget(c)
}

// later runs f in a turn of the main thread of its own. It never blocks, so
// that the goroutines of memif and of pings may call it.
func (v *vpp) later(f func()) { v.tasks.put(f) }

func (v *vpp) runTasks() {
	defer close(v.tasks.done)
	for {
		f := v.tasks.take()
		if f == nil {
			return
		}
		v.main.Lock()
		if !v.dead() {
			f()
			v.flushEvents()
		}
		v.main.Unlock()
	}
}

// tasks is an unbounded queue of work for the main thread.
type tasks struct {
	mu    sync.Mutex
	ready sync.Cond
	queue []func()
	ended bool
	done  chan struct{}
}

func (t *tasks) init() {
	t.ready.L = &t.mu
	t.done = make(chan struct{})
}

func (t *tasks) put(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.queue = append(t.queue, f)
		t.ready.Signal()
	}
}

func (t *tasks) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.queue = nil
	t.ready.Signal()
}

func (t *tasks) take() func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) == 0 && !t.ended {
		t.ready.Wait()
	}
	if t.ended {
		return nil
	}
	f := t.queue[0]
	t.queue = t.queue[1:]
	return f
}

// must not happen with GoVPP's own message lists; an error, as nothing here
// panics.
func messageTable() (*api.Table, error) {
	table, err := api.NewTable(apiFiles())
	if err != nil {
		return nil, fmt.Errorf("message table of VPP %s: %w", Version, err)
	}
	return table, nil
}
