package robustness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config is one run.
type Config struct {
	// Seed makes the run: equal seeds give equal operations and faults.
	Seed uint64
	// For is how long rounds are begun, Rounds how many at most; 0: no bound.
	For    time.Duration
	Rounds int
	// BinDir holds the programs that `make build tools` makes.
	BinDir string
	// VPP and PodVPP are the VPPs to run; empty: the simulator.
	VPP, PodVPP string
	// Heavy pods have a VPP and an agent of their own, Light pods do not.
	Heavy, Light int
	// Out gets the report, and with Verbose every event as it happens.
	Out     io.Writer
	Verbose bool
	// KeepLogs is a directory for the programs' logs; empty: they go.
	KeepLogs string
}

// failpointNames are the places where the plugin can be told to die; none
// where no program is built for it.
func failpointNames(binDir string) []string {
	if _, err := os.Stat(filepath.Join(binDir, "failpoints", "vpp-cni")); err != nil {
		return nil
	}
	return []string{
		"add-before-ipam", "add-after-ipam", "add-after-look", "add-before-attach", "add-after-attach", "add-after-drop",
		"add-before-answer", "add-after-answer", "del-before-detach", "del-after-detach", "del-before-ipam",
		"withdraw-after-detach", "withdraw-before-ipam", "gc-before-ipam", "gc-before-detach", "gc-after-detach", "gc-after-release",
	}
}

// Run runs rounds until the time or their number is over, or an invariant is
// broken. The error is nil or has been told in full to cfg.Out.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Out == nil {
		cfg.Out = io.Discard
	}
	var echo io.Writer
	if cfg.Verbose {
		echo = cfg.Out
	}
	_, _ = fmt.Fprintf(cfg.Out, "robustness: seed %d\n", cfg.Seed)
	h := newHistory(echo)
	w, err := newWorld(ctx, cfg, h)
	if err != nil {
		return fmt.Errorf("robustness: start: %w", err)
	}
	rounds, err := w.run() //nolint:contextcheck // the world's context comes from ctx
	if err != nil {
		_, _ = fmt.Fprint(cfg.Out, w.tell(err)) //nolint:contextcheck // it tells after the end of ctx, too
	}
	closed := w.close()
	if err == nil {
		_, _ = fmt.Fprintf(cfg.Out, "robustness: seed %d: %d rounds, %d events, every invariant held; slowest peace %s%s\n",
			cfg.Seed, rounds, len(h.events), w.slowest.Round(time.Millisecond), w.pulse.excuse())
		return closed
	}
	return fmt.Errorf("seed %d, round %d: %w", cfg.Seed, rounds, err)
}

// run is the rounds.
func (w *world) run() (n int, err error) {
	g := newGenerator(w.cfg.Seed, len(w.pods), faultNames(), failpointNames(w.cfg.BinDir))
	watching, stop := context.WithCancel(w.ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { w.watch(watching) })
	watcher.Go(func() { w.pulse.feel(watching, w.askEtcd, w.stoodStill) })
	defer func() {
		stop()
		watcher.Wait()
	}()
	begin := time.Now()
	for w.cfg.Rounds == 0 || n < w.cfg.Rounds {
		if w.cfg.For > 0 && time.Since(begin) > w.cfg.For {
			break
		}
		if err := w.round(g.next()); err != nil {
			w.cancel(err)
		}
		n++
		if w.ctx.Err() != nil {
			return n, context.Cause(w.ctx)
		}
	}
	return n, nil
}

// round does the steps one after the other, and makes peace.
func (w *world) round(r round) error {
	w.history.startRound(r.Number)
	faulty := slices.ContainsFunc(r.Steps, func(s step) bool { return len(s.Faults) > 0 })
	w.stills.Store(int64(w.pulse.stills()))
	w.calm.Store(!faulty)
	for i, s := range r.Steps {
		w.history.add(everything, "step %d: %s", i, s)
		for _, f := range s.Faults {
			w.startFault(f)
		}
		begin := time.Now()
		w.operate(s.Operations)
		w.sleep(s.Pause - time.Since(begin))
		if w.ctx.Err() != nil {
			w.faults.Wait()
			return context.Cause(w.ctx)
		}
	}
	return w.peace(r.End)
}

// operate does operations side by side, those of one pod in turn; late DELs and
// GC are nobody's turn.
func (w *world) operate(ops []operation) {
	turns := map[int][]operation{}
	var wg sync.WaitGroup
	for _, o := range ops {
		switch o.Verb {
		case verbSettle, verbGC, verbStatus:
			wg.Go(func() { w.do(o) })
		default:
			turns[o.Pod] = append(turns[o.Pod], o)
		}
	}
	for _, turn := range turns {
		wg.Go(func() {
			for _, o := range turn {
				if w.ctx.Err() == nil {
					w.do(o)
				}
			}
		})
	}
	wg.Wait()
}

// tell is what a person needs to find out why the run failed.
func (w *world) tell(err error) string {
	var b strings.Builder
	var v *violation
	var objects []string
	if errors.As(err, &v) {
		objects = v.objects
	}
	fmt.Fprintf(&b, "\nFAILED: seed %d\n%v\n\nhistory of %v:\n%s", w.cfg.Seed, err, objects, w.history.shortened(objects))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), 2*viewTimeout)
	defer cancel()
	if held, err := w.eye.look(ctx); err != nil {
		fmt.Fprintf(&b, "\nVPP cannot be looked at: %v\n", err)
	} else {
		fmt.Fprintf(&b, "\nVPP holds:\n%s", held.text())
	}
	if resp, err := w.client.Get(ctx, w.keys.Root(), withPrefix); err != nil {
		fmt.Fprintf(&b, "\netcd cannot be asked: %v\n", err)
	} else {
		fmt.Fprintf(&b, "\netcd holds at revision %d:\n", resp.Header.GetRevision())
		for _, kv := range resp.Kvs {
			fmt.Fprintf(&b, "%d %s %s\n", kv.ModRevision, kv.Key, kv.Value)
		}
	}
	logs := w.lab.Logs(1000)
	for _, m := range w.etcd.Members {
		logs[m.Name] = m.LogTail(10)
	}
	for _, name := range slices.Sorted(maps.Keys(logs)) {
		if w.concerns(name, objects) {
			fmt.Fprintf(&b, "\nthe end of %s:\n%s\n", name, telling(logs[name]))
		}
	}
	fmt.Fprintf(&b, "\nagain: make robustness SEED=%d\n", w.cfg.Seed)
	return b.String()
}

// telling is the end of a log without what says that nothing was to be done.
func telling(log string) string {
	lines := slices.DeleteFunc(strings.Split(log, "\n"), func(l string) bool {
		return strings.Contains(l, "full pass done") && strings.Contains(l, "ops=0")
	})
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

// concerns says whether a program's log is worth printing.
func (w *world) concerns(name string, objects []string) bool {
	pod, ok := strings.CutPrefix(name, nodeName+"-pod-")
	if !ok {
		return true
	}
	return slices.ContainsFunc(objects, func(o string) bool { return strings.HasPrefix("pod-"+pod, o+"-") })
}
