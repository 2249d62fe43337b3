// Package deviceplugin tells the node's kubelet how many attachments the node
// serves, as devices of a resource that pods request, so that the scheduler sends
// no pod to a node that is full. It holds nobody to it: that the limit is kept is
// package cni's and etcd's work, and what device a pod has got, the CNI plugin's to
// say. It is the only part that speaks to the kubelet (device plugin API v1beta1).
//
// There are as many devices as the node may have attachments
// (agent.maxAttachments). They are interchangeable and stand for nothing: a pod
// gets no file, variable or mount for one. The kubelet counts those that it gave to
// pods. An attachment without one of them is of a pod that did not ask for the
// resource, and the kubelet does not know of it: for each, one device that no
// attachment has is Unhealthy. The kubelet then has
//
//	capacity    maxAttachments
//	allocatable maxAttachments less the attachments without a device
//
// While the node serves no ADD (etcd or VPP is away, the agent is starting) all
// devices are Unhealthy, after a moment's grace: allocatable is 0 and new pods go to
// other nodes. Pods that run keep their devices and are not evicted. The kubelet
// itself does the same while the agent is away.
//
// The kubelet's own rules leave two things to know. A pod that is on the node
// already when the kubelet starts, and whose containers do not run yet, as after a
// boot, is failed (UnexpectedAdmissionError) if it comes before the agent has
// registered: its controller makes another. And a device is given when a pod is
// admitted, its attachment comes a moment later: meanwhile it is counted by the
// kubelet alone, which is enough.
package deviceplugin
