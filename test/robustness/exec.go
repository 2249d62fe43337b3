package robustness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

// errKilled is a call whose plugin was killed on purpose: what it did is not
// known.
var errKilled = errors.New("the plugin was killed")

// callBound is how long a call of the plugin may take: its own time-out, the
// clean-up after it, and a loaded machine.
const callBound = 60 * time.Second

// execution starts plugins as libcni does, and kills one where the call says so.
type execution struct {
	version.PluginDecoder
	kill killing
	// failpoints is the directory of programs that die where they are told to.
	failpoints string
	stderr     bytes.Buffer
}

// FindInPath takes the program with failpoints where the call wants one.
func (e *execution) FindInPath(plugin string, paths []string) (string, error) {
	if e.kill.Failpoints != "" {
		paths = append([]string{e.failpoints}, paths...)
	}
	return invoke.FindInPath(plugin, paths)
}

// ExecPlugin runs the plugin as a process group of its own and waits for it.
func (e *execution) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	var stdout bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = environ
	if e.kill.Failpoints != "" {
		cmd.Env = append(cmd.Env, "VPP_CNI_FAILPOINTS="+e.kill.Failpoints, "VPP_CNI_FAILPOINT_SEED="+strconv.FormatUint(e.kill.Seed, 10))
	}
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = &stdout, &e.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	if sig := e.signal(); sig != 0 {
		t := time.AfterFunc(e.kill.After, func() { _ = cmd.Process.Signal(sig) })
		defer t.Stop()
	}
	err := cmd.Wait()
	if ctx.Err() != nil {
		return nil, broke(errNoGiveUp, nil, "%s did not end within %s", filepath.Base(path), time.Since(begin))
	}
	if err == nil {
		return stdout.Bytes(), nil
	}
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		return nil, fmt.Errorf("%w by %s", errKilled, st.Signal())
	}
	var answer types.Error
	if decode := json.Unmarshal(stdout.Bytes(), &answer); decode != nil || answer.Code == 0 {
		return nil, fmt.Errorf("%s: %w, and said %q %q", filepath.Base(path), err, stdout.String(), e.stderr.String())
	}
	return nil, &answer
}

func (e *execution) signal() syscall.Signal {
	switch e.kill.Signal {
	case "KILL":
		return syscall.SIGKILL
	case "TERM":
		return syscall.SIGTERM
	}
	return 0
}
