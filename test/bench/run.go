package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/lab"
)

// samples are the durations of one kind of call.
type samples []time.Duration

func (s samples) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func row(name string, s, floor samples) {
	fmt.Printf("%-22s %5d  %7.2f %7.2f %7.2f", name, len(s), ms(s.at(0.5)), ms(s.at(0.99)), ms(s.at(1)))
	if floor != nil {
		fmt.Printf("   %7.2f %7.2f %6.2f", ms(floor.at(0.5)), ms(floor.at(0.99)), float64(s.at(0.5))/float64(max(floor.at(0.5), 1)))
	}
	fmt.Println()
}

func run(ctx context.Context, o options) (err error) {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	l, err := lab.New(lab.Config{BinDir: bin, VPP: o.vpp})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	etcd, err := etcdtest.New(filepath.Join(l.Dir, "etcd"), etcdtest.Options{Fsync: true})
	if err != nil {
		return err
	}
	defer etcd.Close()
	l.SetEndpoints(etcd.Endpoints())
	n, err := l.StartNode(ctx, "bench")
	if err != nil {
		return err
	}
	what := "simulator"
	if l.Real() {
		what = o.vpp
	}
	fmt.Printf("VPP: %s; %d processors; %d calls of each kind, one by one; times in ms\n\n", what, runtime.NumCPU(), o.rounds)
	fmt.Printf("%-22s %5s  %7s %7s %7s   %7s %7s %6s\n", "call", "n", "p50", "p99", "max", "floor50", "floor99", "ratio")

	f, err := newFloor(ctx, etcd.Endpoints(), n.VPP.APISocket, l.Dir)
	if err != nil {
		return err
	}
	defer f.close(ctx)
	return errors.Join(
		version(ctx, o, bin),
		sequential(ctx, o, plugin{bin, confNoIPAM(n)}, f, "no IPAM"),
		sequential(ctx, o, plugin{bin, confHostLocal(n)}, f, "host-local"),
		parallel(ctx, o, plugin{bin, confNoIPAM(n)}),
		agent(ctx, n),
	)
}

// agent says what the host agent did beside: failures and retries make calls
// slow without making them fail.
func agent(ctx context.Context, n *lab.Node) error {
	var values [4]float64
	for i, name := range []string{"vppcni_writes_total", "vppcni_write_failures_total", "vppcni_write_retries_total", "process_cpu_seconds_total"} {
		v, err := n.Metric(ctx, name)
		if err != nil {
			return err
		}
		values[i] = v
	}
	fmt.Printf("\nagent: %.0f objects written, %.0f failed, %.0f tried again, %.2f s of CPU\n", values[0], values[1], values[2], values[3])
	return nil
}

func version(ctx context.Context, o options, bin string) error {
	var ours, floor samples
	p := plugin{bin: bin, conf: []byte(`{"cniVersion": "1.0.0"}`)}
	for i := range o.rounds {
		wall, _, err := p.call(ctx, "VERSION", i)
		if err != nil {
			return err
		}
		e, err := empty(ctx, bin)
		if err != nil {
			return err
		}
		ours, floor = append(ours, wall), append(floor, e)
	}
	row("VERSION", ours, floor)
	return nil
}

// sequential makes o.rounds attachments one by one, then removes them, with the
// floor's call after each of the plugin's.
func sequential(ctx context.Context, o options, p plugin, f *floor, name string) error {
	var add, addFloor, del, delFloor samples
	var cpu time.Duration
	for i := range o.rounds {
		wall, used, err := p.call(ctx, "ADD", i)
		if err != nil {
			return err
		}
		bare, err := f.add(ctx, i)
		if err != nil {
			return err
		}
		add, addFloor, cpu = append(add, wall), append(addFloor, bare), cpu+used
	}
	for i := range o.rounds {
		wall, _, err := p.call(ctx, "DEL", i)
		if err != nil {
			return err
		}
		bare, err := f.del(ctx, i)
		if err != nil {
			return err
		}
		del, delFloor = append(del, wall), append(delFloor, bare)
	}
	row("ADD "+name, add, addFloor)
	row("DEL "+name, del, delFloor)
	fmt.Printf("%-22s %5d  %7.2f (plugin's process and its children, mean)\n", "CPU an ADD, "+name, o.rounds, ms(cpu/time.Duration(o.rounds)))
	return nil
}

// parallel makes and removes o.rounds attachments, o.parallel at a time.
func parallel(ctx context.Context, o options, p plugin) error {
	for _, verb := range []string{"ADD", "DEL"} {
		work := make(chan int)
		var mu sync.Mutex
		var failed []error
		var wg sync.WaitGroup
		begin := time.Now()
		for range o.parallel {
			wg.Go(func() {
				for i := range work {
					if _, _, err := p.call(ctx, verb, i); err != nil {
						mu.Lock()
						failed = append(failed, err)
						mu.Unlock()
					}
				}
			})
		}
		for i := range o.rounds {
			work <- i
		}
		close(work)
		wg.Wait()
		took := time.Since(begin)
		fmt.Printf("%-22s %5d  %7.1f a second, %d failed\n", fmt.Sprintf("%s, %d at a time", verb, o.parallel), o.rounds, float64(o.rounds)/took.Seconds(), len(failed))
		if len(failed) > 0 {
			return failed[0]
		}
	}
	return nil
}
