package robustness

import (
	"context"
	"sync"
	"testing"
	"time"
)

// TestPulse: a call is let off when etcd did not answer for too long in its round,
// also where the answer is still awaited when the call has failed, and not else.
func TestPulse(t *testing.T) {
	t.Parallel()
	var p pulse
	held, stood := make(chan struct{}, 1), make(chan time.Duration, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		p.feel(ctx, func(context.Context) error {
			select {
			case <-held:
				time.Sleep(stillBound + 100*time.Millisecond)
			default:
			}
			return nil
		}, func(gap time.Duration) { stood <- gap })
	})
	defer wg.Wait()
	defer cancel()
	if p.stoodStill(ctx, p.stills()) {
		t.Error("a quick answer counts as none")
	}
	held <- struct{}{}
	if !p.stoodStill(ctx, 0) {
		t.Error("an answer after more than the bound does not count")
	}
	if gap := <-stood; gap < stillBound {
		t.Errorf("told of %s", gap)
	}
	if p.stoodStill(ctx, p.stills()) {
		t.Error("it counts in the next round, too")
	}
	if p.excuse() == "" {
		t.Error("the excuse is not told")
	}
}
