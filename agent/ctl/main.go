// Command vpp-cnictl shows and checks what VPP CNI holds in etcd and, through
// the host agents' own reports, in VPP, and takes an operator's word on networks
// and nodes. It programs no VPP: the agents do.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// The exit codes; --help says the same.
const (
	exitDone  = 0
	exitDrift = 1 // verify: VPP does not hold what is desired
	exitError = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errDrift ends a verify that has already printed what it found.
var errDrift = errors.New("VPP does not hold what is desired")

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, errOut: errOut}
	root := a.root() //nolint:contextcheck // cobra hands the context to each command
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errDrift):
		return exitDrift
	default:
		// One line: joined errors stand on several. Errors quote what agents and
		// pods say.
		_, _ = io.WriteString(errOut, "vpp-cnictl: "+clean(strings.ReplaceAll(err.Error(), "\n", "; "))+"\n")
		return exitError
	}
}
