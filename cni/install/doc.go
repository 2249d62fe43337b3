// Package install puts the plugin, its configuration and a network configuration
// on a node, and takes them away again. It knows nothing of what the plugin does
// when a runtime calls it, and starts nothing.
//
// Everything is written beside its place and renamed, so that a runtime sees the
// old file or the new one and never a part of one, whenever the installer is
// killed. The network configuration comes last and goes first: while a runtime sees
// it, all that it needs is there. There is no list of what was installed: a program
// is ours by Go's build information, a network configuration by its plugin's type,
// config.yaml by its first line, the certificates by the names of their sets.
package install
