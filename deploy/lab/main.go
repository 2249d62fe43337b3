package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{Use: "lab", Short: "The compose lab of VPP CNI", SilenceUsage: true, SilenceErrors: true}
	var dir string
	outside := func(use, short string, do func(context.Context, *compose) error) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			engine, err := newCompose(c.Context(), dir)
			if errors.Is(err, errNoEngine) && os.Getenv("CI") != "true" {
				fmt.Println("SKIPPED, THE LAB NEEDS DOCKER AND DOCKER COMPOSE:", err)
				return nil
			}
			if err != nil {
				return err
			}
			return do(c.Context(), engine)
		}}
		c.Flags().StringVar(&dir, "dir", "deploy/compose", "the directory of docker-compose.yml")
		return c
	}
	var r request
	call := &cobra.Command{
		Use: "cni ADD|CHECK|DEL", Short: "Call the plugins for a pod, as a container runtime on this node does",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"ADD", "CHECK", "DEL"},
		RunE:      func(c *cobra.Command, args []string) error { return r.call(c.Context(), args[0], os.Stdout) },
	}
	f := call.Flags()
	f.StringVar(&r.name, "pod", "", "the pod's name")
	f.StringVar(&r.uid, "uid", "", "the pod's UID")
	f.StringVar(&r.ifname, "ifname", "net1", "the interface's name")
	f.StringVar(&r.network, "network", "red", "the network's name, as a file in --conf-dir has it")
	f.StringVar(&r.confDir, "conf-dir", "/etc/cni/net.d", "the directory of network configurations")
	f.StringVar(&r.binDir, "bin-dir", "/opt/cni/bin", "the directory of plugins")
	for _, name := range []string{"pod", "uid"} {
		_ = call.MarkFlagRequired(name) // an error for a flag that does not exist
	}
	var p pinging
	ping := &cobra.Command{
		Use: "ping ADDRESS", Short: "Send echo requests from a VPP", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return p.ping(c.Context(), args[0], os.Stdout) },
	}
	ping.Flags().StringVar(&p.socket, "vpp-socket", "/run/vpp/api.sock", "VPP's binary API socket")
	ping.Flags().IntVar(&p.count, "count", 5, "how many requests")
	ping.Flags().DurationVar(&p.within, "within", 30*time.Second, "how long to try until all are answered")
	root.AddCommand(outside("up", "Start the lab, attach its pods and let them ping", up), outside("down", "Take the lab away", down), call, ping)
	return root
}
