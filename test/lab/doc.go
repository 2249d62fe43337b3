// Package lab runs VPP CNI as its users do: real programs as processes (host
// agent, container agents, the plugin through libcni), each pod with a VPP of
// its own, on one machine, without root and without fixed ports. It serves the
// end-to-end tests, the benchmark and the demo. It holds no checks: what must be
// true belongs to its callers.
package lab
