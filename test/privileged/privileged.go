// Package privileged is for tests that need root: other users, mounts, files
// that cannot be removed. It is not for what any user can try.
package privileged

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Require lets the test go on as root. Elsewhere it is skipped, loudly, and in CI
// (CI=true) it fails.
func Require(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	text := fmt.Sprintf("%s NOT RUN: it needs root, %s", t.Name(), why)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	fmt.Fprintln(os.Stderr, text)
	t.Skip(text)
}

// Mount mounts for the time of a test.
func Mount(t *testing.T, source, target, fstype string, flags uintptr, data string) {
	t.Helper()
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		t.Fatalf("mount at %s: %v (the tests of files need CAP_SYS_ADMIN)", target, err)
	}
	t.Cleanup(func() { Unmount(t, target) })
}

// Unmount ends a mount; one that has ended is no error.
func Unmount(t *testing.T, target string) {
	t.Helper()
	if err := unix.Unmount(target, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		t.Errorf("unmount %s: %v", target, err)
	}
}

// As runs f as another user. Its thread ends with it, so nothing else becomes
// that user; f must not start a goroutine that is to be that user too.
func As(t *testing.T, uid, gid int, groups []int, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		done <- become(uid, gid, groups, f)
	}()
	return <-done
}

// become changes the user of this thread alone: package syscall would change
// that of all.
func become(uid, gid int, groups []int, f func() error) error {
	ids := make([]uint32, len(groups)+1) // never empty, for its address
	for i, g := range groups {
		ids[i] = uint32(g)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&ids[0])), 0); e != 0 {
		return fmt.Errorf("groups: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); e != 0 {
		return fmt.Errorf("group %d: %w", gid, e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
		return fmt.Errorf("user %d: %w", uid, e)
	}
	return f()
}
