package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadInput: each bad input is an error in CNI's form with its code, and
// leaves nothing in etcd or at IPAM.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ipam := w.hostLocal("host-local")
	add := runtimeOf("ADD")
	good := w.conf(routedHost, ipam)
	host := func(s string) string { return w.conf(ipam, `"host":`+s) }
	for name, tc := range map[string]struct {
		call runtimeCall
		conf string
		code uint
		want string
	}{
		"empty":                             {add, ``, 6, ""},
		"broken":                            {add, good[:len(good)-1], 6, ""},
		"an array":                          {add, `[]`, 6, ""},
		"huge":                              {add, strings.Repeat(" ", maxStdin) + good, 6, "too large"},
		"huge and no JSON":                  {add, strings.Repeat("[", maxStdin+1), 6, "too large"},
		"deep":                              {add, strings.Repeat("[", 100000), 6, ""},
		"name missing":                      {add, w.conf(routedHost, `"name":""`), 7, "name"},
		"name with newline":                 {add, w.conf(routedHost, `"name":"a\n"`), 7, "name"},
		"unknown in host":                   {add, host(`{"colour":"red"}`), 7, "host.colour"},
		"unknown in memif":                  {add, host(`{"memif":{"socket":"x"}}`), 7, "host.memif.socket"},
		"unknown in etcd":                   {add, w.conf(routedHost, ipam, `"etcd":{"endpoints":["x:1"],"token":"x"}`), 7, "etcd.token"},
		"etcd endpoint":                     {add, w.conf(routedHost, ipam, `"etcd":{"endpoints":["ftp://x"]}`), 7, "ftp://x"},
		"etcd key without cert":             {add, w.conf(routedHost, ipam, `"etcd":{"endpoints":["https://127.0.0.1:1"],"key":"/x"}`), 7, "cert and key"},
		"etcd CA missing":                   {add, w.conf(routedHost, ipam, `"etcd":{"endpoints":["https://127.0.0.1:1"],"cacert":"/does/not/exist"}`), 5, "/does/not/exist"},
		"engine":                            {add, host(`{"engine":"ovs-dpdk"}`), 7, "vpp"},
		"iftype":                            {add, host(`{"iftype":"tap"}`), 7, "memif, vhostuser"},
		"netType":                           {add, host(`{"netType":"x"}`), 7, "bridge, interface, none"},
		"mode":                              {add, host(`{"memif":{"mode":"x"}}`), 7, "ethernet, ip"},
		"punt-inject":                       {add, host(`{"memif":{"mode":"punt-inject"}}`), 7, "VPP ends"},
		"roles equal":                       {add, w.conf(ipam, `"host":{"memif":{"role":"slave"}},"container":{"memif":{"role":"slave"}}`), 7, "opposite"},
		"ip mode in a bridge":               {add, host(`{"netType":"bridge","memif":{"mode":"ip"}}`), 7, "cannot join a bridge"},
		"VLAN 0":                            {add, host(`{"netType":"bridge","bridge":{"vlanId":0}}`), 7, "1 to 4094"},
		"VLAN 4095":                         {add, host(`{"netType":"bridge","bridge":{"vlanId":4095}}`), 7, "1 to 4094"},
		"VLAN text":                         {add, host(`{"netType":"bridge","bridge":{"vlanId":"x"}}`), 7, "host.bridge.vlanId"},
		"MTU 67":                            {add, w.conf(routedHost, ipam, `"mtu":67`), 7, "68 to 9000"},
		"MTU 9001":                          {add, w.conf(routedHost, ipam, `"mtu":9001`), 7, "68 to 9000"},
		"MTU below 0":                       {add, w.conf(routedHost, ipam, `"mtu":-1`), 7, "68 to 9000"},
		"MTU beyond 16 bits":                {add, w.conf(routedHost, ipam, `"mtu":66036`), 7, "68 to 9000"},
		"MTU for IPv6":                      {add, w.conf(routedHost, w.hostLocal("host-local", `"subnet":"fd00::/64"`), `"mtu":1279`), 7, "1280"},
		"secret":                            {add, host(`{"memif":{"secret":"` + strings.Repeat("s", 24) + `"}}`), 7, "23 bytes"},
		"secret is no text":                 {add, host(`{"memif":{"secret":123456789}}`), 7, "host.memif.secret"},
		"socket name":                       {add, host(`{"memif":{"socketfile":"a/b"}}`), 7, "memif.socketfile"},
		"socket path":                       {add.saying(ofPod(strings.Repeat("u", 110))), good, 7, "socket path"},
		"log level":                         {add, w.conf(routedHost, ipam, `"logLevel":"loud"`), 7, "logLevel"},
		"timeout":                           {add, w.conf(routedHost, ipam, `"timeout":"soon"`), 7, "timeout"},
		"prefix":                            {add, w.conf(routedHost, ipam, `"prefix":"no-slash"`), 7, "prefix"},
		"configFile":                        {add, w.conf(routedHost, ipam, `"configFile":"/does/not/exist"`), 7, "/does/not/exist"},
		"container empty":                   {add.with(""), good, 4, "CNI_CONTAINERID"},
		"container with slash":              {add.with("a/b"), good, 4, "container"},
		"container of dots":                 {add.with(".."), good, 4, "container"},
		"container with newline":            {add.with("a\nb"), good, 4, "container"},
		"container of 129 letters":          {add.with(strings.Repeat("c", 129)), good, 4, "CNI_CONTAINERID"},
		"interface empty":                   {add.on(""), good, 4, "CNI_IFNAME"},
		"interface of 16 letters":           {add.on("sixteen-letters-"), good, 4, "interface name"},
		"interface with slash":              {add.on("a/b"), good, 4, "interface name"},
		"interface of dots":                 {add.on(".."), good, 4, "interface name"},
		"interface of umlauts":              {add.on("nët1"), good, 4, "CNI_IFNAME"},
		"netns missing":                     {add.in(""), good, 4, "CNI_NETNS"},
		"netns is the host's":               {add.in("/proc/self/ns/net"), good, 8, "CNI_NETNS"},
		"pod UID":                           {add.saying("K8S_POD_UID=../../x"), good, 4, "K8S_POD_UID"},
		"CNI_COMMAND":                       {runtimeOf("FROB"), good, 4, "FROB"},
		"IPAM is a path":                    {add, w.conf(routedHost, `"ipam":{"type":"../host-local"}`), 7, "host-local"},
		"IPAM missing":                      {add, w.conf(routedHost, `"ipam":{"type":"no-such-plugin"}`), 7, "no-such-plugin"},
		"DEL: container with slash":         {runtimeOf("DEL").with("a/b"), good, 4, "container"},
		"DEL: no JSON":                      {runtimeOf("DEL"), `x`, 6, ""},
		"CHECK: prevResult missing":         {runtimeOf("CHECK"), good, 7, "prevResult is missing"},
		"CHECK: prevResult wrong":           {runtimeOf("CHECK"), w.conf(routedHost, ipam, `"prevResult":{"cniVersion":"1.1.0","ips":"x"}`), 6, "prevResult"},
		"CHECK: prevResult of another":      {runtimeOf("CHECK"), w.conf(routedHost, ipam, `"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"x"}]}`), 7, "not there"},
		"CHECK: before 0.4.0":               {runtimeOf("CHECK"), w.conf(routedHost, ipam, `"cniVersion":"0.3.1"`), 1, ""},
		"GC: list missing":                  {runtimeOf("GC"), good, 7, "cni.dev/valid-attachments is missing"},
		"GC: list of the wrong type":        {runtimeOf("GC"), w.conf(routedHost, ipam, `"cni.dev/valid-attachments":{}`), 7, "cni.dev/valid-attachments"},
		"GC: entry that names no one":       {runtimeOf("GC"), w.conf(routedHost, ipam, `"cni.dev/valid-attachments":[{"containerID":"x"}]`), 7, "cni.dev/valid-attachments[0]"},
		"GC: entry null":                    {runtimeOf("GC"), w.conf(routedHost, ipam, `"cni.dev/valid-attachments":[null]`), 7, "cni.dev/valid-attachments[0]"},
		"STATUS: a configuration of faults": {runtimeOf("STATUS"), w.conf(`"host":{"engine":"x"}`), 7, "host.engine"},
	} {
		t.Run(name, func(t *testing.T) {
			o := w.call(tc.call, tc.conf)
			o.fails(t, tc.code, tc.want)
			if strings.Contains(o.stdout+o.stderr, "sssss") || strings.Contains(o.stdout, "123456789") && strings.Contains(name, "secret") {
				t.Errorf("a secret is shown: %s\n%s", o.stdout, o.stderr)
			}
			w.nothingLeft()
		})
	}
	if w.agent.sawPut() {
		t.Error("an attachment was written to etcd")
	}
}

