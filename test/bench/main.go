// Command bench times VPP CNI as a runtime uses it, whole process by whole
// process, beside a bare GoVPP and etcd client that does the same writes in the
// same run. It starts its own etcd (with fsync), VPP and agent; VPP= takes a
// real VPP. It does not judge: figures wobble with the machine, and the ratio to
// the floor is what to compare.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	o := options{}
	flag.StringVar(&o.bin, "bin", "bin", "`directory` of the built programs")
	flag.StringVar(&o.vpp, "vpp", os.Getenv("VPP"), "`path` of a real VPP instead of the simulator (VPP=)")
	flag.IntVar(&o.rounds, "n", 200, "calls of each kind")
	flag.IntVar(&o.parallel, "parallel", 16, "calls at a time in the parallel part")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	bin, vpp         string
	rounds, parallel int
}
