package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// FuzzConfig: no input breaks the plugin, and what is accepted makes values
// that are valid.
func FuzzConfig(f *testing.F) {
	for _, tc := range badConfigs {
		f.Add([]byte(tc.conf))
	}
	files, err := filepath.Glob("testdata/userspace/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data)
		if err != nil {
			if e := asError(err); e.Code != 6 && e.Code != 7 {
				t.Fatalf("code %d: %v", e.Code, e)
			}
			return
		}
		ends, err := c.ends()
		if err != nil {
			if e := asError(err); e.Code != 6 && e.Code != 7 {
				t.Fatalf("code %d: %v", e.Code, e)
			}
			return
		}
		r := request{
			node: testNode, id: identity{testContainer, "net1", schema.PodRef{ID: "u1"}}, network: schema.NetworkName(c.Name),
			ends: ends, hostDomain: placeholder(ends.host), podDomain: placeholder(ends.pod),
		}
		if _, err := r.build(nil); err != nil {
			t.Fatalf("accepted, yet not valid: %v", err)
		}
		if c.PrevResult != nil && !json.Valid(c.PrevResult) {
			t.Fatal("prevResult is no JSON")
		}
	})
}

// FuzzResult: what a plugin before this one, or an IPAM plugin, answers in any
// version of the specification is read or refused, is compared with an
// attachment, and makes values that are valid or an error.
func FuzzResult(f *testing.F) {
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0", "0.2.0", "9", ""} {
		f.Add(version, []byte(`{"cniVersion":"`+version+`","interfaces":[{"name":"net1","sandbox":"/ns","mac":"02:00:00:00:00:01"}],
			"ips":[{"version":"4","interface":0,"address":"10.1.0.5/24","gateway":"10.1.0.1"},{"address":"fd00::5/64"}],
			"routes":[{"dst":"0.0.0.0/0"},{"dst":"fd00::/64","gw":"fd00::1","scope":253}],"dns":{"nameservers":["10.1.0.1"]}}`))
	}
	for _, s := range []string{
		`{"cniVersion":"1.0.0","interfaces":[null],"ips":[null],"routes":[null]}`, `{"ips":[{"address":"::ffff:10.0.0.1/96"}]}`, `[]`, `null`, `{"ips":[{"interface":-1,"address":"10.0.0.1/0"}]}`,
		`{"cniVersion":"0.3.1","ips":[{"version":"9","address":"10.0.0.1/8"}]}`, `{"ip4":{"ip":"10.0.0.1/24","gateway":"10.0.0.256"}}`,
	} {
		f.Add("1.0.0", []byte(s))
	}
	conf, err := parseConfig([]byte(`{"name":"net",` + routedHost + `}`))
	if err != nil {
		f.Fatal(err)
	}
	ends, err := conf.ends()
	if err != nil {
		f.Fatal(err)
	}
	r := request{node: testNode, id: identity{testContainer, "net1", schema.PodRef{ID: "u1"}}, network: "net", ends: ends}
	f.Fuzz(func(t *testing.T, version string, raw []byte) {
		c := &call{cmd: &skel.CmdArgs{IfName: "net1", Netns: "/ns"}, conf: &netConf{CNIVersion: version, PrevResult: raw}}
		prev, err := c.prevResult()
		if err != nil || prev == nil {
			if err != nil && asError(err).Code != types.ErrDecodingFailure {
				t.Fatalf("code %d: %v", asError(err).Code, err)
			}
			return
		}
		a, err := r.build(prev)
		if err != nil {
			if code := asError(err).Code; code != types.ErrInvalidNetworkConfig {
				t.Fatalf("code %d: %v", code, err)
			}
			return
		}
		view := store.View{Host: &store.Versioned[schema.HostInterface]{Value: a.Host}, Pod: &store.Versioned[schema.PodInterface]{Value: a.Pod}}
		_ = c.checkResult(prev, view)
		mine := c.answer(a, schema.InterfaceStatus{Interface: "memif1/0"}, "/run/vpp-cni")
		merged := merge(prev, mine)
		for i, ip := range merged.IPs[len(merged.IPs)-len(mine.IPs):] {
			if at := *ip.Interface; at >= len(merged.Interfaces) || merged.Interfaces[at] != mine.Interfaces[0] {
				t.Fatalf("address %d of this attachment is on interface %d of another", i, at)
			}
		}
		checkVersions(t, merged)
	})
}

// checkVersions wants the result in each version that we answer in.
func checkVersions(t *testing.T, r *types100.Result) {
	t.Helper()
	for _, version := range supported().SupportedVersions() {
		out, err := r.GetAsVersion(version)
		if err != nil {
			t.Fatalf("no form in version %s: %v", version, err)
		}
		data, err := json.Marshal(out)
		if err != nil {
			t.Fatalf("version %s: %v", version, err)
		}
		if _, err := cniversion.NewResult(version, data); err != nil {
			t.Fatalf("version %s: %s cannot be read: %v", version, data, err)
		}
	}
}

// FuzzArgs: CNI_ARGS, CNI_CONTAINERID and CNI_IFNAME name an attachment whose
// keys and paths are its own, or are an error of code 4.
func FuzzArgs(f *testing.F) {
	f.Add(ofPod("u1"), "c1", "net1")
	f.Add("K8S_POD_UID=../../x;K8S_POD_UID=ok;;=;a=b=c; MAC = 02:00:00:00:00:01", "c1", "net1")
	f.Add("K8S_POD_UID=;K8S_POD_NAME=\x00\x1b[2J", "a/b", "..")
	f.Fuzz(func(t *testing.T, args, container, ifname string) {
		id, err := identify(&skel.CmdArgs{ContainerID: container, IfName: ifname}, parseArgs(args))
		if err != nil {
			if code := asError(err).Code; code != types.ErrInvalidEnvironmentVariables {
				t.Fatalf("code %d: %v", code, err)
			}
			return
		}
		var k schema.Keys
		for _, key := range []string{k.Host(testNode, id.container, id.ifName), k.PodInterface(testNode, id.pod.ID, id.ifName)} {
			if ref, err := k.Parse(key); err != nil || ref.IfName != id.ifName || ref.Node != testNode {
				t.Fatalf("key %q is %+v, %v", key, ref, err)
			}
		}
		if dir := filepath.Join("/pods", string(id.pod.ID)); filepath.Dir(dir) != "/pods" || filepath.Base(dir) != string(id.pod.ID) {
			t.Fatalf("pod %q has directory %q", id.pod.ID, dir)
		}
	})
}