// TestErrorForm: an error answer has the version, the code and a message.
func TestErrorForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.call(runtimeOf("ADD"), w.conf(`"host":{"engine":"x"}`, `"cniVersion":"0.4.0"`)).fails(t, 7)
	sameJSON(t, `{"cniVersion":"0.4.0","code":7,"msg":"the network configuration is not valid","details":"host.engine \"x\" is not allowed: vpp"}`, o.stdout)
	if got := fail(7, "m", errors.Join(errors.New("a"), errors.New("b"))).Details; got != "a; b" {
		t.Errorf("two errors read %q, want one line", got)
	}
}

// TestDelIsNotHeldUp: a DEL works with what no ADD would take, or a pod could
// never go away.
func TestDelIsNotHeldUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, conf := range []string{
		w.conf(`"host":{"engine":"ovs-dpdk"}`),
		w.conf(`"host":{"memif":{"unknown":1}}`),
		w.conf(`"logLevel":"loud"`),
		w.conf(`"mtu":-5`),
		w.conf(routedHost, `"ipam":{"type":"no-such-plugin"}`),
		w.conf(`"prevResult":{"cniVersion":"9"}`),
		w.conf(`"cniVersion":"0.3.1"`),
	} {
		c := runtimeOf("DEL").with(fmt.Sprintf("c%d", i))
		w.call(runtimeOf("ADD").with(c.container), w.conf(routedHost)).ok(t)
		if strings.Contains(conf, "no-such-plugin") {
			// What was attached may hold addresses, so that is said; without an
			// attachment there is nothing to lose.
			w.call(c, conf).fails(t, 7, "no-such-plugin")
			w.hostValue(c.container, "net1")
			w.call(c, w.conf(routedHost)).ok(t)
		}
		w.call(c.in("").saying("K8S_POD_UID=../.."), conf).ok(t)
	}
	w.nothingLeft()
}

func TestByHand(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		exit int
		want string
	}{
		{nil, 0, "CNI protocol versions supported: 0.3.1, 0.4.0, 1.0.0, 1.1.0"},
		{[]string{"--help"}, 0, "CNI plugin for FD.io VPP"},
		{[]string{"version"}, 0, "vpp-cni devel"},
		{[]string{"frob"}, 2, `unknown argument "frob"`},
	} {
		cmd := exec.Command(filepath.Join(programs.bin, "vpp-cni"), tc.args...)
		cmd.Env = []string{"GORACE=atexit_sleep_ms=10"}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != tc.exit || !strings.Contains(string(out), tc.want) {
			t.Errorf("%v: exit %d: %s", tc.args, code, out)
		}
	}
}
