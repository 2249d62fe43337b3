package main

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIPAM(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script string
		code   uint
		want   []string
	}{
		"fails with a code":      {`echo '{"cniVersion":"1.0.0","code":42,"msg":"no, thank you","details":"really"}'; exit 1`, 42, []string{"bad: ADD failed", "no, thank you; really"}},
		"fails with no code":     {`echo '{"code":999,"msg":"broken"}'; exit 1`, 11, []string{"broken"}},
		"fails without a word":   {`exit 3`, 11, []string{"it said nothing", "exit status 3"}},
		"fails on stderr":        {`echo "out of memory" >&2; exit 1`, 11, []string{"out of memory"}},
		"dies":                   {`kill -9 $$`, 11, []string{"signal: killed"}},
		"rubbish":                {`"$REAL" >/dev/null; echo rubbish`, 6, []string{"its answer is not a result"}},
		"nothing":                {`"$REAL" >/dev/null`, 6, []string{"its answer is not a result"}},
		"null":                   {`"$REAL" >/dev/null; echo null`, 6, []string{"no address"}},
		"no addresses":           {`"$REAL" >/dev/null; echo '{"cniVersion":"1.0.0"}'`, 6, []string{"no address"}},
		"null in the list":       {`"$REAL" >/dev/null; echo '{"cniVersion":"1.0.0","ips":[null]}'`, 6, []string{"not a result"}},
		"null in an older list":  {`"$REAL" >/dev/null; echo '{"cniVersion":"0.4.0","ips":[null]}'`, 6, []string{"not a result"}},
		"address of rubbish":     {`"$REAL" >/dev/null; echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.300/24"}]}'`, 6, []string{"not a result"}},
		"address that cannot be": {`"$REAL" >/dev/null; echo '{"cniVersion":"1.0.0","ips":[{"address":"127.0.0.1/8"}]}'`, 6, []string{"unicast"}},
		"unknown version":        {`"$REAL" >/dev/null; echo '{"cniVersion":"7.0.0","ips":[{"address":"10.0.0.3/24"}]}'`, 6, []string{"7.0.0"}},
		"never ends":             {`sleep 60`, 11, []string{"ended before it answered"}},
		"without end":            {`"$REAL" >/dev/null; head -c 3000000 /dev/zero | tr '\0' '['`, 6, []string{"not a result"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.timeout = "2s"
			w.script("bad", `if [ "$CNI_COMMAND" != ADD ]; then exec "$REAL"; fi; `+tc.script)
			w.call(runtimeOf("ADD"), w.conf(routedHost, w.hostLocal("bad"))).fails(t, tc.code, tc.want...)
			w.nothingLeft()
			if w.agent.sawPut() {
				t.Error("an attachment was written to etcd")
			}
		})
	}
}

func TestIPAMUsedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local", `"rangeStart":"10.1.0.10","rangeEnd":"10.1.0.10"`))
	w.call(runtimeOf("ADD").with("a"), conf).ok(t)
	w.call(runtimeOf("ADD").with("b"), conf).fails(t, 11, "host-local", "no IP addresses available")
	if a := w.allocated(); len(a) != 1 {
		t.Errorf("allocated: %v", a)
	}
	w.call(runtimeOf("DEL").with("b"), conf).ok(t)
	w.call(runtimeOf("DEL").with("a"), conf).ok(t)
	w.call(runtimeOf("ADD").with("b"), conf).ok(t)
	w.call(runtimeOf("DEL").with("b"), conf).ok(t)
	w.nothingLeft()
}

// TestIPAMKeepsTheAddress: a DEL that cannot give the address back says so, and
// the next one tries again.
func TestIPAMKeepsTheAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("keeps", `if [ "$CNI_COMMAND" = DEL ] && [ ! -e "$DIR/go" ]; then echo '{"code":5,"msg":"disk is read-only"}'; exit 1; fi; exec "$REAL"`)
	conf := w.conf(routedHost, w.hostLocal("keeps"))
	w.call(runtimeOf("ADD"), conf).ok(t)
	w.call(runtimeOf("DEL"), conf).fails(t, 5, "keeps", "disk is read-only")
	w.proceed()
	w.call(runtimeOf("DEL"), conf).ok(t)
	w.nothingLeft()

	w = newWorldNamed(t, "cleanup")
	w.timeout = "500ms"
	w.agent.set(mode{silent: true})
	w.script("keeps", `if [ "$CNI_COMMAND" = DEL ]; then echo '{"code":5,"msg":"disk is read-only"}'; exit 1; fi; exec "$REAL"`)
	w.call(runtimeOf("ADD"), w.conf(routedHost, w.hostLocal("keeps"))).fails(t, 11, "within 500ms", "cleaning up", "disk is read-only")
}

// TestIPAMContract: an IPAM plugin that goes by the call itself, as dhcp does,
// is given all of it: the runtime's environment, and the whole network
// configuration, with prevResult where there is one.
func TestIPAMContract(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("leases", `conf=$(cat)
env | grep '^CNI_' | sort > "$DIR/$CNI_COMMAND.env"
printf %s "$conf" > "$DIR/$CNI_COMMAND.conf"
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.1.0","ips":[{"address":"10.4.0.5/24","gateway":"10.4.0.1"}]}'`)
	const ipam = `"ipam":{"type":"leases","daemonSocketPath":"/run/leases.sock","request":[{"option":"router"}]}`
	conf := w.conf(routedHost, ipam)
	pod := ofPod("u1")
	o := w.call(runtimeOf("ADD").saying(pod), conf).ok(t)
	checked := w.conf(routedHost, ipam, `"prevResult":`+o.stdout)
	w.call(runtimeOf("CHECK").saying(pod), checked).ok(t)
	w.call(runtimeOf("DEL").saying(pod), conf).ok(t)
	for verb, given := range map[string]string{"ADD": conf, "CHECK": checked, "DEL": conf} {
		want := fmt.Sprintf("CNI_ARGS=%s\nCNI_COMMAND=%s\nCNI_CONTAINERID=%s\nCNI_IFNAME=net1\nCNI_NETNS=/var/run/netns/test\nCNI_PATH=%s\n",
			pod, verb, testContainer, w.pluginDir()+":"+programs.bin)
		if d := cmp.Diff(want, readFile(t, filepath.Join(w.dir, verb+".env"))); d != "" {
			t.Errorf("%s: environment (-want +got):\n%s", verb, d)
		}
		sameJSON(t, given, readFile(t, filepath.Join(w.dir, verb+".conf")))
	}
	w.nothingLeft()
}
