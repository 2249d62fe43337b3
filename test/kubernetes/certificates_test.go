package kubernetes_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/vpp-cni/vpp-cni/test/kubernetes/cluster"
)

// pki is where etcd's certificates are made; nodeTLS is where a node has its own.
var pki = filepath.Join(cluster.StateDir, "etcd-pki")

const nodeTLS = "/etc/vpp-cni/node-tls"

// certificates runs etcd-certificates.sh and gives the Secrets.
func certificates(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(deployDir, "etcd-certificates.sh"), args...)
	cmd.Stderr = os.Stderr
	secrets, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(secrets)
}

// connect makes a client of the etcd in the cluster, with a certificate by its name
// in pki.
func connect(t *testing.T, name string) *clientv3.Client {
	t.Helper()
	info := transport.TLSInfo{
		CertFile: filepath.Join(pki, name+".crt"), KeyFile: filepath.Join(pki, name+".key"), TrustedCAFile: filepath.Join(pki, "ca.crt"),
	}
	tls, err := info.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: tls, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const endpoint = "https://" + cluster.NodeIP + ":22379"

// ownCertificate gives the node a certificate of its own, and etcd users, as the
// documentation tells whose nodes have shared one.
func (w *world) ownCertificate(t *testing.T) {
	const other = "worker-2"
	if secrets := certificates(t, "--node", cluster.NodeName, "--node", other, pki); secrets != "" {
		t.Errorf("Secrets with nodes' certificates:\n%s", secrets)
	}
	if err := os.CopyFS(nodeTLS, os.DirFS(filepath.Join(pki, "nodes", cluster.NodeName))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(nodeTLS, 0o700); err != nil {
		t.Fatal(err)
	}
	w.unmoved(t, func() {
		w.overlay += "-node-certificates"
		w.kubectl(t, "apply", "-k", w.overlay)
		w.rolledOut(t, "daemonset/vpp-agent")
		w.kubectl(t, "delete", "secret", "-n", system, "vpp-cni-etcd-client")
		if err := w.etcd.Close(); err != nil {
			t.Fatal(err)
		}
		w.etcd = connect(t, "operator")
		out, err := w.cnictl(t.Context(), "etcd", "init-roles", "--endpoints", endpoint, "--cacert", filepath.Join(pki, "ca.crt"),
			"--cert", filepath.Join(pki, "root.crt"), "--key", filepath.Join(pki, "root.key"), "--node", cluster.NodeName, "--node", other, "--enable")
		if err != nil || !strings.HasSuffix(out, "authentication: enable\n") {
			t.Fatalf("%v: %s", err, out)
		}
	})
	for _, who := range []string{"client", "nodes/" + other + "/tls", "server"} {
		c := connect(t, who)
		for _, prefix := range []string{keyPrefix, keyPrefix + "nodes/" + cluster.NodeName + "/"} {
			if _, err := c.Get(t.Context(), prefix, clientv3.WithPrefix()); !errors.Is(err, rpctypes.ErrPermissionDenied) {
				t.Errorf("%s reads %s: %v", who, prefix, err)
			}
		}
		if _, err := c.Put(t.Context(), keyPrefix+"nodes/"+cluster.NodeName+"/x", "x"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s writes keys of %s: %v", who, cluster.NodeName, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	out, err := w.cnictl(t.Context(), "get", "attachments")
	t.Logf("vpp-cnictl get attachments, as the node: %v\n%s", err, out)
	w.renewed(t)
}

// renewed renews the node's certificate, by files that are written in place.
func (w *world) renewed(t *testing.T) {
	t.Helper()
	certificates(t, "--node", cluster.NodeName, pki)
	w.unmoved(t, func() {
		var want []byte
		for _, name := range []string{"tls.crt", "tls.key"} {
			data, err := os.ReadFile(filepath.Join(pki, "nodes", cluster.NodeName, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(nodeTLS, name), data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			want = data
		}
		// Not to wait for its minute.
		w.signal(t, system, w.podOf(t, "vpp-agent"), "installed", syscall.SIGHUP)
		w.eventually(t, "the new certificate is installed", func(context.Context) error {
			have, err := os.ReadFile("/etc/vpp-cni/tls/tls.key")
			if err == nil && !bytes.Equal(have, want) {
				err = errors.New("it is the old one")
			}
			return err
		})
	})
}
