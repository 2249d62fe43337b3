package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// verifyTimeout bounds the agent's answer: it dumps all of VPP for it, which
	// it bounds by 30 s itself.
	verifyTimeout = 35 * time.Second
	// maxReport is the largest report in bytes: 10,000 attachments that all
	// differ stay under it.
	maxReport = 64 << 20
)

// report is what a host agent answers to GET /verify. A field that this version
// does not know is ignored: it is for people.
type report struct {
	Node    string    `json:"node"`
	VPPPID  uint32    `json:"vppPID"`
	InSync  bool      `json:"inSync"`
	Drift   []drift   `json:"drift"`
	Pending []pending `json:"pending"`
}

// pending is an attachment that is not ready, and why.
type pending struct {
	Attachment string `json:"attachment"`
	Reason     string `json:"reason"`
	Message    string `json:"message"`
}

// drift is one object that VPP does not hold as desired.
type drift struct {
	Op         string `json:"op"` // what would mend it
	Object     string `json:"object"`
	Attachment string `json:"attachment"`
	Want       string `json:"want"`
	Have       string `json:"have"`
}

func (a *app) verify() *cobra.Command {
	var agent, node, form string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Compare what is desired with what this node's VPP really holds",
		Long: `Compare what etcd says this node's VPP should hold with what it does hold, and
print each difference: "-" is what is desired, "+" is what VPP has. The host agent
dumps VPP for it and changes nothing.

The agent is asked over its socket (agent.http in the configuration file), so
verify runs on the node itself, or with --agent wherever that can be reached.

Exit codes: 0 VPP holds what is desired, 1 it does not, 2 error.`,
		Example: `  vpp-cnictl verify
  vpp-cnictl verify --agent unix:///run/vpp-cni/agent.sock --node worker-1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(form, formTable, formJSON, formYAML); err != nil {
				return err
			}
			if agent == "" {
				f, err := a.load()
				if err != nil {
					return err
				}
				agent = f.Agent.HTTP
			}
			return a.runVerify(c.Context(), agent, node, form)
		},
	}
	c.Flags().StringVar(&agent, "agent", "", "the agent's socket or address: unix:///path, http://host:port (default: agent.http of the configuration file)")
	a.nodeFlag(c, &node, "fail unless the agent is this node's")
	output(c, &form, formTable, formJSON, formYAML)
	return c
}

func (a *app) runVerify(ctx context.Context, agent, node, form string) error {
	r, err := ask(ctx, agent)
	if err != nil {
		return err
	}
	if node != "" && r.Node != node {
		return fmt.Errorf("the agent at %s is of node %q, not %q", agent, r.Node, node)
	}
	if form == formTable {
		a.printReport(r)
	} else if err := a.encode(form, r); err != nil {
		return err
	}
	if !r.InSync || len(r.Drift) > 0 {
		return errDrift
	}
	return nil
}

// ask gets the agent's report.
func ask(ctx context.Context, agent string) (report, error) {
	client, url, err := dial(agent)
	if err != nil {
		return report{}, err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/verify", http.NoBody)
	if err != nil {
		return report{}, fmt.Errorf("agent %s: %w", agent, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return report{}, fmt.Errorf("agent %s: %w", agent, plain(err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReport+1))
	if err != nil {
		return report{}, fmt.Errorf("agent %s: %w", agent, err)
	}
	if resp.StatusCode != http.StatusOK {
		return report{}, fmt.Errorf("agent %s: %s: %s", agent, resp.Status, reason(resp.Header.Get("Warning"), body))
	}
	if len(body) > maxReport {
		return report{}, fmt.Errorf("agent %s: the report is over %d bytes", agent, maxReport)
	}
	var r report
	if err := json.Unmarshal(body, &r); err != nil {
		return report{}, fmt.Errorf("agent %s: the report cannot be read: %w", agent, err)
	}
	if r.Node == "" {
		return report{}, fmt.Errorf("agent %s: the report names no node", agent)
	}
	return r, nil
}

// dial makes the client for an agent's address, and the URL to ask.
func dial(agent string) (*http.Client, string, error) {
	t := &http.Transport{}
	if path, ok := strings.CutPrefix(agent, "unix://"); ok && strings.HasPrefix(path, "/") {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
		return &http.Client{Transport: t}, "http://agent", nil
	}
	addr := strings.TrimSuffix(strings.TrimPrefix(agent, "http://"), "/")
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" || strings.Contains(addr, "/") {
		return nil, "", fmt.Errorf("agent %q is not allowed: unix:///path, http://host:port or host:port", agent)
	}
	if host == "" { // the agent listens on every address
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	return &http.Client{Transport: t}, "http://" + addr, nil
}

// plain takes the URL off an HTTP client's error: for a socket it is made up.
func plain(err error) error {
	if u := errors.Unwrap(err); u != nil {
		return u
	}
	return err
}

// reason is why an agent has no report: the text of its header Warning, which
// reads 199 - "text", else the first line of the body.
func reason(warning string, body []byte) string {
	s, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if quoted, ok := strings.CutPrefix(warning, "199 - "); ok {
		if text, err := strconv.Unquote(quoted); err == nil {
			s = text
		}
	}
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return clean(strings.ToValidUTF8(s, "?"))
}

func (a *app) printReport(r report) {
	head := "node " + r.Node
	if r.VPPPID != 0 {
		head += fmt.Sprintf(", VPP process %d", r.VPPPID)
	}
	switch {
	case len(r.Drift) > 0:
		a.line("%s: %d differences (- desired, + in VPP)", head, len(r.Drift))
	case r.InSync:
		a.line("%s: in sync", head)
	default:
		a.line("%s: not in sync", head)
	}
	for _, d := range r.Drift {
		a.line("")
		owner := ""
		if d.Attachment != "" {
			owner = " (attachment " + d.Attachment + ")"
		}
		a.line("%s", clean(d.Op+" "+d.Object+owner))
		a.diff("-", d.Want)
		a.diff("+", d.Have)
	}
	if len(r.Pending) > 0 {
		a.line("")
		a.line("not ready: %d", len(r.Pending))
	}
	for _, p := range r.Pending {
		text := "  " + p.Attachment + " " + p.Reason
		if p.Message != "" {
			text += ": " + p.Message
		}
		a.line("%s", clean(text))
	}
}

// diff prints the lines of one side, if it has any.
func (a *app) diff(mark, text string) {
	if text == "" {
		return
	}
	for l := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		a.line("  %s %s", mark, clean(l))
	}
}
