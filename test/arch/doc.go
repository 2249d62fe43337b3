// Package arch holds the rules on which package may import which, and on what
// every package must have, as tests. It checks no behaviour.
package arch
