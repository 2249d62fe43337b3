// Command weigh runs a program and writes its peak memory in KiB to file
// descriptor 3. It is there because Linux counts what the starting process had
// in memory into the peak of the one that it starts, and this one is small.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func main() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "weigh:", err)
		os.Exit(1)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		os.Exit(1)
	}
	_, _ = fmt.Fprintln(os.NewFile(3, "peak"), usage.Maxrss)
}
