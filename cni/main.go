package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/vpp-cni/vpp-cni/cni/early"
	"github.com/vpp-cni/vpp-cni/cni/install"
	"github.com/vpp-cni/vpp-cni/schema/version"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run serves one call and returns the exit code.
func run(args []string) (code int) {
	spec := ""
	defer func() {
		if r := recover(); r != nil {
			code = printError(os.Stdout, spec, &types.Error{
				Code: types.ErrInternal, Msg: "the plugin failed in a way that was not foreseen", Details: fmt.Sprintf("%v\n%s", r, debug.Stack()),
			})
		}
	}()
	if len(args) > 0 {
		if install.Verb(args[0]) {
			return install.Run(args[0], args[1:], checkConf, os.Stdout, os.Stderr)
		}
		return usage(args[0])
	}
	spec, err := boundStdin(os.Getenv("CNI_COMMAND"))
	if err != nil {
		return printError(os.Stdout, spec, asError(err))
	}
	e := skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add:    cmdAdd,
		Del:    cmdDel,
		Check:  cmdCheck,
		GC:     cmdGC,
		Status: cmdStatus,
	}, supported(), about())
	if e != nil {
		return printError(os.Stdout, spec, e)
	}
	return 0
}

// supported are the versions of the CNI specification. Where standard output
// takes it, package early has given this answer before main began.
func supported() cniversion.PluginInfo {
	return cniversion.PluginSupports(early.Versions()...)
}

func about() string {
	return "vpp-cni " + version.Version + ": CNI plugin for FD.io VPP over memif and vhost-user.\n" +
		"A container runtime starts it with CNI_COMMAND set and a network configuration on standard input.\n" +
		"By hand: vpp-cni install and vpp-cni uninstall put it on a node and take it away (--help lists their options)."
}

// checkConf checks a network configuration before it is installed, as far as
// that can be done without the node's own configuration.
func checkConf(data []byte) error {
	c, err := parseConfig(data)
	if err != nil {
		return err
	}
	_, err = c.ends()
	return err
}

// usage serves somebody who starts the plugin by hand.
func usage(arg string) int {
	switch arg {
	case "-h", "--help", "-help", "help", "-v", "--version", "-version", "version":
		fmt.Println(about())
		return 0
	}
	fmt.Fprintf(os.Stderr, "unknown argument %q\n%s\n", arg, about())
	return 2
}
