package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	cniversion "github.com/containernetworking/cni/pkg/version"
)

// maxIPAMAnswer is how much in bytes is read of an IPAM plugin's output.
const maxIPAMAnswer = 1 << 20

var (
	// errNoIPAM is an IPAM plugin that is not in CNI_PATH.
	errNoIPAM = errors.New("not found in CNI_PATH")
	// errRubbish is an IPAM plugin that said that it succeeded with an answer
	// that is none. It may have given addresses out.
	errRubbish = errors.New("its answer is not a result")
	// errStopped is an IPAM plugin that was ended by this call before it answered.
	// It may have given addresses out.
	errStopped = errors.New("ended before it answered")
)

// ipam delegates to an IPAM plugin (CNI specification, section "Plugin
// Delegation").
type ipam struct {
	plugin string // empty: the network has no IPAM
	stdin  []byte
	path   string
	args   invoke.Args
}

func newIPAM(plugin string, cmd *skel.CmdArgs) ipam {
	return ipam{plugin: plugin, stdin: cmd.StdinData, path: cmd.Path, args: invoke.Args{
		ContainerID: cmd.ContainerID, NetNS: cmd.Netns, PluginArgsStr: cmd.Args, IfName: cmd.IfName, Path: cmd.Path,
	}}
}

// of is the same plugin for another attachment, whose sandbox is gone.
func (i ipam) of(container, ifName string) ipam {
	i.args.ContainerID, i.args.IfName, i.args.NetNS, i.args.PluginArgsStr = container, ifName, "", ""
	return i
}

func (i ipam) find() (string, error) {
	path, err := invoke.FindInPath(i.plugin, filepath.SplitList(i.path))
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoIPAM, err)
	}
	return path, nil
}

// add asks for addresses; nil without IPAM.
func (i ipam) add(ctx context.Context) (result *types100.Result, err error) {
	if i.plugin == "" {
		return nil, nil //nolint:nilnil // no IPAM, no addresses, no error
	}
	defer func() {
		// Package types converts an older version's result without looking for
		// null in its lists.
		if r := recover(); r != nil {
			result, err = nil, fmt.Errorf("%w: %v", errRubbish, r)
		}
	}()
	path, err := i.find()
	if err != nil {
		return nil, err
	}
	args := i.args
	args.Command = "ADD"
	run := &execution{}
	raw, err := invoke.ExecPluginWithResult(ctx, path, i.stdin, &args, run)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", errStopped, context.Cause(ctx))
	case run.succeeded:
		return nil, fmt.Errorf("%w: %w", errRubbish, err)
	default:
		return nil, err
	}
	if result, err = types100.NewResultFromResult(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", errRubbish, err)
	}
	if len(result.IPs) == 0 {
		return nil, fmt.Errorf("%w: it holds no address", errRubbish)
	}
	for _, ip := range result.IPs {
		if ip == nil {
			return nil, fmt.Errorf("%w: null in ips", errRubbish)
		}
	}
	return result, nil
}

// del gives the addresses back; check and the others have no answer either.
func (i ipam) del(ctx context.Context) error { return i.run(ctx, "DEL") }

func (i ipam) run(ctx context.Context, command string) error {
	if i.plugin == "" {
		return nil
	}
	path, err := i.find()
	if err != nil {
		return err
	}
	args := i.args
	args.Command = command
	err = invoke.ExecPluginWithoutResult(ctx, path, i.stdin, &args, &execution{})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errStopped, context.Cause(ctx))
	}
	return err
}

// error is the CNI error of a failed delegation. A code of the plugin's own is
// passed on; a plugin that gives none, as host-local when its range is used up,
// may do better later.
func (i ipam) error(command string, err error) *types.Error {
	out := fail(types.ErrTryAgainLater, fmt.Sprintf("IPAM plugin %s: %s failed", i.plugin, command), err)
	var e *types.Error
	switch {
	case errors.Is(err, errNoIPAM):
		out.Code = types.ErrInvalidNetworkConfig
	case errors.Is(err, errRubbish):
		out.Code = types.ErrDecodingFailure
	case errors.As(err, &e) && e.Code != 0 && e.Code != types.ErrInternal:
		out.Code = e.Code
	}
	return out
}

// execution runs one plugin. Unlike invoke.RawExec it ends the plugin with this
// process, so that an IPAM plugin cannot give out an address after the DEL that
// follows a killed ADD, and with all that it started; and it bounds the answer.
type execution struct {
	cniversion.PluginDecoder
	// succeeded says that the plugin ended with exit code 0.
	succeeded bool
}

// FindInPath is invoke.FindInPath.
func (e *execution) FindInPath(plugin string, paths []string) (string, error) {
	return invoke.FindInPath(plugin, paths)
}

// ExecPlugin runs the plugin at path and returns what it answers, or the error
// that it answers with.
func (e *execution) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	// Linux ends a child when the thread that started it ends (Pdeathsig).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var stdout, stderr bounded
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = environ
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	_, _ = io.Copy(os.Stderr, bytes.NewReader(stderr.Bytes()))
	if err == nil {
		e.succeeded = true
		return stdout.Bytes(), nil
	}
	return nil, pluginError(err, stdout.Bytes(), stderr.Bytes())
}

// pluginError reads the error answer of a plugin that ended with err.
func pluginError(err error, stdout, stderr []byte) error {
	if answer, decodeErr := decodeError(stdout); decodeErr == nil {
		return answer
	}
	said := strings.TrimSpace(string(stdout) + " " + string(stderr))
	if len(said) > 500 {
		said = said[:500] + "…"
	}
	if said == "" {
		return fmt.Errorf("it said nothing: %w", err)
	}
	return fmt.Errorf("it said %q: %w", said, err)
}

// bounded keeps the first maxIPAMAnswer bytes and one more, so that a longer
// answer does not look whole.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxIPAMAnswer + 1 - b.Len(); room < len(p) {
		b.Buffer.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
