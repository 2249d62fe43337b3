// Command vppsim runs a simulated VPP as a process of its own, for tests and
// demonstrations that want processes. It is started by its own flags, or with
// the -c option of a real VPP. It is no VPP to carry traffic with: see package
// vppsim.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

// exitCrash is how the process ends when the simulated VPP crashed: as a shell
// tells of SIGABRT, with which VPP ends.
const exitCrash = 134

var errCrashed = errors.New("simulated VPP crashed")

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errCrashed):
		os.Exit(exitCrash)
	default:
		fmt.Fprintln(os.Stderr, "vppsim:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	if opts.version {
		_, err = fmt.Fprintln(stdout, "vppsim, a simulated VPP", vppsim.Version)
		return err
	}
	log := logrus.New()
	log.SetOutput(stderr)
	if opts.debug {
		log.SetLevel(logrus.DebugLevel)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	sim, err := vppsim.Start(vppsim.Config{
		APISocket:  opts.apiSocket,
		RuntimeDir: opts.runtimeDir,
		PID:        uint32(os.Getpid()), // a process id is positive
		Logger:     log,
	})
	if err != nil {
		return err
	}
	log.WithFields(logrus.Fields{"id": opts.apiSocket, "pid": sim.PID()}).Info("simulated VPP serves its API")
	return serve(ctx, sim, opts.faultSocket, log)
}

// serve runs until a signal or until the simulated VPP has died and stays dead.
func serve(ctx context.Context, sim *vppsim.Sim, faultSocket string, log logrus.FieldLogger) error {
	if faultSocket != "" {
		control, err := listenControl(faultSocket, sim, log)
		if err != nil {
			sim.Close()
			return err
		}
		defer control.close()
	}
	for {
		select {
		case <-ctx.Done():
			log.Info("simulated VPP was told to end")
			sim.Close()
			return nil
		case <-sim.Done():
			if !sim.Alive() {
				return errCrashed
			}
		}
	}
}
