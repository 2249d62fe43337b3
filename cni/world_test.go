package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

const (
	testNode      = schema.Node("node-1")
	testContainer = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	bridgedHost   = `"host":{"engine":"vpp","iftype":"memif","netType":"bridge","memif":{"role":"master","mode":"ethernet"},"bridge":{"bridgeName":"4"}}`
	routedHost    = `"host":{"iftype":"memif","netType":"interface"}`
)

// world is one test's node: a prefix of its own in etcd, a stand-in for the
// host agent, and a directory for IPAM.
type world struct {
	t        *testing.T
	dir      string
	prefix   string
	endpoint string
	cli      *clientv3.Client
	keys     schema.Keys
	agent    *standIn
	timeout  string
	limit    time.Duration // of a call
	env      []string
}

// newWorld starts a world whose agent answers at once.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldNamed(t, "")
}

// newWorldNamed is for a test that needs a second world.
func newWorldNamed(t *testing.T, name string) *world {
	t.Helper()
	return newWorldOn(t, programs.etcd, programs.cli, name)
}

// newWorldApart has an etcd of its own, for what would harm the others.
func newWorldApart(t *testing.T, opts etcdtest.Options) (*world, *etcdtest.Cluster) {
	t.Helper()
	c := etcdtest.Start(t, opts)
	cli, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	return newWorldOn(t, c, cli, ""), c
}

func newWorldOn(t *testing.T, etcd *etcdtest.Cluster, cli *clientv3.Client, name string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), endpoint: strings.Join(etcd.Endpoints(), `","`), cli: cli, timeout: "5s", limit: 40 * time.Second}
	w.prefix = "/t-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name()) + name
	keys, err := schema.NewKeys(w.prefix)
	if err != nil {
		t.Fatal(err)
	}
	w.keys = keys
	w.agent = startStandIn(t, cli, keys)
	return w
}

// conf is a network configuration: what every test needs, and after it fields
// that come before the former where both are given.
func (w *world) conf(fields ...string) string {
	base := fmt.Sprintf(`"cniVersion":"1.1.0","name":"net","type":"vpp-cni","etcd":{"endpoints":["%s"]},"prefix":%q,"node":%q,"timeout":%q,"logLevel":"debug"`,
		w.endpoint, w.prefix, testNode, w.timeout)
	return "{" + strings.Join(append([]string{base}, fields...), ",") + "}"
}

// hostLocal is an ipam section of the real host-local; plugin may be another
// name under which it is called.
func (w *world) hostLocal(plugin string, fields ...string) string {
	base := fmt.Sprintf(`"type":%q,"dataDir":%q,"subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0/0"}]`, plugin, w.ipamDir())
	return `"ipam":{` + strings.Join(append([]string{base}, fields...), ",") + "}"
}

func (w *world) ipamDir() string { return filepath.Join(w.dir, "ipam") }

// runtimeCall is what a runtime puts into the environment.
type runtimeCall struct {
	verb, container, ifname, netns, args string
}

func (c runtimeCall) with(container string) runtimeCall { c.container = container; return c }
func (c runtimeCall) on(ifname string) runtimeCall      { c.ifname = ifname; return c }
func (c runtimeCall) in(netns string) runtimeCall       { c.netns = netns; return c }
func (c runtimeCall) saying(args string) runtimeCall    { c.args = args; return c }

func runtimeOf(verb string) runtimeCall {
	return runtimeCall{verb: verb, container: testContainer, ifname: "net1", netns: "/var/run/netns/test"}
}

// ofPod is the CNI_ARGS of a pod.
func ofPod(uid string) string {
	return "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod;K8S_POD_UID=" + uid
}

// outcome is how a call of the plugin ended.
type outcome struct {
	exit   int
	stdout string
	stderr string
	took   time.Duration
	// err is the error answer of a failed call, result that of a successful ADD.
	err    *types.Error
	result *types100.Result
}

// process is a call of the plugin under way.
type process struct {
	w      *world
	verb   string
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr bytes.Buffer
	start  time.Time
}

