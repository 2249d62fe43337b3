// Package kubernetes_test holds what deploy/kubernetes brings along to what the
// programs know. How it fares in a cluster is test/kubernetes'.
package kubernetes_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// certificates runs etcd-certificates.sh and gives the names of the Secrets that it
// prints; an error holds what it says.
func certificates(t *testing.T, args ...string) (secrets []string, err error) {
	t.Helper()
	if _, err = exec.LookPath("openssl"); err != nil {
		text := t.Name() + " NOT RUN: THERE IS NO OPENSSL HERE"
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		fmt.Fprintln(os.Stderr, text)
		t.Skip(text)
	}
	var said strings.Builder
	cmd := exec.CommandContext(t.Context(), "./etcd-certificates.sh", args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("etcd-certificates.sh %v: %w: %s", args, err, said.String())
	}
	for _, m := range regexp.MustCompile(`name: ([a-z-]+),`).FindAllSubmatch(out, -1) {
		secrets = append(secrets, string(m[1]))
	}
	return secrets, nil
}

// user is who the holder of a certificate is for etcd. The certificate must be one
// for clients, of the CA beside it, and its key nobody else's to read.
func user(t *testing.T, ca, name string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(name+".crt", name+".key")
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(name + ".key")
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("%s.key has the mode %v, %v", name, st.Mode(), err)
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	if _, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return pair.Leaf.Subject.CommonName
}

// TestSharedCertificate: without --node there is one certificate for all nodes.
func TestSharedCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got, err := certificates(t, dir, "192.0.2.1", "192.0.2.2")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"vpp-cni-etcd-server", "vpp-cni-etcd-client"}, got); d != "" {
		t.Errorf("Secrets (-want +got):\n%s", d)
	}
	if name := user(t, filepath.Join(dir, "ca.crt"), filepath.Join(dir, "client")); name != "vpp-agent" {
		t.Errorf("the nodes' user is %s", name)
	}
}

// TestNodeCertificates: with --node each node has a directory for itself, whose user
// is the one that init-roles makes, and no certificate of a node is in the cluster.
func TestNodeCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := strings.Repeat("a", 60)
	got, err := certificates(t, "--node", "worker-1", "--node", long+"=a", dir, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"vpp-cni-etcd-server"}, got); d != "" {
		t.Errorf("Secrets (-want +got):\n%s", d)
	}
	// A node that comes later: nothing else is made anew but the operators'.
	before := read(t, dir, "server.crt") + read(t, dir, "nodes/worker-1/tls.crt")
	if got, err = certificates(t, "--node", "worker-2", dir); err != nil || len(got) > 0 {
		t.Errorf("a node more: Secrets %v, %v", got, err)
	}
	if before != read(t, dir, "server.crt")+read(t, dir, "nodes/worker-1/tls.crt") {
		t.Error("a node more: another certificate than its own is a new one")
	}
	names := store.NamesOfRoles(schema.Keys{})
	for file, want := range map[string]string{
		"root": "root", "operator": names.Operator, "nodes/worker-1/tls": names.Node("worker-1"),
		"nodes/worker-2/tls": names.Node("worker-2"), "nodes/" + long + "/tls": "a",
	} {
		ca := filepath.Join(dir, filepath.Dir(file), "ca.crt")
		if name := user(t, ca, filepath.Join(dir, file)); name != want {
			t.Errorf("%s is for the user %s, want %s", file, name, want)
		}
	}
}

// TestCertificatesRefused: what cannot be is said.
func TestCertificatesRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"etcd-certificates.sh [--node":   {dir},
		"DIR keeps the authority's key":  {"--node"},
		"is no node's name":              {"--node", "../x", dir},
		"is longer than 64 characters: ": {"--node", strings.Repeat("a", 60), dir},
	} {
		if _, err := certificates(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
