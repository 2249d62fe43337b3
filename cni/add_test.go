package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema"
)

func TestAddAndDelBridged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(bridgedHost, w.hostLocal("host-local"))
	o := w.call(runtimeOf("ADD").saying(ofPod("uid-1")), conf).ok(t)

	host := w.hostValue(testContainer, "net1")
	pod := w.podValue("uid-1", "net1")
	if want := (&schema.BridgeEnd{Name: "4", DomainID: 4}); !cmp.Equal(host.Bridge, want) || host.Memif.Role != schema.MemifMaster || pod.Memif.Role != schema.MemifSlave {
		t.Errorf("wrong ends: %+v %+v", host, pod)
	}
	if host.Pod != (schema.PodRef{ID: "uid-1", Namespace: "ns", Name: "pod"}) || host.Sandbox != "/var/run/netns/test" || host.BootID == "" {
		t.Errorf("wrong pod: %+v", host)
	}
	if len(host.Gateways)+len(host.PodAddresses) != 0 {
		t.Errorf("a bridged host end has addresses: %+v", host)
	}
	if got := show(pod.Addresses); got != `["10.1.0.2/24"]` {
		t.Errorf("pod has addresses %s", got)
	}
	want := `{
  "cniVersion": "1.1.0",
  "interfaces": [
    {"name": "net1", "mac": "` + pod.MAC.String() + `", "mtu": 9000, "sandbox": "/var/run/netns/test", "socketPath": "/run/vpp-cni/pods/uid-1/net1.memif"},
    {"name": "memif1/0", "mac": "` + host.MAC.String() + `", "mtu": 9000, "socketPath": "/run/vpp-cni/pods/uid-1/net1.memif"}
  ],
  "ips": [{"interface": 0, "address": "10.1.0.2/24", "gateway": "10.1.0.1"}],
  "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]
}`
	sameJSON(t, want, o.stdout)
	for _, field := range []string{"container=" + testContainer, "ifname=net1", "interface=memif1/0", "took=", "pod=uid-1", "level=info"} {
		if !strings.Contains(o.stderr, field) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("an ADD's log is not one line with %s:\n%s", field, o.stderr)
		}
	}

	w.call(runtimeOf("CHECK").saying(ofPod("uid-1")), w.conf(bridgedHost, w.hostLocal("host-local"), `"prevResult":`+o.stdout)).ok(t)
	w.call(runtimeOf("DEL").saying(ofPod("uid-1")), conf).ok(t)
	w.nothingLeft()
}

// sameJSON compares two JSON texts by content.
func sameJSON(t *testing.T, want, got string) {
	t.Helper()
	var w, g any
	mustJSON(t, want, &w)
	mustJSON(t, got, &g)
	if d := cmp.Diff(w, g); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestAddTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	first := w.call(runtimeOf("ADD").saying(ofPod("u1")), conf).ok(t)
	before := w.stored()
	second := w.call(runtimeOf("ADD").saying(ofPod("u1")), conf).ok(t)
	if d := cmp.Diff(first.stdout, second.stdout); d != "" {
		t.Errorf("other answer (-first +second):\n%s", d)
	}
	if d := cmp.Diff(before, w.stored()); d != "" {
		t.Errorf("keys changed:\n%s", d)
	}
	if a := w.allocated(); len(a) != 1 {
		t.Errorf("allocated: %v", a)
	}

	w.call(runtimeOf("ADD").saying(ofPod("u1")), w.conf(routedHost, w.hostLocal("host-local"), `"mtu":1500`)).fails(t, 7, "host.mtu: 1500 asked, none there")
	w.call(runtimeOf("ADD").saying(ofPod("u2")), conf).fails(t, 7, "pod's end is missing")
	w.call(runtimeOf("ADD").saying(ofPod("u1")).in("/var/run/netns/other"), conf).fails(t, 7, "host.sandbox")
	if d := cmp.Diff(before, w.stored()); d != "" {
		t.Errorf("a refused ADD changed keys:\n%s", d)
	}
	if a := w.allocated(); len(a) != 1 {
		t.Errorf("allocated: %v", a)
	}
	w.call(runtimeOf("DEL"), conf).ok(t)
	w.nothingLeft()
}

