package robustness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/vpp-cni/vpp-cni/test/proc"
)

// inject is a fault from its beginning to its end. The error is the machinery's.
type inject func(*world, fault) error

// faultTable says what can go wrong and how often; seeds rely on its order.
func faultTable() []struct {
	weighted
	inject inject
} {
	return []struct {
		weighted
		inject inject
	}{
		{weighted{"kill-agent", 12}, onAgent(syscall.SIGKILL)},
		{weighted{"stop-agent", 6}, onAgent(syscall.SIGTERM)},
		{weighted{"freeze-agent", 6}, onAgent(syscall.SIGSTOP)},
		{weighted{"kill-vpp", 8}, killVPP},
		{weighted{"freeze-vpp", 4}, freezeVPP},
		{weighted{"kill-pod-vpp", 5}, onPod(func(p *pod) *proc.Process { return p.sandbox.VPP.Process }, syscall.SIGKILL)},
		{weighted{"freeze-pod-vpp", 2}, onPod(func(p *pod) *proc.Process { return p.sandbox.VPP.Process }, syscall.SIGSTOP)},
		{weighted{"kill-pod-agent", 5}, onPod(func(p *pod) *proc.Process { return p.sandbox.Agent }, syscall.SIGKILL)},
		{weighted{"freeze-pod-agent", 2}, onPod(func(p *pod) *proc.Process { return p.sandbox.Agent }, syscall.SIGSTOP)},
		{weighted{"kill-etcd-member", 5}, onMember(anyMember, syscall.SIGKILL)},
		{weighted{"freeze-etcd-member", 3}, onMember(anyMember, syscall.SIGSTOP)},
		{weighted{"kill-etcd-leader", 5}, onMember(leader, syscall.SIGKILL)},
		{weighted{"freeze-etcd-leader", 3}, onMember(leader, syscall.SIGSTOP)},
		{weighted{"kill-etcd", 4}, killEtcd},
		{weighted{"compact-etcd", 5}, compact},
		{weighted{"edit-delete", 4}, editDelete},
		{weighted{"edit-unbridge", 3}, editUnbridge},
		{weighted{"edit-tag", 3}, editTag},
		{weighted{"edit-down", 3}, editDown},
		{weighted{"edit-mtu", 2}, editMTU},
		{weighted{"edit-address", 2}, editAddress},
		{weighted{"edit-route", 2}, editRoute},
		{weighted{"spoil-value", 4}, spoil},
		{weighted{"delete-status", 3}, deleteStatus},
		{weighted{"plant-keys", 3}, plant},
		{weighted{"remove-pod-dir", 3}, removePodDir},
		{weighted{"remove-all-dirs", 1}, removeAllDirs},
	}
}

func faultNames() []weighted {
	var out []weighted
	for _, f := range faultTable() {
		out = append(out, f.weighted)
	}
	return out
}

// startFault lets a fault begin when its time comes.
func (w *world) startFault(f fault) {
	for _, t := range faultTable() {
		if t.name == f.Name {
			w.faults.Go(func() {
				w.sleep(f.After)
				w.machinery(t.inject(w, f))
			})
		}
	}
}

func (w *world) sleep(d time.Duration) {
	select {
	case <-w.ctx.Done():
	case <-time.After(d):
	}
}

// broken notes that the host's agent, VPP or etcd does not work until the
// function it returns is called.
func (w *world) broken(format string, args ...any) (mended func()) {
	w.down.Add(1)
	text := fmt.Sprintf(format, args...)
	w.history.add(everything, "FAULT %s", text)
	return func() {
		w.down.Add(-1)
		w.history.add(everything, "      %s is over", text)
	}
}

// onAgent kills, stops or freezes the host's agent for a while.
func onAgent(sig syscall.Signal) inject {
	return func(w *world, f fault) error {
		w.agent.Lock()
		defer w.agent.Unlock()
		defer w.broken("%s for %s", f.Name, f.For)()
		if sig == syscall.SIGSTOP {
			defer func() { w.agentStart = time.Now() }() // it may not have come far
			return w.freeze(w.node.Agent, f.For)
		}
		if err := w.endAgent(sig); err != nil {
			return err
		}
		w.sleep(f.For)
		return w.startAgent()
	}
}

// youth is how long a program may take until it ends in order on SIGTERM.
const youth = 3 * time.Second

// endAgent ends the host's agent, in order or not.
func (w *world) endAgent(sig syscall.Signal) error {
	if sig != syscall.SIGTERM {
		return w.node.Agent.Kill()
	}
	err := w.node.Agent.Stop()
	if err != nil && time.Since(w.agentStart) < youth {
		return nil
	}
	if err != nil {
		return broke(errNoGiveUp, nil, "%v", err)
	}
	return nil
}

func (w *world) startAgent() error {
	w.agentStart = time.Now()
	return w.node.Agent.Start()
}

// freeze makes a process hang for a while.
func (w *world) freeze(p *proc.Process, d time.Duration) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	w.sleep(d)
	return p.Signal(syscall.SIGCONT)
}

// killVPP ends the host's VPP; when it is back the foreign client makes its
// objects again.
func killVPP(w *world, f fault) error {
	w.vpp.Lock()
	defer w.vpp.Unlock()
	defer w.broken("%s for %s", f.Name, f.For)()
	if err := w.endVPP(); err != nil {
		return err
	}
	w.sleep(f.For)
	return w.upVPP()
}

