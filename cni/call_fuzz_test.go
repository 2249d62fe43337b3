package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// wellKnown are the codes of the CNI specification, section "Error", that a call
// may end with when no other plugin had a part in it.
var wellKnown = map[uint]bool{
	types.ErrIncompatibleCNIVersion: true, types.ErrUnsupportedField: true, types.ErrUnknownContainer: true,
	types.ErrInvalidEnvironmentVariables: true, types.ErrIOFailure: true, types.ErrDecodingFailure: true,
	types.ErrInvalidNetworkConfig: true, types.ErrInvalidNetNS: true, types.ErrTryAgainLater: true,
	types.ErrPluginNotAvailable: true, types.ErrLimitedConnectivity: true,
}

// FuzzCall: a whole call of the plugin, on a real etcd with a stand-in for the
// agent, ends with a result or with an error in CNI's form and one of CNI's
// codes, whatever the environment and the configuration say; and what it leaves
// in etcd is what the key table has rows for, until DEL.
//
// Where the call would leave the machine or write elsewhere (etcd's address, the
// log, other programs), the target's own fields come last.
func FuzzCall(f *testing.F) {
	for _, verb := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "", "add"} {
		f.Add(verb, testContainer, "net1", "/var/run/netns/x", ofPod("u1"), []byte(`{"cniVersion":"1.1.0","name":"net","type":"vpp-cni",`+routedHost+`}`))
	}
	prev := `"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"net1","sandbox":"/var/run/netns/x"}]}`
	f.Add("CHECK", testContainer, "net1", "/var/run/netns/x", ofPod("u1"), []byte(`{"cniVersion":"1.1.0","name":"net","type":"vpp-cni",`+routedHost+`,`+prev+`}`))
	f.Add("ADD", testContainer, "net1", "/var/run/netns/x", ofPod("u1"), []byte(`{"cniVersion":"0.3.1","name":"net","type":"vpp-cni",`+bridgedHost+`,`+prev+`}`))
	f.Add("GC", "", "", "", "", []byte(`{"cniVersion":"1.1.0","name":"net","type":"vpp-cni",`+routedHost+`,"cni.dev/valid-attachments":[{"containerID":"x","ifname":"y"}]}`))
	for _, name := range []string{"ip mode in a bridge", "VLAN beyond any number", "name with slash", "secret with NUL", "no JSON"} {
		f.Add("ADD", "c1", "net1", "/ns", "", []byte(badConfigs[name].conf))
	}
	f.Fuzz(func(t *testing.T, verb, container, ifname, netns, args string, conf []byte) {
		for _, s := range []string{verb, container, ifname, netns, args} {
			if strings.Contains(s, "\x00") {
				return // no environment can hold it
			}
		}
		w := newWorldOn(t, programs.etcd, programs.cli, "")
		defer w.clear()
		conf = w.confine(conf)
		code, out := w.inProcess(runtimeCall{verb, container, ifname, netns, args}, conf)
		checkAnswer(t, verb, conf, code, out)
		for key := range w.stored() {
			if _, err := w.keys.Parse(w.keys.Root() + key); err != nil {
				t.Errorf("in etcd: %v", err)
			}
		}
		if verb == "ADD" && code == 0 {
			if code, out := w.inProcess(runtimeCall{"DEL", container, ifname, netns, args}, conf); code != 0 {
				t.Errorf("DEL after ADD: %s", out)
			}
			w.nothingLeft()
		}
	})
}

// checkAnswer wants CNI's form and CNI's codes.
func checkAnswer(t *testing.T, verb string, conf []byte, code int, out []byte) {
	t.Helper()
	switch {
	case code == 0 && verb == "ADD":
		if !json.Valid(out) {
			t.Errorf("ADD answered %q", out)
		}
	case code == 0:
	case code == 1:
		var e types.Error
		if err := json.Unmarshal(out, &e); err != nil || !wellKnown[e.Code] || e.Msg == "" {
			t.Errorf("%s of %s: error %d in %q, %v", verb, conf, e.Code, out, err)
		}
	default:
		t.Errorf("exit code %d: %s", code, out)
	}
}

// confine lets the configuration's etcd be this world's, and lets it neither
// write a log nor wait.
func (w *world) confine(conf []byte) []byte {
	object := bytes.TrimSpace(conf)
	if !bytes.HasSuffix(object, []byte("}")) {
		return conf // no configuration
	}
	own := w.conf()
	own = own[strings.Index(own, `"etcd"`):]
	sep := ","
	if bytes.Equal(object, []byte("{}")) {
		sep = ""
	}
	return append(bytes.TrimSuffix(object, []byte("}")), sep+`"logFile":"","configFile":"",`+own...)
}

// inProcess runs the plugin's main without a process of its own.
func (w *world) inProcess(c runtimeCall, conf []byte) (int, []byte) {
	w.t.Helper()
	in, out := filepath.Join(w.dir, "stdin"), filepath.Join(w.dir, "stdout")
	writeFile(w.t, in, string(conf))
	stdin, err := os.Open(in)
	if err != nil {
		w.t.Fatal(err)
	}
	stdout, err := os.Create(out)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"CNI_COMMAND": c.verb, "CNI_CONTAINERID": c.container, "CNI_IFNAME": c.ifname, "CNI_NETNS": c.netns, "CNI_ARGS": c.args,
		"CNI_PATH": filepath.Join(w.dir, "none"), "VPP_CNI_CONFIG": "",
	} {
		w.t.Setenv(name, value)
	}
	wasIn, wasOut := os.Stdin, os.Stdout
	os.Stdin, os.Stdout = stdin, stdout
	code := run(nil)
	if os.Stdin != stdin {
		_ = os.Stdin.Close() // the pipe that bounds it
	}
	os.Stdin, os.Stdout = wasIn, wasOut
	_ = stdin.Close()
	_ = stdout.Close()
	return code, []byte(readFile(w.t, out))
}

// clear empties the world's part of etcd: a fuzz target's inputs share a name.
func (w *world) clear() {
	if _, err := w.cli.Delete(context.Background(), w.keys.Root(), clientv3.WithPrefix()); err != nil {
		w.t.Error(err)
	}
}
