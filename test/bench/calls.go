package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vpp-cni/vpp-cni/test/lab"
)

const bridgeConf = `{"cniVersion": "1.0.0", "name": "bench", "type": "vpp-cni", "configFile": %q,
 "host": {"engine": "vpp", "iftype": "memif", "netType": "bridge", "bridge": {"bridgeName": "10"}}%s}`

func confNoIPAM(n *lab.Node) []byte { return fmt.Appendf(nil, bridgeConf, n.ConfigFile, "") }

func confHostLocal(n *lab.Node) []byte {
	return fmt.Appendf(nil, bridgeConf, n.ConfigFile, fmt.Sprintf(
		`, "ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": "10.20.0.0/16"}]]}`, n.IPAMDir))
}

// plugin is the plugin as a runtime starts it.
type plugin struct {
	bin  string
	conf []byte
}

// command is one verb as a process, behind a launcher where one is given.
func (p plugin) command(ctx context.Context, verb string, i int, launcher ...string) *exec.Cmd {
	argv := append(launcher, filepath.Join(p.bin, "vpp-cni"))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_PATH="+p.bin)
	if verb != "VERSION" {
		cmd.Env = append(cmd.Env, fmt.Sprintf("CNI_CONTAINERID=bench%059d", i), fmt.Sprintf("CNI_NETNS=/run/netns/bench%d", i), "CNI_IFNAME=net1",
			fmt.Sprintf("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME=pod-%d;K8S_POD_UID=00000000-0000-0000-0000-%012d", i, i))
	}
	cmd.Stdin = bytes.NewReader(p.conf)
	return cmd
}

// call runs one verb in a process of its own and says how long it took from
// start to end, and how much CPU it had (user and system).
func (p plugin) call(ctx context.Context, verb string, i int) (wall, cpu time.Duration, err error) {
	cmd := p.command(ctx, verb, i)
	var out bytes.Buffer
	cmd.Stdout = &out
	begin := time.Now()
	err = cmd.Run()
	wall = time.Since(begin)
	if err != nil {
		return wall, 0, fmt.Errorf("%s %d: %w: %s", verb, i, err, bytes.TrimSpace(out.Bytes()))
	}
	if verb != "DEL" && !json.Valid(out.Bytes()) {
		return wall, 0, fmt.Errorf("%s %d: the answer is not JSON: %q", verb, i, out.String())
	}
	return wall, used(cmd.ProcessState), nil
}

// weigh runs one verb and returns the largest of its peak memory and its
// children's, in KiB.
func (p plugin) weigh(ctx context.Context, verb string, i int) (int64, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	cmd := p.command(ctx, verb, i, filepath.Join(p.bin, "weigh"))
	cmd.ExtraFiles = []*os.File{w}
	out, err := cmd.CombinedOutput()
	_ = w.Close()
	if err != nil {
		return 0, fmt.Errorf("%s %d: %w: %s", verb, i, err, bytes.TrimSpace(out))
	}
	var peak int64
	if _, err = fmt.Fscan(io.Reader(r), &peak); err != nil {
		return 0, fmt.Errorf("peak memory of %s: %w", verb, err)
	}
	return peak, nil
}

func used(state *os.ProcessState) time.Duration { return state.UserTime() + state.SystemTime() }

// empty is the floor of VERSION: a Go program that does nothing.
func empty(ctx context.Context, bin string) (wall, cpu time.Duration, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "empty"))
	begin := time.Now()
	err = cmd.Run()
	wall = time.Since(begin)
	if err != nil {
		return 0, 0, err
	}
	return wall, used(cmd.ProcessState), nil
}
