// Command bench holds VPP CNI to its bounds of time, CPU and memory: one run,
// one table, and a last line that says which bounds hold; it exits with 1 where
// one does not. It starts its own etcd (with fsync), VPP and agent, and uses the
// built programs as a runtime and an operator do: every call is a process of its
// own. VPP= takes a real VPP. Correctness belongs to the tests.
//
// # The floor
//
// Beside each figure stands what the least that could do the same took in the
// same run: an empty Go program for VERSION, and for ADD and DEL one lasting
// GoVPP and etcd client that makes the same writes in turn, with nothing around
// it. For a VPP restart it is a client that has the same number of attachments
// ready in memory and sends a fresh VPP the same calls in the same safe order,
// each sort of call in one stream that never waits for a reply.
//
// # How it judges
//
// Times wobble with the machine, and those of the floor wobble with them. So a
// bound of a time, a rate or of CPU is widened by how much slower than on a
// quiet machine the floor was in the same run (judge.go: quiet), and never
// narrowed: ADD and DEL also by how slow the empty program was between those very
// calls, the 99th hundredth by the floor's, a rate by the floor's rate and the
// empty program's CPU, all others by its median. Bounds of ratios, counts and
// sizes are judged as they stand; that of a VPP restart is for a real VPP, since
// the simulator answers in no time.
//
// The run-dir is on tmpfs, as /run is on a node, where this machine has
// /dev/shm; etcd's data are on disk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	o := options{}
	quick := flag.Bool("quick", false, "few calls and attachments, to try it: 99th hundredths are then the worst of few, and have no bounds")
	flag.StringVar(&o.bin, "bin", "bin", "`directory` of the built programs")
	flag.BoolVar(&o.vppRestart, "vpp-restart", false, "only what is said of a VPP restart")
	flag.StringVar(&o.vpp, "vpp", os.Getenv("VPP"), "`path` of a real VPP instead of the simulator (VPP=)")
	flag.BoolVar(&o.gatewaysOnly, "gateways", false, "only what is said of the pods' gateways")
	flag.Parse()
	o.sizes(*quick)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, o); {
	case errors.Is(err, errBounds):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	bin, vpp string
	// rounds is how many calls of each kind are made one by one, parallel how
	// many are under way in the part with many at a time.
	rounds, parallel int
	// node is how many attachments stand while agent and VPP are restarted, held
	// how many the node holds at the end.
	node, held int
	// restarts is how often each is restarted.
	restarts int
	// vppRestart leaves out all but that part, gatewaysOnly all but the pods'
	// gateways.
	vppRestart, gatewaysOnly bool
}

// sizes sets how much is done: what the bounds speak of, or less.
func (o *options) sizes(quick bool) {
	o.rounds, o.parallel, o.node, o.held, o.restarts = 300, 16, 1000, 1000, 7
	if o.vpp == "" {
		o.held = 10000
	}
	if quick {
		o.rounds, o.node, o.held, o.restarts = 40, 200, 200, 3
	}
}
