package store

import (
	"math/rand/v2"
	"time"
)

// growing doubles from first up to limit; try counts from 0.
func growing(try int, first, limit time.Duration) time.Duration {
	d := first
	for range try {
		if d >= limit/2 {
			return limit
		}
		d *= 2
	}
	return d
}

// jitter is between half and all of d, so that many callers do not stay in
// step.
func jitter(d time.Duration) time.Duration {
	if d < 2 {
		return d
	}
	return d/2 + rand.N(d/2) //nolint:gosec // spreading load needs no secrecy
}
