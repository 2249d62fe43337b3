package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

const givenSecret = "GivenByTheOperator.2026"

// witness keeps what programs have said, and the secrets that none of it may
// hold.
type witness struct {
	c   *cluster
	n   node
	dir string // of the logs

	mu      sync.Mutex
	said    map[string][]byte
	secrets map[string]string // by what they are
}

func (w *witness) hear(what string, text []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said[what] = append(w.said[what], text...)
}

// secret notes the pod's secret of an interface.
func (w *witness) secret(t *testing.T, p pod, ifname schema.IfName) string {
	t.Helper()
	keys := w.c.store.Keys()
	raw := w.c.hand(t).get(keys.PodInterface(schema.Node(w.n.Name), schema.PodID(p.UID), ifname))
	v, err := schema.Decode[schema.PodInterface]([]byte(raw))
	if err != nil || v.Memif.Secret.IsZero() {
		t.Fatalf("%s %s has no secret: %v", p.Name, ifname, err)
	}
	s := v.Memif.Secret.Reveal()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[p.Name+" "+string(ifname)+" "+p.Container[:6]] = s
	return s
}

// ctl runs vpp-cnictl; it may fail, since that too says something.
func (w *witness) ctl(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(timeout(t), filepath.Join(binDir(), "vpp-cnictl"), args...)
	cmd.Env = append(os.Environ(), "VPP_CNI_CONFIG="+w.n.ConfigFile)
	out, _ := cmd.CombinedOutput()
	if len(out) == 0 {
		t.Errorf("vpp-cnictl %v says nothing", args)
	}
	w.hear("vpp-cnictl "+strings.Join(args, " "), out)
}

// askEverybody has every program say all that it can.
func (w *witness) askEverybody(t *testing.T, pods ...pod) {
	t.Helper()
	for _, form := range []string{"wide", "json", "yaml"} {
		for _, what := range []string{"attachments", "nodes", "networks"} {
			w.ctl(t, "get", what, "-o", form)
		}
	}
	w.ctl(t, "verify")
	w.ctl(t, "verify", "-o", "json")
	w.ctl(t, "describe", "node", w.n.Name)
	ends := map[string]func(context.Context, string) (int, string, error){w.n.Name: w.n.Get}
	for _, p := range pods {
		w.ctl(t, "describe", "attachment", "default/"+p.Name)
		ends[p.Name] = p.Get
	}
	for name, get := range ends {
		for _, path := range []string{"/", "/livez", "/readyz", "/metrics", "/verify", "/debug/pprof/", "/debug/vars"} {
			if _, body, err := get(timeout(t), path); err == nil {
				w.hear(name+path, []byte(body))
			}
		}
	}
}

// statuses has etcd say all that is not a desired value.
func (w *witness) statuses(t *testing.T) {
	t.Helper()
	r, err := w.c.hand(t).client.Get(timeout(t), "/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range r.Kvs {
		if k := string(kv.Key); !strings.Contains(k, "/host/") && !strings.Contains(k, "/interfaces/") {
			w.hear("etcd "+k, kv.Value)
		}
	}
}

// files reads all that the programs have written. The runtime's own cache holds
// the network's configuration, and so a secret that this gives.
func (w *witness) files(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // sockets and directories come and go
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Contains(path, "/cni-cache/") {
			var cached map[string]json.RawMessage
			if err := json.Unmarshal(text, &cached); err != nil {
				return err
			}
			delete(cached, "config")
			text = fmt.Appendf(nil, "%s", cached)
		}
		w.hear(strings.TrimPrefix(path, w.dir), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// judge looks for every secret in all that was said, in the forms that Go's
// printing and JSON give bytes.
func (w *witness) judge(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	bytesSaid := 0
	for what, text := range w.said {
		bytesSaid += len(text)
		lower := bytes.ToLower(text)
		for whose, s := range w.secrets {
			decimal := strings.Trim(fmt.Sprint([]byte(s)), "[]") //nolint:staticcheck // the numbers that fmt prints, not the text
			if bytes.Contains(text, []byte(s)) || bytes.Contains(text, []byte(decimal)) || bytes.Contains(lower, []byte(hex.EncodeToString([]byte(s)))) ||
				bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString([]byte(s))[:28])) {
				t.Errorf("%s holds the secret of %s", what, whose)
			}
		}
	}
	t.Logf("%d secrets looked for in %d bytes of %d texts", len(w.secrets), bytesSaid, len(w.said))
}

