//go:build !failpoints

package failpoint

// On says whether this program has failpoints.
const On = false

// Hit is the point called name. It costs nothing.
func Hit(string) {}
