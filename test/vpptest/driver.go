package vpptest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// Driver connects the agents' driver to v until the test ends. Its socket root
// is v.Dir/pods.
func (v *VPP) Driver(tb testing.TB) *vpp.VPP {
	tb.Helper()
	d, _ := v.StartDriver(tb)
	return d
}

// StartDriver is Driver with a function that ends it before the test does.
func (v *VPP) StartDriver(tb testing.TB) (*vpp.VPP, func()) {
	tb.Helper()
	return v.StartDriverWith(tb, vpp.Config{})
}

// StartDriverWith is StartDriver with more of a configuration.
func (v *VPP) StartDriverWith(tb testing.TB, cfg vpp.Config) (*vpp.VPP, func()) {
	tb.Helper()
	log := logrus.New()
	log.SetOutput(tb.Output())
	cfg.Socket, cfg.RunDir, cfg.Logger = v.APISocket, v.Dir, logrus.NewEntry(log)
	d := vpp.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("driver: %v", err)
		}
	}
	tb.Cleanup(stop)
	WaitConnected(tb, d)
	return d, stop
}

// WaitConnected waits until the driver has a VPP.
func WaitConnected(tb testing.TB, d *vpp.VPP) {
	tb.Helper()
	Eventually(tb, 15*time.Second, func() error {
		if info := d.Info(); !info.Connected {
			return errors.Join(errors.New("driver not connected"), info.Err)
		}
		return nil
	})
}

// Put puts objects in turn and fails the test where one fails.
func Put(tb testing.TB, d *vpp.VPP, objects ...model.Object) {
	tb.Helper()
	for _, o := range objects {
		if err := d.Put(tb.Context(), o, nil); err != nil {
			tb.Fatal(err)
		}
	}
}

// Socket is the path of a memif socket of a pod, with its directory made.
func (v *VPP) Socket(tb testing.TB, pod, ifname string) string {
	tb.Helper()
	dir := filepath.Join(v.Dir, "pods", pod)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir, "memif-"+ifname+".sock")
}
