package kubernetes_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// multusConf makes Multus the node's first network, with what was the only one as
// the default of all pods, as Multus' own installer writes it. (Where
// clusterNetwork is the path of a .conflist, Multus 4.2.2 keeps of it for the DEL
// the plugins' and the IPAM's types only, which host-local refuses.)
const multusConf = `{
  "cniVersion": "1.0.0",
  "name": "multus",
  "type": "multus",
  "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
  "delegates": [%s]
}
`

// multus puts Multus before the plugin, as its own manifests do, and gives the
// pods three more networks.
func (w *world) multus(t *testing.T) {
	w.kubectl(t, "apply", "-k", "testdata/multus")
	w.rolledOut(t, "daemonset/vpp-agent")
	config, err := w.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(bin("kubernetes/multus"))
	if err != nil {
		t.Fatal(err)
	}
	pods, err := os.ReadFile("/etc/cni/net.d/00-vpp-cni.conflist")
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		"/opt/cni/bin/multus":                       program,
		"/etc/cni/net.d/multus.d/multus.kubeconfig": config,
		"/etc/cni/net.d/00-multus.conf":             fmt.Appendf(nil, multusConf, pods),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.networks = map[string]string{"eth0": "pods", "net1": "bridge", "net2": "vlan", "net3": "routed"}
	w.kubectl(t, "apply", "-k", filepath.Join(deployDir, "samples/networks"))
	running := w.well(t)
	t.Logf("%s: %s", networkStatus, w.kubectl(t, "get", "pod", "-n", samples, running[0].Name, "-o", `jsonpath={.metadata.annotations.k8s\.v1\.cni\.cncf\.io/network-status}`))
	w.kubectl(t, "delete", "pod", "-n", samples, running[0].Name)
	w.without(t, running[0])
	w.kubectl(t, "delete", "-k", filepath.Join(deployDir, "samples/networks"))
	w.eventually(t, "nothing is left", func(ctx context.Context) error { return w.exactly(ctx, nil) })
}
