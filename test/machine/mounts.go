package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// StateDir is for what has no place of its own there, such as containerd's root.
const StateDir = "/run/machine"

// settingsDir holds the files in place of kernelSettings.
const settingsDir = StateDir + "/settings"

// hidden are the directories that the machine has for itself: what is below them on
// the real one is out of its sight, and what it writes there goes with it.
var hidden = []string{"/run", "/opt", "/var/lib", "/var/log"}

// kernelSettings are what a kubelet sets (pkg/kubelet/cm/container_manager_linux.go,
// setupKernelTunables). They are the whole machine's, so it gets files in their
// place.
var kernelSettings = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// isolate makes the file system that the machine sees.
func (m Machine) isolate() error {
	if err := inNoOnesWay(); err != nil {
		return err
	}
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	if err := ownEtc(); err != nil {
		return err
	}
	kept, err := open(m.Keep)
	if err != nil {
		return err
	}
	for _, dir := range hidden {
		// No two mounts at one place: systemd would not make them read-only.
		for unix.Unmount(dir, unix.MNT_DETACH) == nil {
		}
		if err := mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return err
		}
	}
	if err := kept.mount(); err != nil {
		return err
	}
	// A file system of its own: the kubelet knows one by the first place at which it
	// is mounted.
	if err := os.MkdirAll(settingsDir, 0o755); err != nil {
		return err
	}
	if err := mount("tmpfs", settingsDir, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	for _, name := range kernelSettings {
		if err := cover(filepath.Join("/proc/sys", name)); err != nil {
			return err
		}
	}
	// As systemd has it: mounts travel from the kubelet to containerd's tasks.
	return mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// directories are open ones by their paths.
type directories map[string]int

func open(paths []string) (directories, error) {
	dirs := directories{}
	for _, path := range paths {
		if !slices.ContainsFunc(hidden, func(h string) bool { return strings.HasPrefix(path, h+"/") }) {
			continue // it is seen anyway
		}
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("keep %s: %w", path, err)
		}
		dirs[path] = fd
	}
	return dirs, nil
}

// mount makes them seen at their paths again.
func (d directories) mount() error {
	for path, fd := range d {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := mount(fmt.Sprintf("/proc/self/fd/%d", fd), path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		_ = unix.Close(fd)
	}
	return nil
}

// inNoOnesWay is an error where a directory that is going to be hidden holds what
// the tests need.
func inNoOnesWay() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	for _, h := range append(hidden, "/etc") {
		if strings.HasPrefix(dir+"/", h+"/") {
			return fmt.Errorf("the tests are in %s, and %s is hidden from them: put the clone somewhere else", dir, h)
		}
	}
	return nil
}

// ownEtc puts a copy of /etc in its place.
func ownEtc() error {
	const copied = "/run"
	if err := mount("tmpfs", copied, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", "/etc/.", copied).CombinedOutput(); err != nil {
		return fmt.Errorf("copy of /etc: %w: %s", err, out)
	}
	return mount(copied, "/etc", "", unix.MS_BIND, "")
}

// cover puts a plain file with the same content in a file's place.
func cover(path string) error {
	content, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	file := filepath.Join(settingsDir, filepath.Base(path))
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return err
	}
	return mount(file, path, "", unix.MS_BIND, "")
}

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}
