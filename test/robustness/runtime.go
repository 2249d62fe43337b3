package robustness

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/vpp-cni/vpp-cni/test/lab"
)

// pod is a pod's place in the run: pods of its name come and go in it.
type pod struct {
	name  string
	index int
	// heavy pods run a VPP and a container agent; of the others only the host's
	// end is there.
	heavy bool
	// births counts the pods that had the name.
	births int
	// sandbox is the live one.
	sandbox *lab.Pod
	// processes is held by who starts and ends the pod's processes.
	processes sync.Mutex
}

// born makes the next pod of the name.
func (w *world) born(p *pod) error {
	p.births++
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", w.cfg.Seed, p.name, p.births))
	var id [48]byte
	copy(id[:], sum[:])
	copy(id[32:], sum[8:])
	sandbox, err := w.node.NewPodAs("default", fmt.Sprintf("%s-%d", p.name, p.births), id)
	if err != nil {
		return err
	}
	p.sandbox = sandbox
	return w.startPod(p)
}

// startPod starts what does not run of a heavy pod.
func (w *world) startPod(p *pod) error {
	if !p.heavy {
		return nil
	}
	p.processes.Lock()
	defer p.processes.Unlock()
	if !p.sandbox.VPP.Running() {
		if err := w.startVPP(p.sandbox.VPP, p.name); err != nil {
			return err
		}
	}
	if p.sandbox.Agent.Running() {
		return nil
	}
	return p.sandbox.Agent.Start()
}

// killPod ends a heavy pod's processes, as the end of its containers does.
func (w *world) killPod(p *pod) error {
	if !p.heavy {
		return nil
	}
	p.processes.Lock()
	defer p.processes.Unlock()
	return errors.Join(p.sandbox.Agent.Kill(), p.sandbox.VPP.Kill())
}

// do is one operation.
func (w *world) do(o operation) {
	var err error
	p := w.pods[o.Pod]
	switch o.Verb {
	case verbGC:
		_ = w.gc(networks()[o.Network], o.Kill) // in the history
	case verbStatus:
		_ = w.status(networks()[o.Network]) // in the history
	case verbAdd:
		w.attach(p, o.Slot, networks()[o.Network], o.Kill, o.Afterwards)
	case verbAddAgain:
		w.addAgain(p, o)
	case verbDel:
		if a := w.model.find(p.sandbox.Container, o.Slot); a != nil {
			w.del(a, o.Kill)
		}
	case verbCheck:
		w.check(p, o.Slot)
	case verbRestart:
		w.history.add(p.name, "containers restarted")
		err = errors.Join(w.killPod(p), w.startPod(p))
	case verbSandbox:
		err = w.newSandbox(p, o)
	case verbReplace, verbFinish:
		err = w.replace(p, o)
	case verbSettle:
		w.settle(p)
	}
	w.machinery(err)
}

// attach runs ADD for an interface that is not attached, and what a runtime does
// after one that failed.
func (w *world) attach(p *pod, slot int, n network, k killing, after afterwards) {
	if a := w.model.find(p.sandbox.Container, slot); a != nil && !w.del(a, killing{}) {
		return // a runtime does not ADD what it has not been able to DEL
	}
	w.adds.Lock()
	a := w.model.begin(p, p.sandbox, slot, n)
	w.adds.Unlock()
	if w.add(a, k) {
		return
	}
	if after == addRetry && w.add(a, killing{}) {
		return
	}
	w.model.leave(a)
	if after != delLater {
		w.del(a, killing{})
	}
}

// add calls ADD and notes what came of it.
func (w *world) add(a *attachment, k killing) bool {
	ips, err := w.callAdd(a, k)
	if err != nil {
		w.judge("ADD", a, k, err)
		return false
	}
	if v := w.model.succeed(a, ips); v != nil {
		w.fail(v)
	}
	return true
}

func (w *world) callAdd(a *attachment, k killing) ([]netip.Prefix, error) {
	begin := time.Now()
	var ips []netip.Prefix
	res, err := w.cni(k).AddNetworkList(w.ctx, w.list(a.network), a.sandbox.Runtime(a.key.ifname))
	if err == nil {
		var result *types100.Result
		if result, err = types100.NewResultFromResult(res); err == nil {
			for _, ip := range result.IPs {
				addr, _ := netip.AddrFromSlice(ip.Address.IP)
				ones, _ := ip.Address.Mask.Size()
				ips = append(ips, netip.PrefixFrom(addr.Unmap(), ones))
			}
		}
	}
	w.history.add(a.owner.name, "ADD %s %s%s: %s%v in %s", a.key, a.network.name, k, outcome(err), ips, since(begin))
	return ips, err
}

// addAgain repeats an ADD: the answer is the same, and whatever becomes of the
// call, the attachment stays as it is.
func (w *world) addAgain(p *pod, o operation) {
	a := w.model.find(p.sandbox.Container, o.Slot)
	if a == nil || a.state != attached {
		return
	}
	ips, err := w.callAdd(a, o.Kill)
	if err != nil {
		w.judge("ADD again", a, o.Kill, err)
		return
	}
	if fmt.Sprint(ips) != fmt.Sprint(a.ips) {
		w.fail(broke(errConverges, []string{p.name}, "ADD of %s again answered with %v, at first %v", a.key, ips, a.ips))
	}
}

