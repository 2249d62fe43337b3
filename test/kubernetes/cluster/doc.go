// Package cluster runs a real single-node Kubernetes for a test: an API server, a
// controller manager, a scheduler and a kubelet out of one binary (built by the
// nested module beside it), with a containerd of its own. What is deployed in it,
// and what must be true of it, belongs to its callers.
//
// All of it lives in mount, PID, network and UTS namespaces of its own, with its
// state in memory: when the first process ends, however it does, the kernel ends
// all others and nothing is left but empty cgroups, which the next Enter removes.
package cluster
