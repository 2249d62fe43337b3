// Command scale shows that what VPP CNI costs grows with what it holds and no
// faster: attachments on one node, and nodes on one etcd, each at three sizes,
// with the cost of one unit. It exits with 1 where a unit costs more at the
// largest size than at the smallest, by more than a factor. It uses the built
// programs as processes; etcd runs inside, so that its own counters tell what
// all its clients ask and get. VPP= takes a real VPP for the attachments on one
// node, beside the simulator; the nodes have simulators. How fast a thing is
// belongs to test/bench.
//
// # The factors
//
// Writes, events and requests are counts: 1.1 leaves room for the odd refresh
// that falls into one run and not into another. Bytes: 1.25, since numbers and
// names grow longer. Memory: 1.5, since Go's heap is between one and two times
// what is in use. CPU: 2, since the larger sizes keep both processors busy and
// what runs side by side takes longer; work that grew with the square of the size
// would show as 4 and as 10. Less a unit is never wrong: fixed costs are shared by
// more.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// errGrows says that a unit's cost grows; the table has said which.
var errGrows = errors.New("the cost of a unit grows")

type options struct {
	bin, vpp string
	// real and simulated are the numbers of attachments on one node.
	real, simulated []int
	// nodes are the numbers of nodes on one etcd, with so many attachments each.
	nodes []int
	each  int
	// idle is how long the nodes are watched doing nothing. The audit comes once a
	// minute.
	idle time.Duration
}

func main() {
	o := options{
		real: []int{250, 500, 1000}, simulated: []int{2500, 5000, 10000},
		nodes: []int{10, 30, 100}, each: 10, idle: time.Minute,
	}
	flag.StringVar(&o.bin, "bin", "bin", "`directory` of the built programs")
	flag.StringVar(&o.vpp, "vpp", os.Getenv("VPP"), "`path` of a real VPP (VPP=)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, o); {
	case errors.Is(err, errGrows):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	flat := true
	show := func(t table, err error) error {
		if err == nil {
			flat = t.print(os.Stdout) && flat
		}
		return err
	}
	if o.vpp != "" {
		if err := show(attachments(ctx, o, o.vpp, o.real)); err != nil {
			return err
		}
	}
	if err := show(attachments(ctx, o, "", o.simulated)); err != nil {
		return err
	}
	if err := show(nodes(ctx, o)); err != nil {
		return err
	}
	if !flat {
		fmt.Println("NOT FLAT: see the lines with NO.")
		return errGrows
	}
	fmt.Println("Flat: no unit costs more at the largest size than at the smallest, but for the factor.")
	return nil
}
