// Package version holds the version that the build stamps into every program.
// It is not the version of the keys' contract: that is schema.Version.
package version

// Version is set by the linker (-X); "devel" in a build without it.
var Version = "devel"
