// Program robustness runs test/robustness for as long as it is told; see the
// README there. What it runs and checks belongs to package robustness.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/vpp-cni/vpp-cni/test/robustness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg := robustness.Config{Out: os.Stdout}
	minutes := flag.Float64("minutes", 1, "how long new rounds are begun")
	flag.Uint64Var(&cfg.Seed, "seed", 0, "the seed; 0: a new one, which is printed")
	flag.StringVar(&cfg.BinDir, "bin", "bin", "where the programs are")
	flag.StringVar(&cfg.VPP, "vpp", "", "the VPP to run; empty: the simulator")
	flag.StringVar(&cfg.PodVPP, "pod-vpp", "", "the VPP of the pods; empty: as -vpp")
	flag.IntVar(&cfg.Heavy, "heavy", 3, "pods with a VPP and an agent of their own")
	flag.IntVar(&cfg.Light, "light", 5, "pods of which only the host's end is there")
	flag.IntVar(&cfg.Rounds, "rounds", 0, "how many rounds at most; 0: no bound")
	flag.BoolVar(&cfg.Verbose, "v", false, "print every event as it happens")
	flag.StringVar(&cfg.KeepLogs, "logs", "", "a directory to keep the programs' logs in")
	flag.Parse()
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	cfg.For = time.Duration(*minutes * float64(time.Minute))
	return robustness.Run(ctx, cfg)
}
