// Command demo shows VPP CNI at work on one machine: an embedded etcd, a host
// VPP with its agent, the plugin through libcni, and two pods with VPPs of their
// own that ping each other. It needs no root, no fixed port and nothing
// installed. It is a story to read and a place to try commands, not a test.
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

func main() {
	bin := flag.String("bin", "bin", "`directory` of the built programs")
	keep := flag.Bool("keep", os.Getenv("KEEP") != "", "leave everything running until Ctrl-C and print what to try (KEEP=1)")
	vpp := flag.String("vpp", os.Getenv("VPP"), "`path` of a real VPP instead of the simulator (VPP=)")
	flag.Parse()

	for _, name := range []string{"VPP_CNI_CONFIG", "ETCDCTL_ENDPOINTS"} {
		_ = os.Unsetenv(name) // of a cluster of the operator's own; only a bad name is an error
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, options{bin: *bin, keep: *keep, vpp: *vpp}); err != nil && !errors.Is(err, errInterrupted) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type options struct {
	bin  string
	keep bool
	vpp  string
}

var errInterrupted = errors.New("interrupted")

// run tells the story and takes everything down again, whatever happens.
func run(ctx context.Context, o options) (err error) {
	s, err := newStory(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	begin := time.Now()
	for _, chapter := range []func(context.Context) error{
		s.startNode, s.attach, s.keys, s.startPods, s.ping, s.check,
	} {
		chapterCtx, cancel := context.WithTimeout(ctx, time.Minute)
		err := chapter(chapterCtx)
		cancel()
		if err != nil {
			return err
		}
	}
	if o.keep {
		s.invite()
		<-ctx.Done()
		fmt.Println()
		// The chapters that follow must still run after Ctrl-C.
		ctx = context.WithoutCancel(ctx)
	}
	for _, chapter := range []func(context.Context) error{s.detach, s.nothingLeft} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\nDone in %.1f s.\n", time.Since(begin).Seconds())
	return nil
}
