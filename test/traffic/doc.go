// Package traffic is the application in a pod: the pod's end of a memif, spoken
// by the test's own process, and a steady stream of numbered packets from one
// pod to another through the host's VPP, real or simulated. It counts what
// arrives, what does not, and how long nothing came. It makes nothing in any
// VPP; that is what it is there to watch.
package traffic
