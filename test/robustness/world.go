package robustness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containernetworking/cni/libcni"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/lab"
)

// Bounds that only a machine that is much too slow, or a bug, exceeds.
const (
	startBound    = 60 * time.Second
	convergeBound = 120 * time.Second
)

// nodeName is the node's; another node's name begins with it (see plant).
const nodeName = "node-1"

// world is all that runs, and what is known of it.
type world struct {
	cfg     Config
	ctx     context.Context
	cancel  context.CancelCauseFunc
	history *history
	model   *model

	etcd       *etcdtest.Processes
	client     *clientv3.Client
	keys       schema.Keys
	lab        *lab.Lab
	node       *lab.Node
	lists      map[string]*libcni.NetworkConfigList
	pods       []*pod
	failpoints string

	eye      *eye
	stranger *stranger
	// strangerLife is the life of VPP that the stranger's objects are in.
	strangerLife atomic.Int64

	// calm: no fault since the last peace. pulse says whether the machine gave the
	// programs their time meanwhile; stills is its count at the round's begin.
	calm   atomic.Bool
	pulse  pulse
	stills atomic.Int64
	// adds lets no ADD begin while GC runs.
	adds sync.Mutex
	// agentStart is when the host's agent was started last.
	agentStart time.Time
	// agent, vpp and members are held by the fault that has the process down.
	agent, vpp, members sync.Mutex
	// down counts the faults that keep the host's agent or VPP or etcd from its
	// work.
	down   atomic.Int32
	faults sync.WaitGroup

	mu      sync.Mutex
	spoilt  map[string]*spoilt
	planted map[string]bool
	slowest time.Duration // to converge
	boots   int
}

// newWorld starts everything.
func newWorld(ctx context.Context, cfg Config, h *history) (w *world, err error) {
	vpp.QuietGoVPP() // before the first of our clients
	ctx, cancel := context.WithCancelCause(ctx)
	w = &world{
		cfg: cfg, ctx: ctx, cancel: cancel, history: h, model: newModel(), lists: map[string]*libcni.NetworkConfigList{},
		spoilt: map[string]*spoilt{}, planted: map[string]bool{}, failpoints: filepath.Join(cfg.BinDir, "failpoints"),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	w.lab, err = lab.New(lab.Config{
		BinDir: cfg.BinDir, VPP: cfg.VPP, PodVPP: cfg.PodVPP, LogLevel: "debug", PodHeap: "256M", BootID: bootID(0),
		AuditInterval: 2 * time.Second, LeaseTTL: leaseTTL,
	})
	if err != nil {
		return w, err
	}
	start, stop := context.WithTimeout(ctx, startBound)
	defer stop()
	if err = w.startEtcd(start); err != nil {
		return w, err
	}
	w.agentStart = time.Now()
	if w.node, err = w.lab.StartNode(start, nodeName); err != nil {
		return w, err
	}
	w.eye = &eye{socket: w.node.VPP.APISocket}
	w.stranger = &stranger{eye: w.eye, socket: filepath.Join(w.node.VPP.Dir, "stranger.sock")}
	if err = w.makeStranger(); err != nil { //nolint:contextcheck // the world's context comes from ctx
		return w, err
	}
	return w, w.startPods(start)
}

func (w *world) startEtcd(ctx context.Context) (err error) {
	if w.etcd, err = etcdtest.NewProcesses(filepath.Join(w.cfg.BinDir, "etcd"), filepath.Join(w.lab.Dir, "etcd"), etcdtest.TLS()); err != nil {
		return err
	}
	w.lab.SetEndpoints(w.etcd.Endpoints(), w.etcd.Access())
	if err = w.etcd.Up(ctx); err != nil {
		return err
	}
	if w.client, err = w.etcd.Client(); err != nil {
		return err
	}
	return w.putNetworks(ctx)
}

// putNetworks gives the networks with a VRF their records, as vpp-cnictl does.
func (w *world) putNetworks(ctx context.Context) error {
	for _, n := range networks() {
		if n.vrf == 0 {
			continue
		}
		record := fmt.Sprintf(`{"vrf":%d}`, n.vrf)
		if _, err := w.client.Put(ctx, w.keys.Network(schema.NetworkName(n.name)), record); err != nil {
			return fmt.Errorf("network %s: %w", n.name, err)
		}
	}
	return nil
}

func (w *world) startPods(ctx context.Context) error {
	for _, n := range networks() {
		list, err := w.node.Network(n.list())
		if err != nil {
			return fmt.Errorf("network %s: %w", n.name, err)
		}
		w.lists[n.name] = list
	}
	for i := range w.cfg.Heavy + w.cfg.Light {
		p := &pod{name: fmt.Sprintf("pod-%d", i), index: i, heavy: i < w.cfg.Heavy}
		w.pods = append(w.pods, p)
		if err := w.born(p); err != nil { //nolint:contextcheck // the pods outlive the start
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("start pods: %w", ctx.Err())
		}
	}
	return nil
}

// heavy are the pods with a VPP of their own.
func (w *world) heavy() []*pod { return w.pods[:w.cfg.Heavy] }

func (w *world) list(n network) *libcni.NetworkConfigList { return w.lists[n.name] }

// fail ends the run with a broken invariant; the first one counts.
func (w *world) fail(v *violation) { w.cancel(v) }

// machinery ends the run with an error that is no finding: a program did not
// start, a file could not be removed.
func (w *world) machinery(err error) {
	var v *violation
	if errors.As(err, &v) {
		w.fail(v)
		return
	}
	if err != nil && w.ctx.Err() == nil {
		w.cancel(fmt.Errorf("the run itself failed: %w", err))
	}
}

// close ends everything.
func (w *world) close() error {
	w.cancel(context.Canceled)
	if w.eye != nil {
		w.eye.close()
	}
	var errs []error
	if w.client != nil {
		_ = w.client.Close()
	}
	// What is frozen does not end in order.
	for _, p := range w.pods {
		errs = append(errs, w.killPod(p))
	}
	if w.node != nil {
		errs = append(errs, w.node.Agent.Kill())
	}
	if w.etcd != nil {
		errs = append(errs, w.etcd.Kill())
	}
	if w.lab != nil {
		errs = append(errs, w.keepLogs(), w.lab.Close())
	}
	return errors.Join(errs...)
}

// keepLogs copies the programs' logs to where the configuration says.
func (w *world) keepLogs() error {
	if w.cfg.KeepLogs == "" {
		return nil
	}
	if err := os.MkdirAll(w.cfg.KeepLogs, 0o750); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(w.lab.Dir, "*", "*.log"))
	more, _ := filepath.Glob(filepath.Join(w.lab.Dir, "*", "*", "*.log"))
	for _, l := range append(logs, more...) {
		data, readErr := os.ReadFile(l)
		err = errors.Join(err, readErr, os.WriteFile(filepath.Join(w.cfg.KeepLogs, filepath.Base(l)), data, 0o600))
	}
	return err
}