// start runs the real plugin.
func (w *world) start(c runtimeCall, conf string) *process {
	w.t.Helper()
	return w.startAs("vpp-cni", c, conf)
}

// callAs runs the real plugin under another name.
func (w *world) callAs(name string, c runtimeCall, conf string) outcome {
	w.t.Helper()
	return w.startAs(name, c, conf).wait()
}

func (w *world) startAs(name string, c runtimeCall, conf string) *process {
	w.t.Helper()
	p := w.prepare(name, c, conf)
	p.run()
	return p
}

func (w *world) prepare(name string, c runtimeCall, conf string) *process {
	p := &process{w: w, verb: c.verb}
	p.cmd = exec.Command(filepath.Join(programs.bin, name))
	p.cmd.Stdin = strings.NewReader(conf)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=10", "CNI_COMMAND=" + c.verb, "CNI_PATH=" + w.pluginDir() + ":" + programs.bin,
		"CNI_CONTAINERID=" + c.container, "CNI_IFNAME=" + c.ifname, "CNI_NETNS=" + c.netns, "CNI_ARGS=" + c.args,
	}, w.env...)
	return p
}

func (p *process) run() {
	p.w.t.Helper()
	p.start = time.Now()
	if err := p.cmd.Start(); err != nil {
		p.w.t.Fatal(err)
	}
}

// call runs the real plugin to its end.
func (w *world) call(c runtimeCall, conf string) outcome {
	w.t.Helper()
	return w.start(c, conf).wait()
}

func (p *process) wait() outcome {
	p.w.t.Helper()
	timer := time.AfterFunc(p.w.limit, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	err := p.cmd.Wait()
	o := outcome{exit: p.cmd.ProcessState.ExitCode(), stdout: p.stdout.String(), stderr: p.stderr.String(), took: time.Since(p.start)}
	if strings.Contains(o.stderr, "DATA RACE") || strings.Contains(o.stderr, "panic:") || strings.Contains(o.stdout, "not foreseen") {
		p.w.t.Errorf("%s: the plugin broke: %s\n%s", p.verb, o.stdout, o.stderr)
	}
	if err != nil {
		o.err = &types.Error{}
		if jsonErr := json.Unmarshal(p.stdout.Bytes(), o.err); jsonErr != nil && p.cmd.ProcessState.Exited() {
			p.w.t.Errorf("%s: exit %d without an error in CNI's form: %q", p.verb, o.exit, o.stdout)
		}
		return o
	}
	if p.verb == "ADD" {
		o.result = p.w.parseResult(o.stdout)
	}
	return o
}

func (p *process) signal(s syscall.Signal) {
	p.w.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.w.t.Fatal(err)
	}
}

func (w *world) parseResult(s string) *types100.Result {
	w.t.Helper()
	r := &types100.Result{}
	if err := json.Unmarshal([]byte(s), r); err != nil {
		w.t.Fatalf("the answer is no result: %v\n%s", err, s)
	}
	return r
}

// ok fails the test unless the call succeeded.
func (o outcome) ok(t *testing.T) outcome {
	t.Helper()
	if o.exit != 0 {
		t.Fatalf("exit %d: %s\n%s", o.exit, o.stdout, o.stderr)
	}
	return o
}

// fails fails the test unless the call failed with this code and a text that
// has each of words.
func (o outcome) fails(t *testing.T, code uint, words ...string) outcome {
	t.Helper()
	if o.exit != 1 || o.err == nil {
		t.Fatalf("want error %d, got exit %d: %s\n%s", code, o.exit, o.stdout, o.stderr)
	}
	text := o.err.Msg + "; " + o.err.Details
	if o.err.Code != code {
		t.Errorf("want code %d, got %d: %s", code, o.err.Code, text)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("the error does not say %q: %s", word, text)
		}
	}
	return o
}

// pluginDir is the first directory of CNI_PATH, for a test's own IPAM plugins.
func (w *world) pluginDir() string { return filepath.Join(w.dir, "plugins") }

