// Package e2e runs the whole of VPP CNI on real input: the plugin through
// libcni, the agents as processes, an etcd, and a VPP for each pod and host,
// real (VPP=/usr/bin/vpp) or simulated. What one part does alone is tested
// beside that part.
package e2e
