package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	stageInit = "init"
	stageRun  = "run"
)

// Inside says whether this process is in the namespaces already.
func (m Machine) Inside() bool { return os.Getenv(m.stageEnv()) == stageRun }

// Enter runs this program again, with its arguments, in namespaces of its own,
// and gives its exit status. Nothing of what runs there survives it: the kernel
// ends all processes of a PID namespace with its first one, and that one with us.
func (m Machine) Enter() (status int, err error) {
	if os.Getenv(m.stageEnv()) == stageInit {
		return m.initProcess()
	}
	lock, err := m.takeLock()
	if err != nil {
		return 1, err
	}
	defer func() { _ = lock.Close() }()
	if err = m.RemoveCgroups(); err != nil {
		return 1, err
	}
	// Pdeathsig is sent when the thread ends that started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := m.again(stageInit)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status, err = max(exit.ExitCode(), 1), nil
	}
	return status, errors.Join(err, m.RemoveCgroups())
}

func (m Machine) again(stage string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), m.stageEnv()+"="+stage)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

func (m Machine) takeLock() (*os.File, error) {
	f, err := os.OpenFile(m.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: another %s runs on this machine: %w", m.lockFile(), m.Name, err)
	}
	return f, nil
}

// initProcess is the first process of the namespaces: it makes the file system
// and the network that the tests see, starts the tests and reaps what they
// leave behind (a containerd shim is nobody's child).
func (m Machine) initProcess() (int, error) {
	if err := errors.Join(m.isolate(), m.network()); err != nil {
		return 1, err
	}
	cmd := m.again(stageRun)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 1, fmt.Errorf("wait: %w", err)
		case pid == cmd.Process.Pid && ws.Exited():
			return ws.ExitStatus(), nil
		case pid == cmd.Process.Pid:
			return 1, fmt.Errorf("the tests were ended by %s", ws.Signal())
		}
	}
}

// network makes the only interface of the machine: a loopback with the machine's
// address on it. Everything that it talks to is on it.
func (m Machine) network() error {
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"address", "add", m.Address, "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return unix.Sethostname([]byte(m.HostName))
}
