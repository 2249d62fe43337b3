package reconcile

import (
	"math/rand/v2"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// The back-off of one object: doubled at each failure in a row, with up to half
// of it added at random so that many failures do not come back as one wave.
const (
	minRetry = 50 * time.Millisecond
	maxRetry = 30 * time.Second
)

// failure is why an object is not as wanted.
type failure struct {
	err      error
	terminal bool
	// due is when it is tried again. Zero: it has been taken up, or it is
	// terminal and waits for another wish or for the next full pass.
	due time.Time
}

// retries remembers what failed and when to try again.
type retries struct {
	now     func() time.Time
	limiter workqueue.TypedRateLimiter[model.ID]
	failed  map[model.ID]failure
}

func newRetries() retries {
	return retries{
		now:     time.Now,
		limiter: workqueue.NewTypedItemExponentialFailureRateLimiter[model.ID](minRetry, maxRetry),
		failed:  map[model.ID]failure{},
	}
}

// fail notes a failure and sets the time of the next attempt.
func (r retries) fail(id model.ID, err error, terminal bool) {
	f := failure{err: err, terminal: terminal}
	if !terminal {
		wait := r.limiter.When(id)
		f.due = r.now().Add(wait + rand.N(wait/2)) //nolint:gosec // spreads retries, guards nothing
	}
	r.failed[id] = f
}

// forget ends the back-off of id.
func (r retries) forget(id model.ID) {
	if _, ok := r.failed[id]; ok {
		delete(r.failed, id)
		r.limiter.Forget(id)
	}
}

// take lists what is to be tried again now. Each attempt is listed once:
// what comes of it is a new failure, or something that the object waits for.
func (r retries) take() []model.ID {
	now := r.now()
	var out []model.ID
	for id, f := range r.failed {
		if !f.due.IsZero() && !f.due.After(now) {
			f.due = time.Time{}
			r.failed[id] = f
			out = append(out, id)
		}
	}
	return out
}

// next is the earliest time at which something is due.
func (r retries) next() (time.Time, bool) {
	var least time.Time
	for _, f := range r.failed {
		if !f.due.IsZero() && (least.IsZero() || f.due.Before(least)) {
			least = f.due
		}
	}
	return least, !least.IsZero()
}
