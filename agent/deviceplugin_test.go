package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/kubelettest"
)

// TestDevicePlugin: the kubelet hears of the node's attachments, of a VPP that is
// away, and of the agent's end.
func TestDevicePlugin(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	dir := filepath.Join(n.dir, "device-plugins")
	config, err := os.OpenFile(filepath.Join(n.dir, "config.yaml"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = config.WriteString("agent:\n  leaseTTL: 2s\n  maxAttachments: 10\n  devicePlugin: {dir: " + dir + "}\n")
	if err = errors.Join(err, config.Close(), os.Mkdir(dir, 0o750)); err != nil {
		t.Fatal(err)
	}
	kubelet := kubelettest.Start(t, dir, kubelettest.Faults{})
	p := start(t, append(n.args, "--device-plugin")...)
	kubelet.Hears(t, "0 of 10")
	sim := n.startVPP(t)
	kubelet.Hears(t, "10 of 10")
	eventually(t, "readiness", func() error {
		body, err := n.get(t.Context(), "/readyz")
		if err == nil && !strings.HasPrefix(body, "200\ndevice-plugin: ok\n") {
			err = errors.New(body)
		}
		return err
	})
	n.put(t, "c1", "p1")
	kubelet.Hears(t, "9 of 10")
	n.await(t, "c1")
	if _, err := n.client.Delete(t.Context(), n.keys.Host("n1", schema.ContainerID("c1"), "net1")); err != nil {
		t.Fatal(err)
	}
	kubelet.Hears(t, "10 of 10")
	sim.Close()
	kubelet.Hears(t, "0 of 10")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}
