// Package cluster runs a real single-node Kubernetes for a test: an API server, a
// controller manager, a scheduler and a kubelet out of one binary (built by the
// nested module beside it), with a containerd of its own. What is deployed in it,
// and what must be true of it, belongs to its callers.
//
// All of it lives on a machine of its own (package machine), and its containerd is
// package containerd's.
package cluster