// endVPP ends the host's VPP. It can be looked at until it has gone, so the time
// of its dying is a life of its own: what is seen in it says nothing of the next
// VPP.
func (w *world) endVPP() error {
	w.strangerLife.Store(0)
	w.model.newLife()
	defer w.model.newLife()
	return w.node.VPP.Kill()
}

// upVPP starts the host's VPP and the foreign client's objects in it.
func (w *world) upVPP() error {
	if err := w.startVPP(w.node.VPP, everything); err != nil {
		return err
	}
	w.stranger.forget()
	return w.makeStranger()
}

// makeStranger has the foreign client's objects made in the host's VPP.
func (w *world) makeStranger() error {
	ctx, cancel := context.WithTimeout(w.ctx, startBound)
	defer cancel()
	for {
		err := w.stranger.make(ctx)
		if err == nil || ctx.Err() != nil {
			w.strangerLife.Store(int64(w.model.lives()))
			return err
		}
		if !w.node.VPP.Running() {
			return errors.Join(err, errors.New("VPP ended:\n"+w.node.VPP.LogTail(20)))
		}
		w.sleep(100 * time.Millisecond)
	}
}

// startVPP starts a VPP that answers. A real one measures its clock when it
// starts (clib_time_init); where the machine gives it no time just then it may
// be off by a thousand, and answers to nobody. Whoever looks after VPP on a node
// starts such a one again.
func (w *world) startVPP(v *proc.VPP, object string) error {
	const tries = 3
	var err error
	for range tries {
		ctx, cancel := context.WithTimeout(w.ctx, startBound)
		err = v.Up(ctx)
		cancel()
		if err != nil {
			return err
		}
		if err = w.answers(v); err == nil || w.ctx.Err() != nil {
			return err
		}
		w.history.add(object, "%s does not answer after its start, and is started again: %v", v.Name, err)
		if killed := v.Kill(); killed != nil {
			return killed
		}
	}
	return fmt.Errorf("%s: %d starts: %w", v.Name, tries, err)
}

// answers waits until a VPP that has just been started answers.
func (w *world) answers(v *proc.VPP) (err error) {
	e := &eye{socket: v.APISocket}
	defer e.close()
	for begin := time.Now(); time.Since(begin) < startBound/3; {
		if _, err = e.interfaces(w.ctx); err == nil || w.ctx.Err() != nil {
			return err
		}
		w.sleep(100 * time.Millisecond)
	}
	return err
}

func freezeVPP(w *world, f fault) error {
	w.vpp.Lock()
	defer w.vpp.Unlock()
	defer w.broken("%s for %s", f.Name, f.For)()
	return w.freeze(w.node.VPP.Process, f.For)
}

// onPod kills or freezes a process of a pod for a while.
func onPod(of func(*pod) *proc.Process, sig syscall.Signal) inject {
	return func(w *world, f fault) error {
		if w.cfg.Heavy == 0 {
			return nil
		}
		p := w.heavy()[int(f.Target)%w.cfg.Heavy]
		p.processes.Lock()
		target := of(p)
		running := target.Running()
		w.history.add(p.name, "FAULT %s for %s", f.Name, f.For)
		var err error
		switch {
		case !running:
		case sig == syscall.SIGSTOP:
			err = target.Signal(syscall.SIGSTOP)
		default:
			err = target.Kill()
		}
		p.processes.Unlock()
		if err != nil || !running {
			return err
		}
		w.sleep(f.For)
		if sig == syscall.SIGSTOP {
			// The pod may have ended meanwhile.
			if err = target.Signal(syscall.SIGCONT); errors.Is(err, os.ErrProcessDone) {
				return nil
			}
			return err
		}
		return w.startPod(p)
	}
}

// anyMember and leader choose a member of etcd.
func anyMember(_ *world, f fault) int { return int(f.Target) % 3 }

func leader(w *world, f fault) int {
	ctx, cancel := context.WithTimeout(w.ctx, 3*time.Second)
	defer cancel()
	if i, err := w.etcd.Leader(ctx); err == nil {
		return i
	}
	return anyMember(w, f)
}

// onMember kills or freezes a member of etcd for a while.
func onMember(choose func(*world, fault) int, sig syscall.Signal) inject {
	return func(w *world, f fault) error {
		w.members.Lock()
		defer w.members.Unlock()
		m := w.etcd.Members[choose(w, f)]
		defer w.broken("%s %s for %s", f.Name, m.Name, f.For)()
		if sig == syscall.SIGSTOP {
			return w.freeze(m, f.For)
		}
		if err := m.Kill(); err != nil {
			return err
		}
		w.sleep(f.For)
		return m.Start()
	}
}

// killEtcd kills all members.
func killEtcd(w *world, f fault) error {
	w.members.Lock()
	defer w.members.Unlock()
	defer w.broken("%s for %s", f.Name, f.For)()
	if err := w.etcd.Kill(); err != nil {
		return err
	}
	w.sleep(f.For)
	return w.upEtcd()
}

func (w *world) upEtcd() error {
	ctx, cancel := context.WithTimeout(w.ctx, startBound)
	defer cancel()
	return w.etcd.Up(ctx)
}

// compact makes etcd's history unreadable, so that a watch that has fallen
// behind breaks.
func compact(w *world, _ fault) error {
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	w.history.add(everything, "FAULT compact etcd: %s", outcome(w.etcd.Compact(ctx)))
	return nil
}
