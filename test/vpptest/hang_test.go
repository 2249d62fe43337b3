package vpptest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// TestHangUnderAFullSocket: VPP hangs during a dump of so many requests that they
// do not all fit into its socket, and the writer waits. The dump ends in its time,
// the driver says that VPP is away, and goes on with it when it is back.
func TestHangUnderAFullSocket(t *testing.T) {
	v := vpptest.Start(t)
	d, _ := v.StartDriverWith(t, vpp.Config{CallTimeout: time.Second})
	var objs []model.Object
	for n := range 500 { // four requests each
		objs = append(objs, model.Loopback{Tag: model.Tag(fmt.Sprintf("vpp-cni/gw/%d/x", n)), MAC: model.MAC{2, 7, byte(n >> 8), byte(n)}})
	}
	vpptest.Put(t, d, objs...)
	same(t, d, objs...)
	for round := range 3 {
		ended := make(chan error, 1)
		go func() {
			for {
				if _, err := d.Dump(context.Background()); err != nil {
					ended <- err
					return
				}
			}
		}()
		time.Sleep(100*time.Millisecond + time.Duration(round)*3*time.Millisecond)
		v.Freeze(t)
		begin := time.Now()
		select {
		case err := <-ended:
			if !errors.Is(err, vpp.ErrDown) {
				t.Errorf("dump of a hanging VPP: %v, want ErrDown", err)
			}
			t.Logf("the dump ended after %s: %v", time.Since(begin).Round(time.Millisecond), err)
		case <-time.After(8 * time.Second):
			t.Error("a dump of a hanging VPP does not end")
		}
		vpptest.Eventually(t, 5*time.Second, func() error {
			if d.Info().Connected {
				return errors.New("the driver says that VPP is well")
			}
			return nil
		})
		v.Thaw(t)
		vpptest.Eventually(t, 20*time.Second, func() error {
			_, err := d.Dump(context.Background())
			return err
		})
	}
	same(t, d, objs...)
}