// heard is a plugin's answer or error.
func (w *witness) heard(what string, res types.Result, err error) {
	if err != nil {
		w.hear(what, []byte(err.Error()))
	}
	if res != nil {
		var b bytes.Buffer
		_ = res.PrintTo(&b)
		w.hear(what, b.Bytes())
	}
}

func (w *witness) watch(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(binDir(), "vpp-cnictl"), "watch")
	cmd.Env = append(os.Environ(), "VPP_CNI_CONFIG="+w.n.ConfigFile)
	out, err := os.Create(filepath.Join(w.dir, "watch.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
		_ = out.Close()
	})
}

// TestSecretsLeakNowhere: with every log at its most talkative, also GoVPP's, no
// program says a secret anywhere but in the two ends' values: not when all is
// well, not in errors, not when ends differ, not in a crash.
func TestSecretsLeakNowhere(t *testing.T) {
	t.Setenv("DEBUG_GOVPP", "core,conn,channels,msgid,msgtable")
	t.Setenv("DEBUG_GOVPP_SOCK", "1")
	c := startClusterAt(t, os.Getenv("VPP"), os.Getenv("VPP"), "trace")
	n := c.node(t)
	w := &witness{c: c, n: n, dir: c.lab.Dir, said: map[string][]byte{}, secrets: map[string]string{"the operator": givenSecret, "nobody": "RefusedByTheOperator.26"}}
	w.watch(t)
	logs := `"logLevel": "trace",`
	f, err := os.OpenFile(n.ConfigFile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "logFile: %s\n", filepath.Join(c.lab.Dir, "plugin.log"))
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	own, given, other := memifs[0], memifs[2], memifs[2]
	own.extra, given.extra, other.extra = logs, logs, logs
	given.host = `{"engine": "vpp", "iftype": "memif", "netType": "interface", "memif": {"secret": "` + givenSecret + `"}}`
	other.host = strings.Replace(given.host, givenSecret, "RefusedByTheOperator.26", 1)
	swapped := memifs[4]
	swapped.extra = logs
	for _, unrouted := range []*network{&own, &swapped} { // one default route a pod
		unrouted.subnet4, unrouted.subnet6 = "", ""
	}
	red, blue, refused, green := n.network(t, own), n.network(t, given), n.network(t, other), n.network(t, swapped)

	a, b := n.pod(t, "talker-a"), n.pod(t, "talker-b")
	lists := map[schema.IfName]*libcni.NetworkConfigList{"net1": red, "net2": blue, "net3": green}
	for _, p := range []pod{a, b} {
		for ifname, list := range lists {
			for range 2 {
				res, err := p.Add(timeout(t), list, string(ifname))
				w.heard("ADD", res, err)
				if err != nil {
					t.Fatal(err)
				}
			}
			w.secret(t, p, ifname)
		}
		p.start(t)
	}
	if len(w.secrets) != 8 || w.secret(t, a, "net2") != givenSecret || w.secret(t, a, "net1") == w.secret(t, b, "net1") {
		t.Errorf("%d secrets, want a given one and one for each other attachment", len(w.secrets))
	}
	for _, p := range []pod{a, b} {
		for ifname := range lists {
			if err := p.WaitReady(timeout(t), string(ifname)); err != nil {
				t.Fatal(err)
			}
		}
		p.check(t, red)
		_, err := p.Add(timeout(t), refused, "net2")
		w.heard("ADD with another secret", nil, err)
		if err == nil {
			t.Error("an ADD with another secret succeeds")
		}
	}
	w.askEverybody(t, a, b)
	w.drift(t, a, red)
	w.askEverybody(t, a, b)
	w.newSandbox(t, b, red)

	if err := n.CNI().GCNetworkList(timeout(t), red, &libcni.GCArgs{}); err != nil {
		w.heard("GC", nil, err)
	}
	a.del(t, blue, "net2")
	w.statuses(t)
	for _, p := range []interface{ Signal(syscall.Signal) error }{n.Agent, a.Agent, b.Agent} {
		if err := p.Signal(syscall.SIGQUIT); err != nil { // Go prints all stacks
			t.Error(err)
		}
	}
	eventually(t, "the agents' ends", func() string {
		if n.Agent.Running() || a.Agent.Running() || b.Agent.Running() {
			return "running"
		}
		return ""
	})
	w.files(t)
	if !bytes.Contains(w.said["/plugin.log"], []byte("attachment added")) {
		t.Error("the plugin's log was not looked at")
	}
	w.judge(t)
}

