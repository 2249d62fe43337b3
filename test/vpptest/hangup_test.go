package vpptest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// TestIdleConnectionBreaks: the death of a VPP that nobody asks for anything is
// known before the next ping, which comes once a second: until it is, statuses
// are stale, and nobody begins to fill the next VPP.
func TestIdleConnectionBreaks(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	for range 2 {
		time.Sleep(400 * time.Millisecond) // a ping came 250 ms after the connect
		v.Kill(t)
		begin := time.Now()
		vpptest.Eventually(t, 5*time.Second, func() error {
			if d.Info().Connected {
				return errors.New("VPP is dead, the driver is connected to it")
			}
			return nil
		})
		took := time.Since(begin)
		t.Logf("known after %s", took.Round(time.Millisecond))
		if took > 500*time.Millisecond {
			t.Errorf("the death of VPP was known after %s", took)
		}
		v.Restart(t)
		vpptest.WaitConnected(t, d)
	}
}