// script makes an IPAM plugin of a shell script. $REAL is the real host-local.
func (w *world) script(name, text string) {
	w.t.Helper()
	if err := os.MkdirAll(w.pluginDir(), 0o755); err != nil {
		w.t.Fatal(err)
	}
	head := "#!/bin/sh\nREAL=" + filepath.Join(programs.bin, "host-local") + "\nDIR=" + w.dir + "\n"
	if err := os.WriteFile(filepath.Join(w.pluginDir(), name), []byte(head+text), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

// slowIPAM makes the plugin "slow", whose ADD says that it has begun in the
// file begun and goes on when there is a file go.
func (w *world) slowIPAM() {
	w.script("slow", `if [ "$CNI_COMMAND" = ADD ]; then
	touch "$DIR/begun"
	while [ ! -e "$DIR/go" ]; do sleep 0.02; done
fi
exec "$REAL"
`)
}

// proceed lets the IPAM plugins of this world go on.
func (w *world) proceed() {
	w.t.Helper()
	writeFile(w.t, filepath.Join(w.dir, "go"), "")
}

// eventually waits until ok says so.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("never: %s", what)
		}
	}
}

func (w *world) exists(name string) bool {
	_, err := os.Stat(filepath.Join(w.dir, name))
	return err == nil
}

// stored is all of this world in etcd, by key without the root, apart from the
// agent's presence.
func (w *world) stored() map[string]string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := w.cli.Get(ctx, w.keys.Root(), clientv3.WithPrefix())
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]string{}
	for _, kv := range resp.Kvs {
		if string(kv.Key) != w.keys.Agent(testNode) {
			out[strings.TrimPrefix(string(kv.Key), w.keys.Root())] = string(kv.Value)
		}
	}
	return out
}

// allocated are the addresses that host-local has given out.
func (w *world) allocated() []string {
	w.t.Helper()
	var out []string
	err := filepath.WalkDir(w.ipamDir(), func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() && d.Name() != "lock" && !strings.HasPrefix(d.Name(), "last_reserved") {
			out = append(out, d.Name())
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// nothingLeft fails the test if the plugin left anything of an attachment.
// What a network has for good (its bridge domain's id) does not count.
func (w *world) nothingLeft() {
	w.t.Helper()
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(w.stored())), func(k string) bool {
		return strings.HasPrefix(k, "networks/") || strings.HasPrefix(k, "bridge-domains/")
	})
	if len(keys) > 0 {
		w.t.Errorf("left in etcd: %s", strings.Join(keys, ", "))
	}
	if a := w.allocated(); len(a) > 0 {
		w.t.Errorf("left at IPAM: %s", strings.Join(a, ", "))
	}
}

// hostGone is nothingLeft where the stand-in was told not to delete statuses.
func (w *world) hostGone() {
	w.t.Helper()
	if keys := fmt.Sprint(slices.Sorted(maps.Keys(w.stored()))); strings.Contains(keys, "/host/") || strings.Contains(keys, "/pods/") {
		w.t.Errorf("left in etcd: %s", keys)
	}
	if a := w.allocated(); len(a) > 0 {
		w.t.Errorf("left at IPAM: %s", strings.Join(a, ", "))
	}
}

// hostValue and podValue read one desired end.
func (w *world) hostValue(container, ifname string) schema.HostInterface {
	w.t.Helper()
	return decode[schema.HostInterface](w, "nodes/node-1/host/"+container+"/"+ifname)
}

func (w *world) podValue(pod, ifname string) schema.PodInterface {
	w.t.Helper()
	return decode[schema.PodInterface](w, "nodes/node-1/pods/"+pod+"/interfaces/"+ifname)
}

func decode[V schema.Value](w *world, key string) V {
	w.t.Helper()
	text, ok := w.stored()[key]
	if !ok {
		w.t.Fatalf("no key %s", key)
	}
	v, err := schema.Decode[V]([]byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// put writes a key by hand, as an operator does.
func (w *world) put(key, value string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := w.cli.Put(ctx, w.keys.Root()+key, value); err != nil {
		w.t.Fatal(err)
	}
}

func mustJSON(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
