// Package failpoint lets a test end or delay a program at a named point. It
// does nothing in a program that is built without the tag failpoints, and does
// not know which points there are.
//
// In a program built with the tag, the environment says what happens where:
//
//	VPP_CNI_FAILPOINTS="add-before-attach=kill;del-after-detach=sleep:200ms;gc-before-detach=kill%30"
//
// kill is SIGKILL to itself, sleep waits, and %N means in N of 100 cases. The
// cases are the same for the same VPP_CNI_FAILPOINT_SEED, a number. A text that
// cannot be read is a panic at the first point: a test must not pass because its
// fault was misspelt.
package failpoint
