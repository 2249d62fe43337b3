// Package machine gives a test that is root a machine of its own: mount, PID,
// network, UTS and IPC namespaces in which it may install what it likes at the
// paths that are built into other people's programs. /run, /opt, /var/lib and
// /var/log are empty there, /etc is a copy, and a loopback is the only interface.
// What runs there is its users' business.
//
// State is in memory: when the first process ends, however it does, the kernel ends
// all others and nothing is left but empty cgroups, which the next Enter removes.
package machine
