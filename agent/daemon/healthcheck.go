package daemon

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpp-cni/vpp-cni/schema/report"
)

// HealthTimeout bounds the command healthcheck: an orchestrator asks every few
// seconds.
const HealthTimeout = 5 * time.Second

// HealthCommand is the command healthcheck of both agents: it asks the agent that
// runs, for images that have no program to ask with. address says where that one
// serves.
func HealthCommand(address func() (string, error)) *cobra.Command {
	path := "/readyz"
	var live bool
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the running agent whether it is ready",
		Long: `healthcheck asks the agent that runs on this machine, or in this pod, for /readyz,
with --live for /livez. It ends with status 0 if the answer is yes, else with 1
and the reason on standard error.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			addr, err := address()
			if err != nil {
				return err
			}
			if live {
				path = "/livez"
			}
			ctx, cancel := context.WithTimeout(c.Context(), HealthTimeout)
			defer cancel()
			return report.Healthy(ctx, addr, path)
		},
	}
	c.Flags().BoolVar(&live, "live", false, "ask whether it lives, not whether it is ready")
	return c
}
