package report

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxHealth is the most of an answer in bytes that an error repeats.
const maxHealth = 4 << 10

// Healthy asks the agent that serves at address for path, /livez or /readyz. An
// answer other than 200 is an error with what the agent says. ctx bounds it.
func Healthy(ctx context.Context, address, path string) error {
	client, url, err := dial(address)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("agent %s: %w", address, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("agent %s: %w", address, plain(err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	if err != nil {
		return fmt.Errorf("agent %s: %w", address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("agent %s: %s: %s", address, resp.Status, strings.ToValidUTF8(strings.TrimSpace(string(body)), "?"))
	}
	return nil
}
