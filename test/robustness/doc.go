// Package robustness runs the whole of VPP CNI as processes (an etcd of three
// members, a host's VPP and agent, pods with VPPs and agents of their own, the
// plugin through libcni), does to it what a seed says (operations of a container
// runtime, faults, edits by operators), and checks named invariants all along and
// whenever everything has been left in peace. README.md tells how to use it. It
// measures nothing: that belongs to test/bench and test/scale.
package robustness