// del calls DEL and says whether it succeeded.
func (w *world) del(a *attachment, k killing) bool {
	w.model.leave(a)
	begin := time.Now()
	err := w.cni(k).DelNetworkList(w.ctx, w.list(a.network), a.sandbox.Runtime(a.key.ifname))
	w.history.add(a.owner.name, "DEL %s %s%s: %s in %s", a.key, a.network.name, k, outcome(err), since(begin))
	if err != nil {
		w.judge("DEL", a, k, err)
		return false
	}
	w.model.gone(a)
	return true
}

// check calls CHECK; only where nothing else goes on it must succeed.
func (w *world) check(p *pod, slot int) {
	a := w.model.find(p.sandbox.Container, slot)
	if a == nil || a.state != attached {
		return
	}
	err := w.node.CNI().CheckNetworkList(w.ctx, w.list(a.network), a.sandbox.Runtime(a.key.ifname))
	w.history.add(p.name, "CHECK %s: %s", a.key, outcome(err))
}

// judge says whether a call may fail as it did.
func (w *world) judge(call string, a *attachment, k killing, err error) {
	var v *violation
	if errors.As(err, &v) {
		v.objects = append(v.objects, a.owner.name)
		w.fail(v)
		return
	}
	if errors.Is(err, errKilled) || w.ctx.Err() != nil {
		return
	}
	var e *types.Error
	switch {
	case !errors.As(err, &e):
		w.fail(broke(errNoGiveUp, []string{a.owner.name}, "%s of %s did not answer: %v", call, a.key, err))
	case e.Code == types.ErrTryAgainLater && w.calm.Load() && k == (killing{}) && !w.pulse.stoodStill(w.ctx, int(w.stills.Load())):
		w.fail(broke(errNoGiveUp, []string{a.owner.name}, "%s of %s failed though everything is well: %v", call, a.key, err))
	case e.Code == types.ErrTryAgainLater, w.unreadable(a):
	default:
		w.fail(broke(errNoGiveUp, []string{a.owner.name}, "%s of %s failed with code %d, not %d: %v", call, a.key, e.Code, types.ErrTryAgainLater, err))
	}
}

// unreadable says whether a value of the pod was spoilt in etcd: a call that
// meets it fails for good.
func (w *world) unreadable(a *attachment) bool {
	for _, o := range w.model.all(adding, attached, leaving) {
		if o.uid == a.uid && o.unreadable {
			return true
		}
	}
	return false
}

// newSandbox is the death of a pod's sandbox: kubelet makes another one of the
// same pod, and the old one's DELs come late.
func (w *world) newSandbox(p *pod, o operation) error {
	if err := w.killPod(p); err != nil {
		return err
	}
	var had []*attachment
	for slot := range slots {
		if a := w.model.find(p.sandbox.Container, slot); a != nil {
			if a.state == attached {
				had = append(had, a)
			}
			w.model.leave(a)
		}
	}
	p.sandbox = p.sandbox.NewSandbox()
	w.history.add(p.name, "new sandbox %.8s takes over %d", p.sandbox.Container, len(had))
	for i, a := range had {
		k := killing{}
		if i == 0 {
			k = o.Kill
		}
		w.attach(p, a.slot, a.network, k, o.Afterwards)
	}
	return w.startPod(p)
}

// replace ends a pod, with DEL or as force-deleted without, and makes another.
func (w *world) replace(p *pod, o operation) error {
	if err := w.killPod(p); err != nil {
		return err
	}
	for slot := range slots {
		a := w.model.find(p.sandbox.Container, slot)
		if a == nil {
			continue
		}
		w.model.leave(a)
		if o.Verb == verbFinish {
			w.del(a, o.Kill)
		}
	}
	w.history.add(p.name, "%s, uid was %s", o.Verb, p.sandbox.UID)
	p.processes.Lock()
	err := w.node.Forget(p.sandbox)
	p.processes.Unlock()
	if err != nil {
		return err
	}
	return w.born(p)
}

// settle calls the DELs that are owed for sandboxes of a pod that are gone, and
// says how many are still owed.
func (w *world) settle(p *pod) (owed int) {
	for _, a := range w.model.all(leaving) {
		if a.owner != p || a.key.container == p.sandbox.Container {
			continue
		}
		if !w.del(a, killing{}) {
			owed++
		}
	}
	return owed
}

// gc lets one network be collected.
func (w *world) gc(n network, k killing) error {
	// What begins meanwhile is not on the list: a runtime holds such an ADD back.
	w.adds.Lock()
	defer w.adds.Unlock()
	args := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{}}
	for _, k := range w.model.valid(n) {
		args.ValidAttachments = append(args.ValidAttachments, types.GCAttachment{ContainerID: k.container, IfName: k.ifname})
	}
	err := w.cni(k).GCNetworkList(w.ctx, w.list(n), args)
	w.history.add(everything, "GC %s%s, %d valid: %s", n.name, k, len(args.ValidAttachments), outcome(err))
	return err
}

func (w *world) status(n network) error {
	err := w.node.CNI().GetStatusNetworkList(w.ctx, w.list(n))
	w.history.add(everything, "STATUS %s: %s", n.name, outcome(err))
	return err
}

// cni calls plugins, this once killed as k says.
func (w *world) cni(k killing) *libcni.CNIConfig {
	return w.node.CNIBy(&execution{kill: k, failpoints: w.failpoints})
}

func outcome(err error) string {
	if err == nil {
		return "ok "
	}
	return err.Error()
}

func since(begin time.Time) time.Duration { return time.Since(begin).Round(time.Millisecond) }
