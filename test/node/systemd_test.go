package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/test/machine"
	"github.com/vpp-cni/vpp-cni/test/proc"
)

const (
	agentPath = "/usr/local/bin/vpp-agent"
	agentLog  = machine.StateDir + "/vpp-agent.log"
)

// boot starts a systemd of the test's own. What it runs is on the machine, but in a
// PID namespace below the machine's, whose end ends it all. It gives systemd's
// process id.
func boot(ctx context.Context, t *testing.T, logs string) (pid string) {
	t.Helper()
	script, err := filepath.Abs("testdata/systemd.sh")
	if err != nil {
		t.Fatal(err)
	}
	p := proc.New("systemd", logs, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave",
		"sh", script, cgroupParent, filepath.Join(machine.StateDir, "units"))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	var last error
	if err := p.WaitFor(ctx, "systemd", func() bool {
		var children []byte
		if children, last = os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", p.PID())); last != nil {
			return false
		}
		pid = strings.TrimSpace(string(children))
		cmd := exec.CommandContext(ctx, "sh", "-c", systemctl+"systemctl is-active test.target")
		cmd.Env = append(os.Environ(), "SYSTEMD="+pid)
		var out []byte
		out, last = cmd.CombinedOutput()
		last = errors.Join(last, errors.New(string(out)))
		return cmd.ProcessState.Success()
	}); err != nil {
		t.Fatal(err, last)
	}
	return pid
}

// systemctl is a function of the shell that speaks with the test's systemd, which
// listens only to those whose process ids it knows.
const systemctl = `systemctl() { nsenter --target "$SYSTEMD" --pid --mount systemctl --no-pager "$@"; }
`

// toFile lets the agent write to a file: there is no journal.
func toFile() error {
	const dir = "/etc/systemd/system/vpp-agent.service.d"
	text := "[Service]\nStandardOutput=append:" + agentLog + "\nStandardError=append:" + agentLog + "\n"
	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "test.conf"), []byte(text), 0o644))
}

// ownPrograms makes /usr/local/bin the machine's own.
func ownPrograms(ctx context.Context) error {
	upper, work := filepath.Join(machine.StateDir, "programs"), filepath.Join(machine.StateDir, "programs-work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "mount", "-t", "overlay", "overlay",
		"-o", "lowerdir=/usr/local/bin,upperdir="+upper+",workdir="+work, "/usr/local/bin").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("mount /usr/local/bin: %w: %s", err, out)
	}
	return err
}

// agentPID is the agent's process id on the machine.
func agentPID() (string, error) {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return "", err
	}
	for _, l := range links {
		if exe, err := os.Readlink(l); err == nil && exe == agentPath {
			return filepath.Base(filepath.Dir(l)), nil
		}
	}
	return "", errors.New("no agent runs")
}

// leaves is what the unit leaves the agent, in the kernel's words.
var leaves = map[string]string{
	// CAP_CHOWN is bit 0, CAP_DAC_OVERRIDE bit 1.
	"CapPrm": "0000000000000003", "CapEff": "0000000000000003", "CapBnd": "0000000000000003", "CapAmb": "0000000000000000",
	"NoNewPrivs": "1", "Seccomp": "2", "Groups": "65532",
}

// hardened holds the running agent to what the unit promises.
func (n *node) hardened(t *testing.T) {
	t.Helper()
	pid, err := agentPID()
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if want, ok := leaves[key]; ok && strings.TrimSpace(value) != want {
			t.Errorf("the agent's %s is %s, want %s", key, strings.TrimSpace(value), want)
		}
	}
	for _, dir := range []string{"/run", "/run/vpp", "/etc/vpp-cni", "/opt/cni/bin", "/usr/local/bin", "/var/lib", "/var/log"} {
		if err := os.WriteFile("/proc/"+pid+"/root"+dir+"/x", nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("a file that the agent makes in %s: %v, want %v", dir, err, unix.EROFS)
		}
	}
}

// agentSays waits until the agent's log has all of want.
func (n *node) agentSays(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, 20*time.Second, fmt.Sprintf("the agent's log says %q", want), func(context.Context) error {
		log, err := os.ReadFile(agentLog)
		for _, w := range want {
			if !strings.Contains(string(log), w) {
				return errors.Join(err, fmt.Errorf("it says %s", log))
			}
		}
		return err
	})
}