func TestNamedBridge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	blue := `"host":{"netType":"bridge","bridge":{"bridgeName":"blue","vlanId":10}}`
	w.call(runtimeOf("ADD"), w.conf(blue)).ok(t)
	w.call(runtimeOf("ADD").with("c2"), w.conf(blue, `"name":"other"`)).ok(t)
	w.call(runtimeOf("ADD").with("c3"), w.conf(`"host":{"netType":"bridge"},"container":{"netType":"bridge","bridge":{"bridgeName":"red"}}`)).ok(t)
	for _, container := range []string{testContainer, "c2"} {
		if got, want := w.hostValue(container, "net1").Bridge, (&schema.BridgeEnd{Name: "blue", DomainID: 1 << 20, VLAN: 10}); !cmp.Equal(got, want) {
			t.Errorf("%s: bridge %+v, want %+v", container, got, want)
		}
		if got := w.podValue(container, "net1").VLAN; got != 10 {
			t.Errorf("%s: VLAN %d", container, got)
		}
	}
	if got, want := w.hostValue("c3", "net1").Bridge, (&schema.BridgeEnd{Name: "net", DomainID: 1<<20 + 1}); !cmp.Equal(got, want) {
		t.Errorf("bridge %+v, want %+v", got, want)
	}
	if got, want := w.podValue("c3", "net1").Bridge, (&schema.BridgeEnd{Name: "red", DomainID: 1<<20 + 2}); !cmp.Equal(got, want) {
		t.Errorf("bridge %+v, want %+v", got, want)
	}
	for _, container := range []string{testContainer, "c2", "c3"} {
		w.call(runtimeOf("DEL").with(container), w.conf(blue)).ok(t)
	}
	w.nothingLeft()
	if _, ok := w.stored()["bridge-domains/1048576"]; !ok {
		t.Error("the bridge lost its id")
	}
}

// TestNetworkRecord: what networks/<name> says goes into the values, after the
// network configuration and before the node's file.
func TestNetworkRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("networks/net", `{"vrf":42,"mtu":1400}`)
	w.call(runtimeOf("ADD"), w.conf(routedHost)).ok(t)
	if h := w.hostValue(testContainer, "net1"); h.VRF != 42 || h.MTU != 1400 {
		t.Errorf("got %+v", h)
	}
	w.call(runtimeOf("ADD").with("c2"), w.conf(routedHost, `"mtu":1300`)).ok(t)
	if h := w.hostValue("c2", "net1"); h.MTU != 1300 {
		t.Errorf("got %+v", h)
	}
	w.put("networks/net", `{"unknown":1}`)
	w.call(runtimeOf("ADD").with("c3"), w.conf(routedHost)).fails(t, 7, "unknown")
}

func TestAddStaticTwoFamilies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ipam := `"ipam":{"type":"static","addresses":[{"address":"10.2.0.5/32","gateway":"169.254.1.1"},{"address":"fd00::5/128","gateway":"fd00::1"}],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],"dns":{"nameservers":["10.2.0.53"]}}`
	o := w.call(runtimeOf("ADD"), w.conf(routedHost, ipam)).ok(t)
	sameJSON(t, `["169.254.1.1","fd00::1"]`, show(w.hostValue(testContainer, "net1").Gateways))
	pod := w.podValue(testContainer, "net1")
	sameJSON(t, `[{"dst":"0.0.0.0/0","gw":"169.254.1.1"},{"dst":"::/0","gw":"fd00::1"}]`, show(pod.Routes))
	sameJSON(t, `["169.254.1.1","fd00::1"]`, show(pod.Gateways))
	if o.result.DNS.Nameservers[0] != "10.2.0.53" {
		t.Errorf("dns: %+v", o.result.DNS)
	}
	w.call(runtimeOf("DEL"), w.conf(routedHost, ipam)).ok(t)
	w.nothingLeft()
}

func TestAddVhostUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(`"host":{"iftype":"vhostuser","netType":"bridge","vhost":{"mode":"client"},"bridge":{"bridgeName":4}}`, w.hostLocal("host-local"))
	o := w.call(runtimeOf("ADD"), conf).ok(t)
	pod := w.podValue(testContainer, "net1")
	if pod.VhostUser.Role != schema.VhostClient || len(pod.Addresses) != 1 || o.result.Interfaces[0].SocketPath != "/run/vpp-cni/pods/"+testContainer+"/net1.vhost" {
		t.Errorf("got %+v and %s", pod, o.stdout)
	}
	w.call(runtimeOf("DEL"), conf).ok(t)
	w.nothingLeft()
}

