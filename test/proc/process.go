// Package proc runs programs for tests as processes of their own, VPPs among
// them, and ends them whatever happens to the test. What the programs are for
// belongs to packages lab and vpptest.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end after SIGTERM.
const stopTimeout = 10 * time.Second

// Process is a program that runs with its output in a log file.
type Process struct {
	Name    string
	LogFile string

	path string
	args []string
	env  []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// New prepares a program; its output goes to logDir/name.log.
func New(name, logDir, path string, args ...string) *Process {
	return &Process{Name: name, LogFile: filepath.Join(logDir, name+".log"), path: path, args: args}
}

// Path is the program's.
func (p *Process) Path() string { return p.path }

// Start runs the program, again after it has ended.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("start %s: it runs already", p.Name)
	}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer func() { _ = log.Close() }()
	// Not CommandContext: the owner ends its processes in order, by Stop.
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), p.env...)
	// The end of the owner's process, however it comes, ends this one too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

func (p *Process) running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Running says whether the process is there.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running()
}

// PID is the process id, 0 before the first start.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Stop ends the process with SIGTERM, and with SIGKILL after 10 seconds; the
// latter is an error, as is an exit status other than 0.
func (p *Process) Stop() error {
	return p.end(syscall.SIGTERM)
}

// Kill ends the process with SIGKILL, as a crash would.
func (p *Process) Kill() error {
	return p.end(syscall.SIGKILL)
}

func (p *Process) end(sig syscall.Signal) error {
	p.mu.Lock()
	running, cmd, done := p.running(), p.cmd, p.done
	p.mu.Unlock()
	if !running {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-done:
	case <-time.After(stopTimeout):
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("stop %s: still there %s after %s, killed", p.Name, stopTimeout, sig)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if sig == syscall.SIGTERM && p.err != nil {
		return fmt.Errorf("stop %s: %w", p.Name, p.err)
	}
	return nil
}

// Signal sends sig without waiting; SIGSTOP makes a process that hangs.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("signal %s: %w", p.Name, os.ErrProcessDone)
	}
	return p.cmd.Process.Signal(sig)
}

// LogTail is the last n lines of the process's output.
func (p *Process) LogTail(n int) string {
	b, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

// WaitFor polls until ok, ctx ends, or the process ends. what is for the error.
func (p *Process) WaitFor(ctx context.Context, what string, ok func() bool) error {
	for !ok() {
		if !p.Running() {
			return fmt.Errorf("%s ended while waiting for %s:\n%s", p.Name, what, p.LogTail(20))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: waiting for %s: %w:\n%s", p.Name, what, ctx.Err(), p.LogTail(20))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
