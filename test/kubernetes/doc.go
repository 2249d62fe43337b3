// Package kubernetes tries deploy/kubernetes on a real Kubernetes with a real
// containerd: make test-kubernetes, as root. What Kubernetes and containerd are
// built of is in kube and cluster; no product code is here.
package kubernetes