func TestMAC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, `"runtimeConfig":{"mac":"02:00:00:00:00:01"},"args":{"cni":{"mac":"02:00:00:00:00:02"}}`)
	for i, tc := range []struct{ conf, args, want string }{
		{conf, "MAC=02:00:00:00:00:03", "02:00:00:00:00:01"},
		{w.conf(routedHost, `"args":{"cni":{"mac":"02:00:00:00:00:02"}}`), "MAC=02:00:00:00:00:03", "02:00:00:00:00:02"},
		{w.conf(routedHost), "MAC=02:00:00:00:00:03", "02:00:00:00:00:03"},
	} {
		o := w.call(runtimeOf("ADD").with(fmt.Sprintf("c%d", i)).saying(tc.args), tc.conf).ok(t)
		if got := o.result.Interfaces[0].Mac; got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
	ipMode := `"host":{"netType":"interface","memif":{"mode":"ip"}}`
	w.call(runtimeOf("ADD").with("c9"), w.conf(routedHost, `"runtimeConfig":{"mac":"01:00:00:00:00:01"}`)).fails(t, 7, "runtimeConfig.mac", "unicast")
	w.call(runtimeOf("ADD").with("c9").saying("MAC=x"), w.conf(routedHost)).fails(t, 4, "MAC in CNI_ARGS")
	w.call(runtimeOf("ADD").with("c9"), w.conf(ipMode, `"runtimeConfig":{"mac":"02:00:00:00:00:01"}`)).fails(t, 7, "ip-mode")
	o := w.call(runtimeOf("ADD").with("c9"), w.conf(ipMode)).ok(t)
	if m := o.result.Interfaces[0].Mac + o.result.Interfaces[1].Mac; m != "" {
		t.Errorf("an ip-mode memif has MAC %s", m)
	}
}

// TestVersions: the answer has the configuration's version, and 1.1.0's fields
// only there.
func TestVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, v := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		conf := w.conf(routedHost, w.hostLocal("host-local"), `"cniVersion":"`+v+`"`)
		call := runtimeOf("ADD").with("c-" + v)
		o := w.call(call, conf).ok(t)
		if o.result.CNIVersion != v {
			t.Errorf("%s: answer of version %s", v, o.result.CNIVersion)
		}
		if has := strings.Contains(o.stdout, "socketPath"); has != (v == "1.1.0") {
			t.Errorf("%s: socketPath: %v", v, has)
		}
		if o.result.IPs[0].Address.IP.String() == "" || *o.result.IPs[0].Interface != 0 {
			t.Errorf("%s: %s", v, o.stdout)
		}
		if v != "0.3.1" {
			call.verb = "CHECK"
			w.call(call, w.conf(routedHost, w.hostLocal("host-local"), `"cniVersion":"`+v+`"`, `"prevResult":`+o.stdout)).ok(t)
		}
		call.verb = "DEL"
		w.call(call, conf).ok(t)
	}
	for _, v := range []string{"0.2.0", "9.9.9"} {
		w.call(runtimeOf("ADD"), w.conf(routedHost, `"cniVersion":"`+v+`"`)).fails(t, 1)
	}
	o := w.call(runtimeOf("VERSION"), "").ok(t)
	sameJSON(t, `{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}`, o.stdout)
	w.nothingLeft()
}

