package report

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
)

const (
	// askTimeout bounds the agent's answer: it dumps all of VPP for it, which it
	// bounds by 30 s itself.
	askTimeout = 35 * time.Second
	// maxHeader is what of an answer's head is read. The longest has a reason in it.
	maxHeader = 64 << 10
	// maxReport is the largest report in bytes: 10,000 attachments that all
	// differ stay under it.
	maxReport = 64 << 20
)

// Ask gets the report of the agent that serves at address: unix:///path,
// http://host:port or host:port. A report that cannot be complete, as while VPP
// is away, is an error that says why.
func Ask(ctx context.Context, address string) (Report, error) {
	client, url, err := dial(address)
	if err != nil {
		return Report{}, err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/verify", http.NoBody)
	if err != nil {
		return Report{}, fmt.Errorf("agent %s: %w", address, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Report{}, fmt.Errorf("agent %s: %w", address, plain(err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReport+1))
	if err != nil {
		return Report{}, fmt.Errorf("agent %s: %w", address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return Report{}, fmt.Errorf("agent %s: %s: %s", address, resp.Status, reason(resp.Header.Get("Warning"), body))
	}
	if len(body) > maxReport {
		return Report{}, fmt.Errorf("agent %s: the report is over %d bytes", address, maxReport)
	}
	var r Report
	if err := json.Unmarshal(body, &r); err != nil {
		return Report{}, fmt.Errorf("agent %s: the report cannot be read: %w", address, err)
	}
	if r.Node == "" {
		return Report{}, fmt.Errorf("agent %s: the report names no node", address)
	}
	return r, nil
}

// dial makes the client for an agent's address, and the URL to ask.
func dial(address string) (*http.Client, string, error) {
	t := &http.Transport{MaxResponseHeaderBytes: maxHeader}
	if path, ok := strings.CutPrefix(address, "unix://"); ok && strings.HasPrefix(path, "/") {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
		return &http.Client{Transport: t}, "http://agent", nil
	}
	addr := strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/")
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" || strings.Contains(addr, "/") {
		return nil, "", fmt.Errorf("agent %q is not allowed: unix:///path, http://host:port or host:port", address)
	}
	if host == "" { // the agent listens on every address
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	return &http.Client{Transport: t}, "http://" + addr, nil
}

// plain takes the URL off an HTTP client's error: for a socket it is made up. What
// quotes an answer that is none is shortened.
func plain(err error) error {
	if u := errors.Unwrap(err); u != nil {
		err = u
	}
	if s := err.Error(); len(s) > maxReason {
		return errors.New(shortened(s))
	}
	return err
}

// maxReason is how much of what an agent says stands in an error, in bytes.
const maxReason = 200

func shortened(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason] + "…"
	}
	return strings.ToValidUTF8(s, "?")
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
	return shortened(s)
}
