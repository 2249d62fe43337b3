package cluster

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vpp-cni/vpp-cni/test/containerd"
)

// users are who talks to the API server: the names that its own rules know, each
// with its group.
var users = map[string][2]string{
	"admin":     {"admin", "system:masters"},
	"manager":   {"system:kube-controller-manager", "system:masters"},
	"scheduler": {"system:kube-scheduler", ""},
	"node":      {"system:node:" + NodeName, "system:nodes"},
}

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix://` + containerd.Socket + `
enforceNodeAllocatable: []
evictionHard: {imagefs.available: "0%", nodefs.available: "0%", memory.available: "50Mi"}
failCgroupV1: false
failSwapOn: false
fileCheckFrequency: 5s
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
resolvConf: ""
syncFrequency: 5s
`

const kubeconfigText = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", certificate-authority: @STATE@/ca.crt}}]
users: [{name: u, user: {token: @USER@}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`

func kubeconfig(user string) string { return state(user + ".kubeconfig") }

// writeFiles writes certificates, tokens and configurations.
func (c *Cluster) writeFiles() error {
	ca, err := NewCA("kubernetes")
	if err != nil {
		return err
	}
	api, err := ca.Issue("kube-apiserver", "127.0.0.1", "198.51.100.1", NodeIP, "localhost", "kubernetes.default.svc")
	if err != nil {
		return err
	}
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("service accounts' key: %w", err)
	}
	files := map[string]string{
		"ca.crt":       string(ca.Cert),
		"api.crt":      string(api.Cert),
		"api.key":      string(api.Key),
		"sa.key":       string(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(signer))),
		"kubelet.yaml": kubeletConfig,
	}
	// A token is the user's short name: the API server listens on the
	// namespaces' loopback, and nobody else is in there.
	for user, who := range users {
		files["tokens.csv"] += fmt.Sprintf("%s,%s,%s,%q\n", user, who[0], user, who[1])
		files[user+".kubeconfig"] = kubeconfigText
		files[user+".kubeconfig"] = strings.ReplaceAll(files[user+".kubeconfig"], "@USER@", user)
	}
	errs := []error{os.MkdirAll(state("home"), 0o700)}
	for name, text := range files {
		errs = append(errs, os.WriteFile(state(name), []byte(strings.ReplaceAll(text, "@STATE@", StateDir)), 0o600))
	}
	return errors.Join(errs...)
}