// TestChain: after another plugin the answer is both results.
func TestChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	prev := `"prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"02:00:00:00:00:aa","sandbox":"/x"}],
		"ips":[{"interface":0,"address":"10.5.0.2/24"}],"routes":[{"dst":"10.5.0.0/16"}],"dns":{"nameservers":["10.5.0.53"]}}`
	conf := w.conf(routedHost, w.hostLocal("host-local"), `"cniVersion":"1.0.0"`, prev)
	o := w.call(runtimeOf("ADD"), conf).ok(t)
	r := o.result
	if len(r.Interfaces) != 3 || r.Interfaces[0].Name != "eth0" || r.Interfaces[1].Name != "net1" || len(r.IPs) != 2 || *r.IPs[1].Interface != 1 || len(r.Routes) != 2 || r.DNS.Nameservers[0] != "10.5.0.53" {
		t.Errorf("got %s", o.stdout)
	}
	w.call(runtimeOf("CHECK"), w.conf(routedHost, w.hostLocal("host-local"), `"cniVersion":"1.0.0"`, `"prevResult":`+o.stdout)).ok(t)
	w.call(runtimeOf("DEL"), conf).ok(t)
	for name, bad := range map[string]string{
		"text": `"prevResult":"x"`, "null in a list": `"cniVersion":"0.4.0","prevResult":{"cniVersion":"0.4.0","ips":[null]}`,
		"null interface": `"prevResult":{"cniVersion":"1.1.0","interfaces":[null]}`, "other version": `"prevResult":{"cniVersion":"7.0.0"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w.call(runtimeOf("ADD"), w.conf(routedHost, w.hostLocal("host-local"), bad)).fails(t, 6, "prevResult")
		})
	}
	w.nothingLeft()
}

// TestTwoInterfaces: two interfaces of one pod, on one network and on two.
func TestTwoInterfaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.conf(routedHost, w.hostLocal("host-local")), w.conf(bridgedHost, w.hostLocal("host-local"), `"name":"two"`)
	pod := ofPod("u1")
	calls := []struct{ ifname, conf string }{{"net1", one}, {"net2", one}, {"net3", two}}
	var macs []string
	for _, c := range calls {
		o := w.call(runtimeOf("ADD").on(c.ifname).saying(pod), c.conf).ok(t)
		macs = append(macs, o.result.Interfaces[0].Mac, o.result.Interfaces[1].Mac)
	}
	slices.Sort(macs)
	if len(slices.Compact(macs)) != 6 {
		t.Errorf("MAC addresses are not all different: %v", macs)
	}
	w.call(runtimeOf("DEL").on("net1").saying(pod), one).ok(t)
	w.hostValue(testContainer, "net2")
	w.podValue("u1", "net3")
	w.call(runtimeOf("DEL").on("net2").saying(pod), one).ok(t)
	w.call(runtimeOf("DEL").on("net3").saying(pod), two).ok(t)
	w.nothingLeft()
}

// TestContainerIDs: short ids, and ids that begin alike.
func TestContainerIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	ids := []string{"a", testContainer[:12] + "x", testContainer[:12] + "y", testContainer}
	macs := map[string]bool{}
	for _, id := range ids {
		o := w.call(runtimeOf("ADD").with(id), conf).ok(t)
		macs[o.result.Interfaces[0].Mac] = true
	}
	if a := w.allocated(); len(a) != len(ids) || len(macs) != len(ids) {
		t.Errorf("%d addresses, %d MACs for %d containers", len(a), len(macs), len(ids))
	}
	w.call(runtimeOf("DEL").with(ids[1]), conf).ok(t)
	w.hostValue(ids[2], "net1")
	for _, id := range ids {
		w.call(runtimeOf("DEL").with(id), conf).ok(t)
	}
	w.nothingLeft()
}

// TestTakeover: a new sandbox of the same pod takes over, and late DELs of the
// old one change nothing.
func TestTakeover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	old, young := runtimeOf("ADD").with("old").saying(ofPod("u1")), runtimeOf("ADD").with("young").saying(ofPod("u1"))
	w.call(old, conf).ok(t)
	w.call(young, conf).ok(t)
	stored := w.stored()
	if _, ok := stored["nodes/node-1/host/old/net1"]; ok {
		t.Error("the old sandbox still has its key")
	}
	if got := w.podValue("u1", "net1").Container; got != "young" {
		t.Errorf("the pod belongs to %s", got)
	}
	if a := w.allocated(); len(a) != 1 {
		t.Errorf("the old sandbox's address is still allocated: %v", a)
	}
	w.eventually("the old status goes", func() bool { _, ok := w.stored()["nodes/node-1/host-status/old/net1"]; return !ok })
	before := w.stored()
	for range 2 {
		w.call(runtimeOf("DEL").with("old").in("").saying(ofPod("u1")), conf).ok(t)
	}
	if d := cmp.Diff(before, w.stored()); d != "" {
		t.Errorf("a late DEL changed keys:\n%s", d)
	}
	if a := w.allocated(); len(a) != 1 {
		t.Errorf("allocated: %v", a)
	}
	w.call(runtimeOf("ADD").with("old").saying(ofPod("u1")), conf).ok(t) // and back again
	w.call(runtimeOf("DEL").with("old"), conf).ok(t)
	w.nothingLeft()
}

// TestUserspaceUnchanged: the Userspace CNI's examples work as they are, under
// the name userspace; etcd and node come from the node's file. Their logs are
// elsewhere than under logDir, so that what would be in them goes to standard
// error, which says so.
func TestUserspaceUnchanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(w.dir, "config.yaml")
	writeFile(t, file, fmt.Sprintf("node: %s\nprefix: %s\netcd:\n  endpoints: [%q]\n", testNode, w.prefix, w.endpoint))
	w.env = []string{"VPP_CNI_CONFIG=" + file}
	// The examples leave host-local's directory to its default, which is the
	// machine's.
	w.script("host-local", `sed 's#"type": *"host-local"#&,"dataDir":"'"$DIR"'/ipam"#' | "$REAL"`)
	examples, err := filepath.Glob("testdata/userspace/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for i, example := range examples {
		conf := readFile(t, example)
		parsed, err := parseConfig([]byte(conf))
		if err != nil {
			t.Fatal(err)
		}
		_, err = os.Lstat(parsed.LogFile)
		missing := err != nil
		c := runtimeOf("ADD").with(fmt.Sprintf("userspace%d", i)).saying(ofPod("u1")).on(fmt.Sprintf("net%d", i))
		o := w.callAs("userspace", c, conf).ok(t)
		if o.result.CNIVersion != "0.3.1" || len(o.result.IPs) != 1 {
			t.Errorf("%s: %s", example, o.stdout)
		}
		if parsed.LogFile != "" && !strings.Contains(o.stderr, "must be a file *.log under /var/log/vpp-cni") {
			t.Errorf("%s: standard error says nothing of the log: %s", example, o.stderr)
		}
		if _, err = os.Lstat(parsed.LogFile); missing && err == nil {
			t.Errorf("%s: %s was made", example, parsed.LogFile)
		}
		c.verb = "DEL"
		w.callAs("userspace", c, conf).ok(t)
	}
	w.nothingLeft()
}
