package robustness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/lab"
)

// peace ends a round: every program runs again, the operator mends what was
// spoilt, the runtime has its late DELs or GC done, and then everything must
// come to be as the results of the calls say.
func (w *world) peace(end ending) error {
	w.faults.Wait()
	if err := w.allUp(); err != nil {
		return err
	}
	if b := w.shown(); len(b) > 0 {
		return b[0]
	}
	if err := w.mend(); err != nil {
		return err
	}
	if err := w.settleAll(end.ByGC); err != nil {
		return err
	}
	if err := w.converge(); err != nil {
		return err
	}
	if err := w.traffic(); err != nil {
		return err
	}
	if err := w.everythingServes(); err != nil {
		return err
	}
	if err := w.befall(end.Disaster); err != nil {
		return err
	}
	if err := w.restartAgent(end.Restart); err != nil {
		return err
	}
	w.model.peace(func(a *attachment) bool {
		_, err := os.Stat(w.socket(a))
		return err != nil
	})
	return nil
}

// allUp waits until the programs work again. The faults started them.
func (w *world) allUp() error {
	ctx, cancel := context.WithTimeout(w.ctx, convergeBound)
	defer cancel()
	if err := w.etcd.WaitReady(ctx); err != nil {
		return err
	}
	for _, p := range w.heavy() {
		if err := w.startPod(p); err != nil {
			return err
		}
	}
	if err := w.node.WaitReady(ctx); err != nil {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		_, body, _ := w.node.Get(w.ctx, "/readyz")
		return broke(errConverges, nil, "the agent is not ready %s after everything is up:\n%s\n%v", convergeBound, body, err)
	}
	return nil
}

// settleAll has everything removed that is owed.
func (w *world) settleAll(byGC bool) error {
	deadline := time.Now().Add(convergeBound)
	for {
		owed := w.model.all(leaving)
		if len(owed) == 0 {
			return nil
		}
		if byGC {
			w.collect(owed)
		} else {
			for _, a := range owed {
				w.del(a, killing{})
			}
		}
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		if time.Now().After(deadline) {
			return broke(errNoGiveUp, []string{owed[0].owner.name}, "%d attachments cannot be removed %s after everything is up, the first is %s", len(owed), convergeBound, owed[0].key)
		}
	}
}

// collect lets GC remove what is owed, as a runtime that starts anew does. Of an
// ADD that died between IPAM and etcd only the runtime knows: host-local has no
// GC, so that a DEL it is.
func (w *world) collect(owed []*attachment) {
	var errs []error
	for _, a := range owed {
		if !a.ever {
			w.del(a, killing{})
		}
	}
	for _, n := range networks() {
		errs = append(errs, w.gc(n, killing{}))
	}
	if errors.Join(errs...) != nil {
		w.sleep(200 * time.Millisecond)
		return
	}
	for _, a := range owed {
		if a.ever {
			w.model.gone(a)
		}
	}
}

// converge waits until everything is as it must be.
func (w *world) converge() error {
	begin := time.Now()
	for {
		b, err := w.compare()
		switch {
		case w.ctx.Err() != nil:
			return context.Cause(w.ctx)
		case err == nil && len(b) == 0:
			took := time.Since(begin)
			w.slowest = max(w.slowest, took)
			w.history.add(everything, "peace: all is as it must be after %s, %d attached", since(begin), len(w.model.all(attached)))
			return nil
		case len(b) > 0 && errors.Is(b[0], errNoForeignTouch):
			return b[0]
		case time.Since(begin) < convergeBound:
			w.sleep(200 * time.Millisecond)
		case err != nil:
			return broke(errConverges, nil, "cannot be looked at %s after everything is up: %v", convergeBound, err)
		default:
			all := broke(b[0].invariant, b.objects(), "%s\n  and in all, %s after everything is up:\n%s", b[0].what, convergeBound, b)
			return all
		}
	}
}

