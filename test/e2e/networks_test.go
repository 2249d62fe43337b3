package e2e

import (
	"fmt"
	"strings"
)

// network is a network configuration for a test, in the form a user writes.
type network struct {
	name      string
	host      string // the "host" section
	container string // the "container" section, empty for none
	subnet4   string // empty for no IPAM of that family
	subnet6   string
	extra     string // further fields, each ending in a comma
}

// list is the configuration list; @CONFIG@ and @IPAM@ are filled in by the lab.
func (n network) list() string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"cniVersion": "1.1.0", "name": %q, "plugins": [{"type": "vpp-cni", %s "configFile": "@CONFIG@", "host": %s`,
		n.name, n.extra, n.host)
	if n.container != "" {
		fmt.Fprintf(&b, `, "container": %s`, n.container)
	}
	b.WriteString(n.ipam())
	b.WriteString(`}]}`)
	return b.String()
}

func (n network) ipam() string {
	var ranges, routes []string
	for _, s := range []struct{ subnet, all string }{{n.subnet4, "0.0.0.0/0"}, {n.subnet6, "::/0"}} {
		if s.subnet == "" {
			continue
		}
		ranges = append(ranges, fmt.Sprintf(`[{"subnet": %q}]`, s.subnet))
		routes = append(routes, fmt.Sprintf(`{"dst": %q}`, s.all))
	}
	if ranges == nil {
		return ""
	}
	return fmt.Sprintf(`, "ipam": {"type": "host-local", "dataDir": "@IPAM@", "ranges": [%s], "routes": [%s]}`,
		strings.Join(ranges, ", "), strings.Join(routes, ", "))
}
