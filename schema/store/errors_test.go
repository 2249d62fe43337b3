package store

import (
	"context"
	"testing"
	"time"
)

// TestTimeoutsReadAlike: a time-out that comes again has the same text, so that
// an agent can tell of it once.
func TestTimeoutsReadAlike(t *testing.T) {
	t.Parallel()
	s, err := Open(Config{Endpoints: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const want = "list x: etcd is not available at http://127.0.0.1:1: no answer within 5s: context deadline exceeded"
	for _, took := range []time.Duration{5 * time.Second, 5001 * time.Millisecond, 5060 * time.Millisecond} {
		if got := s.classify(t.Context(), "list x", took, context.DeadlineExceeded).Error(); got != want {
			t.Errorf("after %v: %s, want %s", took, got, want)
		}
	}
	if got, want := roughly(255*time.Millisecond), 255*time.Millisecond; got != want {
		t.Errorf("a short time became %v, want %v", got, want)
	}
}