// drift has everything go wrong with a's net1 that can: values that are no
// values, secrets that differ, an interface that is gone.
func (w *witness) drift(t *testing.T, a pod, list *libcni.NetworkConfigList) {
	t.Helper()
	h := w.c.hand(t)
	view := w.c.look(t, a)
	key, good := view.Host.Key, string(view.Host.Raw)
	s := w.secret(t, a, "net1")
	for _, edit := range []string{
		good[:strings.Index(good, s)+len(s)-1],                        // cut within the secret
		strings.Replace(good, `"`+s+`"`, `["`+s+`"]`, 1),              // another type
		strings.Replace(good, s, s+"!", 1),                            // too long
		strings.Replace(good, `"secret"`, `"secrets"`, 1),             // an unknown field
		strings.Replace(good, s, "ChangedByTheOperator.26", 1),        // another secret at one end
		strings.Replace(good, `"master"`, `"nobody","secret":"x"`, 1), // twice
	} {
		if edit == good {
			t.Fatal("an edit changes nothing")
		}
		h.put(key, edit)
		eventually(t, "a status of the edited value", func() string {
			v := w.c.look(t, a)
			if v.HostStatus == nil || v.HostStatus.Value.SpecRevision != v.Host.Rev {
				return "not there"
			}
			return ""
		})
		_, err := a.Add(timeout(t), list, "net1")
		w.heard("ADD of an edited one", nil, err)
		w.heard("CHECK of an edited one", nil, a.Check(timeout(t), list, "net1"))
		w.ctl(t, "describe", "attachment", "default/"+a.Name)
		w.ctl(t, "get", "attachments", "-o", "yaml")
		w.statuses(t)
	}
	w.mu.Lock()
	w.secrets["an edit"] = "ChangedByTheOperator.26"
	w.mu.Unlock()
	h.put(key, good)
	w.c.awaitState(t, a, schema.Ready)
	name := w.c.look(t, a).HostStatus.Value.Interface
	if err := w.n.DeleteInterface(timeout(t), name); err != nil {
		t.Fatal(err)
	}
	w.ctl(t, "verify")
	w.heard("CHECK of one that is gone", nil, a.Check(timeout(t), list, "net1"))
	if err := a.WaitReady(timeout(t), "net1"); err != nil {
		t.Fatal(err)
	}
}

// newSandbox takes net1 over with another secret.
func (w *witness) newSandbox(t *testing.T, b pod, list *libcni.NetworkConfigList) {
	t.Helper()
	before := w.secret(t, b, "net1")
	renewed := pod{b.NewSandbox()}
	res, err := renewed.Add(timeout(t), list, "net1")
	w.heard("ADD of a new sandbox", res, err)
	if err != nil {
		t.Fatal(err)
	}
	if w.secret(t, renewed, "net1") == before {
		t.Error("a new sandbox has the old one's secret")
	}
	if err := renewed.WaitReady(timeout(t), "net1"); err != nil {
		t.Errorf("the pod's end does not follow to the new secret: %v", err)
	}
}