// traffic pings between pods of one network.
func (w *world) traffic() error {
	list := w.model.all(attached)
	for i, a := range list {
		for _, o := range list[i+1:] {
			if !a.owner.heavy || !o.owner.heavy || a.network.name != o.network.name {
				continue
			}
			if err := w.ping(a, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// pingBound is how long it may take until a ping is answered: memifs reconnect
// within 3 s (VPP-FACTS), and neighbours are looked for once a second.
const pingBound = 60 * time.Second

func (w *world) ping(a, o *attachment) error {
	for _, ip := range o.ips {
		begin := time.Now()
		ctx, cancel := context.WithTimeout(w.ctx, pingBound)
		_, _, err := lab.Ping(ctx, a.sandbox.VPP, ip.Addr(), 2)
		cancel()
		w.history.add(a.owner.name, "ping %s of %s in %s: %s in %s", ip.Addr(), o.owner.name, a.network.name, outcome(err), since(begin))
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		if err != nil {
			return broke(errTrafficHolds, []string{a.owner.name, o.owner.name}, "%s does not reach %s of %s in network %s within %s: %v",
				a.owner.name, ip.Addr(), o.owner.name, a.network.name, pingBound, err)
		}
	}
	return nil
}

// everythingServes wants CHECK of all attachments, STATUS of all networks and an
// ADD and DEL of another pod to succeed, each within a few tries.
func (w *world) everythingServes() error {
	for _, a := range w.model.all(attached) {
		err := w.tries(func() error {
			return w.node.CNI().CheckNetworkList(w.ctx, w.list(a.network), a.sandbox.Runtime(a.key.ifname))
		})
		if err != nil {
			return broke(errConverges, []string{a.owner.name}, "CHECK of %s fails though all is as it must be: %v", a.key, err)
		}
	}
	for _, n := range networks() {
		if err := w.tries(func() error { return w.status(n) }); err != nil {
			return broke(errNoGiveUp, nil, "STATUS of %s fails though everything is well: %v", n.name, err)
		}
	}
	return nil
}

// tries calls f until it succeeds, a few times.
func (w *world) tries(f func() error) (err error) {
	for range 5 {
		if err = f(); err == nil || w.ctx.Err() != nil {
			return err
		}
		w.sleep(time.Second)
	}
	return err
}

// restartAgent restarts the agent where nothing has changed: it must write
// nothing.
func (w *world) restartAgent(how string) error {
	if how == "" {
		return nil
	}
	w.agent.Lock()
	defer w.agent.Unlock()
	before, err := w.statusRevisions()
	if err != nil {
		return err
	}
	w.down.Add(1)
	defer w.down.Add(-1)
	sig := syscall.SIGKILL
	if how == "stop" {
		sig = syscall.SIGTERM
	}
	if err = w.endAgent(sig); err != nil {
		return err
	}
	if err = w.startAgent(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.ctx, startBound)
	defer cancel()
	begin := time.Now()
	if err = w.node.WaitReady(ctx); err != nil {
		return err
	}
	writes, err := w.node.Metric(ctx, "vppcni_writes_total")
	if err != nil {
		return err
	}
	after, err := w.statusRevisions()
	if err != nil {
		return err
	}
	w.history.add(everything, "agent restarted in peace (%s): ready in %s, %v writes", how, since(begin), writes)
	if writes != 0 {
		_, body, _ := w.node.Get(ctx, "/metrics")
		return broke(errAgentZeroWrites, nil, "%v writes:\n%s", writes, grep(body, "vppcni_writes_total"))
	}
	for key, rev := range before {
		if after[key] != rev {
			return broke(errAgentZeroWrites, nil, "status %s was at revision %d and is at %d", key, rev, after[key])
		}
	}
	return nil
}

func grep(text, word string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, word) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func (w *world) statusRevisions() (map[string]int64, error) {
	all, err := w.keysOfNode()
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for key, v := range all {
		if strings.HasPrefix(key, w.keys.HostStatusPrefix(nodeName)) {
			out[key] = v.rev
		}
	}
	return out, nil
}

// stored is a value in etcd.
type stored struct {
	value []byte
	rev   int64
}

func (w *world) keysOfNode() (map[string]stored, error) {
	return w.keysUnder(w.keys.NodePrefix(schema.Node(nodeName)))
}

func (w *world) keysUnder(prefix string) (map[string]stored, error) {
	ctx, cancel := context.WithTimeout(w.ctx, etcdTimeout)
	defer cancel()
	resp, err := w.client.Get(ctx, prefix, withPrefix)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	out := map[string]stored{}
	for _, kv := range resp.Kvs {
		out[string(kv.Key)] = stored{kv.Value, kv.ModRevision}
	}
	return out, nil
}
