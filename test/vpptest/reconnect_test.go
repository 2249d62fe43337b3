package vpptest_test

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// TestBackSoonAfterADyingVPP: the attempt that follows the death of a VPP may
// still be taken by its listening socket, and be reset. That is no reason to
// leave the next VPP empty for a second.
func TestBackSoonAfterADyingVPP(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	dying := v.APISocket + ".dying"
	l, err := net.Listen("unix", dying)
	if err != nil {
		t.Fatal(err)
	}
	v.Kill(t)
	_ = os.Remove(v.APISocket)
	if err = os.Rename(dying, v.APISocket); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	_ = l.Close()
	v.Restart(t)
	vpptest.WaitConnected(t, d)
	end := time.Now()
	socket, err := os.Stat(v.APISocket)
	if err != nil {
		t.Fatal(err)
	}
	took := end.Sub(socket.ModTime()) // VPP bound it then
	t.Logf("connected after %s", took.Round(time.Millisecond))
	if took > 500*time.Millisecond {
		t.Errorf("the next VPP stayed empty for %s", took)
	}
}
