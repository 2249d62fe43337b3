package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema"
)

// text is one end as a line for people.
func (e endConf) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.ifType, e.netType)
	if e.ifType == schema.Memif {
		fmt.Fprintf(&b, " %s %s", e.memif.Role, e.memif.Mode)
	} else {
		fmt.Fprintf(&b, " %s", e.vhost.Role)
	}
	if s := e.memif.Socket; s != "" {
		fmt.Fprintf(&b, " socket %s", s)
	}
	if !e.memif.Secret.IsZero() {
		fmt.Fprintf(&b, " secret %d bytes", len(e.memif.Secret.Reveal()))
	}
	if e.bridge != "" {
		fmt.Fprintf(&b, " bridge %s", e.bridge)
	}
	if e.vlan != 0 {
		fmt.Fprintf(&b, " vlan %d", e.vlan)
	}
	return b.String()
}

func TestEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ conf, host, pod string }{
		"defaults": {
			`"host":{}`,
			"memif none master ethernet", "memif interface slave ethernet",
		},
		"all given": {
			`"host":{"engine":"vpp","iftype":"memif","netType":"bridge","memif":{"role":"slave","mode":"ethernet","socketfile":"a.sock","secret":"s3cret"},"bridge":{"bridgeName":"blue","vlanId":10}},
			 "container":{"engine":"vpp","iftype":"memif","netType":"interface","memif":{"role":"master","mode":"ethernet"}}`,
			"memif bridge slave ethernet socket a.sock secret 6 bytes bridge blue vlan 10", "memif interface master ethernet socket a.sock secret 6 bytes vlan 10",
		},
		"container says the role":       {`"host":{"netType":"interface"},"container":{"memif":{"role":"master"}}`, "memif interface slave ethernet", "memif interface master ethernet"},
		"Userspace CNI's word client":   {`"host":{"memif":{"role":"master"}},"container":{"memif":{"role":"client"}}`, "memif none master ethernet", "memif interface slave ethernet"},
		"ip mode":                       {`"host":{"netType":"interface","memif":{"mode":"ip"}}`, "memif interface master ip", "memif interface slave ip"},
		"bridge by number":              {`"host":{"netType":"bridge","bridge":{"bridgeName":7}}`, "memif bridge master ethernet bridge 7", "memif interface slave ethernet"},
		"bridge by number as text":      {`"host":{"netType":"bridge","bridge":{"bridgeName":"7"}}`, "memif bridge master ethernet bridge 7", "memif interface slave ethernet"},
		"bridge by id":                  {`"host":{"netType":"bridge","bridge":{"bridgeId":7}}`, "memif bridge master ethernet bridge 7", "memif interface slave ethernet"},
		"bridge by both":                {`"host":{"netType":"bridge","bridge":{"bridgeId":7,"bridgeName":"7"}}`, "memif bridge master ethernet bridge 7", "memif interface slave ethernet"},
		"bridge of the network's name":  {`"host":{"netType":"bridge"}`, "memif bridge master ethernet bridge net", "memif interface slave ethernet"},
		"name with digits is a name":    {`"host":{"netType":"bridge","bridge":{"bridgeName":"1e3"}}`, "memif bridge master ethernet bridge 1e3", "memif interface slave ethernet"},
		"pod in a bridge of its own":    {`"host":{"netType":"interface"},"container":{"netType":"bridge","bridge":{"bridgeName":"9"}}`, "memif interface master ethernet", "memif bridge slave ethernet bridge 9"},
		"both in bridges, tagged":       {`"host":{"netType":"bridge","bridge":{"bridgeName":"9","vlanId":4094}},"container":{"netType":"bridge"}`, "memif bridge master ethernet bridge 9 vlan 4094", "memif bridge slave ethernet bridge 9 vlan 4094"},
		"pod's own VLAN":                {`"host":{"netType":"bridge","bridge":{"vlanId":5}},"container":{"bridge":{"vlanId":6}}`, "memif bridge master ethernet bridge net vlan 5", "memif interface slave ethernet vlan 6"},
		"pod end none":                  {`"host":{"netType":"bridge","bridge":{"vlanId":5}},"container":{"netType":"none"}`, "memif bridge master ethernet bridge net vlan 5", "memif none slave ethernet"},
		"vhost-user, VPP serves":        {`"host":{"iftype":"vhostuser","netType":"interface"}`, "vhost-user interface server", "vhost-user interface server"},
		"vhost-user, VPP connects":      {`"host":{"iftype":"vhost-user","vhost":{"mode":"client"}},"container":{"vhost":{"mode":"server"}}`, "vhost-user none client", "vhost-user interface client"},
		"vhost-user, application first": {`"host":{"iftype":"vhostuser"},"container":{"vhost":{"mode":"server"}}`, "vhost-user none client", "vhost-user interface client"},
		"upper case":                    {`"HOST":{"IfType":"memif","NETTYPE":"none"}`, "memif none master ethernet", "memif interface slave ethernet"},
	} {
		c, err := parseConfig([]byte(`{"cniVersion":"1.0.0","name":"net",` + tc.conf + `}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ends, err := c.ends()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff([]string{tc.host, tc.pod}, []string{ends.host.text(), ends.pod.text()}); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// badConfigs are configurations that are errors of code 7 (6 where said), with
// what the error says.
var badConfigs = map[string]struct {
	conf string
	code uint
	want []string
}{
	"no JSON":                     {`{"name":"net",`, 6, nil},
	"empty":                       {``, 6, nil},
	"an array":                    {`[]`, 7, []string{"an object"}},
	"name missing":                {`{"host":{}}`, 7, []string{"name is missing"}},
	"name with slash":             {`{"name":"a/b","host":{}}`, 7, []string{"network name"}},
	"host missing":                {`{"name":"net"}`, 7, []string{"host", "missing"}},
	"host null":                   {`{"name":"net","host":null}`, 7, []string{"host", "missing"}},
	"host of the wrong type":      {`{"name":"net","host":"vpp"}`, 7, []string{"host", "an object"}},
	"engine":                      {`{"name":"net","host":{"engine":"ovs-dpdk"}}`, 7, []string{"host.engine", `"ovs-dpdk"`, "vpp"}},
	"container's engine":          {`{"name":"net","host":{},"container":{"engine":"ovs-dpdk"}}`, 7, []string{"container.engine", "vpp"}},
	"iftype":                      {`{"name":"net","host":{"iftype":"tap"}}`, 7, []string{"host.iftype", `"tap"`, "memif, vhostuser"}},
	"iftypes differ":              {`{"name":"net","host":{"iftype":"memif"},"container":{"iftype":"vhostuser"}}`, 7, []string{"container.iftype", "same"}},
	"netType":                     {`{"name":"net","host":{"netType":"l2"}}`, 7, []string{"host.netType", `"l2"`, "bridge, interface, none"}},
	"container's netType":         {`{"name":"net","host":{},"container":{"netType":"l2"}}`, 7, []string{"container.netType", "bridge, interface, none"}},
	"mode":                        {`{"name":"net","host":{"memif":{"mode":"tun"}}}`, 7, []string{"memif.mode", `"tun"`, "ethernet, ip"}},
	"punt-inject":                 {`{"name":"net","host":{"memif":{"mode":"punt-inject"}}}`, 7, []string{"memif.mode", "VPP ends"}},
	"inject-punt":                 {`{"name":"net","host":{"memif":{"mode":"inject-punt"}}}`, 7, []string{"memif.mode", "VPP ends"}},
	"role":                        {`{"name":"net","host":{"memif":{"role":"leader"}}}`, 7, []string{"host.memif.role", "master, slave"}},
	"equal roles":                 {`{"name":"net","host":{"memif":{"role":"master"}},"container":{"memif":{"role":"master"}}}`, 7, []string{"container.memif.role", "opposite"}},
	"equal roles, other words":    {`{"name":"net","host":{"memif":{"role":"slave"}},"container":{"memif":{"role":"client"}}}`, 7, []string{"container.memif.role", "opposite"}},
	"modes differ":                {`{"name":"net","host":{"memif":{"mode":"ip"}},"container":{"memif":{"mode":"ethernet"}}}`, 7, []string{"container.memif.mode", "same"}},
	"secrets differ":              {`{"name":"net","host":{"memif":{"secret":"aaa"}},"container":{"memif":{"secret":"bbb"}}}`, 7, []string{"container.memif.secret", "redacted"}},
	"secret and none":             {`{"name":"net","host":{"memif":{"secret":"none"}},"container":{"memif":{"secret":"bbb"}}}`, 7, []string{"container.memif.secret", "redacted"}},
	"secret that is a number":     {`{"name":"net","host":{"memif":{"secret":123456}}}`, 7, []string{"host.memif.secret", "redacted", "a string"}},
	"secret of 24 bytes":          {`{"name":"net","host":{"memif":{"secret":"` + strings.Repeat("s", 24) + `"}}}`, 7, []string{"memif.secret", "23 bytes"}},
	"secret with NUL":             {`{"name":"net","host":{"memif":{"secret":"a\u0000b"}}}`, 7, []string{"memif.secret"}},
	"ip mode in a bridge":         {`{"name":"net","host":{"netType":"bridge","memif":{"mode":"ip"}}}`, 7, []string{"host.netType", "ip-mode"}},
	"ip mode in the pod's bridge": {`{"name":"net","host":{"memif":{"mode":"ip"}},"container":{"netType":"bridge"}}`, 7, []string{"container.netType", "ip-mode"}},
	"ip mode with VLAN":           {`{"name":"net","host":{"memif":{"mode":"ip"}},"container":{"bridge":{"vlanId":5}}}`, 7, []string{"container.bridge.vlanId"}},
	"VLAN 0":                      {`{"name":"net","host":{"netType":"bridge","bridge":{"vlanId":0}}}`, 7, []string{"host.bridge.vlanId", "1 to 4094"}},
	"VLAN 4095":                   {`{"name":"net","host":{"netType":"bridge","bridge":{"vlanId":4095}}}`, 7, []string{"host.bridge.vlanId", "1 to 4094"}},
	"VLAN as text":                {`{"name":"net","host":{"netType":"bridge","bridge":{"vlanId":"ten"}}}`, 7, []string{"host.bridge.vlanId", "a whole number"}},
	"VLAN beyond any number":      {`{"name":"net","host":{"netType":"bridge","bridge":{"vlanId":1e30}}}`, 7, []string{"host.bridge.vlanId", "a whole number"}},
	"VLAN without a bridge":       {`{"name":"net","host":{"netType":"interface","bridge":{"vlanId":5}}}`, 7, []string{"host.bridge.vlanId"}},
	"bridge 0":                    {`{"name":"net","host":{"netType":"bridge","bridge":{"bridgeName":"0"}}}`, 7, []string{"host.bridge.bridgeName", "1 to 1048575"}},
	"bridge below 0":              {`{"name":"net","host":{"netType":"bridge","bridge":{"bridgeId":-1}}}`, 7, []string{"host.bridge.bridgeId"}},
	"bridge too high":             {`{"name":"net","host":{"netType":"bridge","bridge":{"bridgeName":1048576}}}`, 7, []string{"host.bridge.bridgeName", "1 to 1048575"}},
	"bridge with a leading zero":  {`{"name":"net","host":{"netType":"bridge","bridge":{"bridgeName":"04"}}}`, 7, []string{"host.bridge.bridgeName"}},
	"bridge of half a number":     {`{"name":"net","host":{"netType":"bridge","bridge":{"bridgeName":1.5}}}`, 7, []string{"host.bridge.bridgeName", "a JSON number"}},
	"bridge name of another type": {`{"name":"net","host":{"netType":"bridge","bridge":{"bridgeName":{"secret":"bbb"}}}}`, 7, []string{"host.bridge.bridgeName", "a JSON object", "a name or a whole number"}},
	"bridge names":                {`{"name":"net","host":{"netType":"bridge","bridge":{"bridgeName":["bbb"]}}}`, 7, []string{"host.bridge.bridgeName", "a JSON array"}},
	"bridge name yes":             {`{"name":"net","host":{"netType":"bridge","bridge":{"bridgeName":true}}}`, 7, []string{"host.bridge.bridgeName", "a JSON bool"}},
	"bridge name with a slash":    {`{"name":"net","host":{"netType":"bridge","bridge":{"bridgeName":"a/b"}}}`, 7, []string{"host.bridge.bridgeName"}},
	"bridge name and other id":    {`{"name":"net","host":{"netType":"bridge","bridge":{"bridgeName":"5","bridgeId":4}}}`, 7, []string{"host.bridge.bridgeId"}},
	"socketfile with a path":      {`{"name":"net","host":{"memif":{"socketfile":"../x.sock"}}}`, 7, []string{"memif.socketfile"}},
	"socketfile of the gateway":   {`{"name":"net","host":{"memif":{"socketfile":"etcd.sock"}}}`, 7, []string{"memif.socketfile"}},
	"socketfiles differ":          {`{"name":"net","host":{"memif":{"socketfile":"a"}},"container":{"memif":{"socketfile":"b"}}}`, 7, []string{"container.memif.socketfile"}},
	"vhost mode":                  {`{"name":"net","host":{"iftype":"vhostuser","vhost":{"mode":"both"}}}`, 7, []string{"host.vhost.mode", "server, client"}},
	"equal vhost modes":           {`{"name":"net","host":{"iftype":"vhostuser","vhost":{"mode":"client"}},"container":{"vhost":{"mode":"client"}}}`, 7, []string{"container.vhost.mode", "opposite"}},
	"unknown in host":             {`{"name":"net","host":{"mtu":1500}}`, 7, []string{"host.mtu is not known"}},
	"unknown in memif":            {`{"name":"net","host":{"memif":{"socketFileName":"x"}}}`, 7, []string{"host.memif.socketFileName is not known"}},
	"unknown in vhost":            {`{"name":"net","host":{"vhost":{"queues":2}}}`, 7, []string{"host.vhost.queues is not known"}},
	"unknown in bridge":           {`{"name":"net","host":{"bridge":{"vlan":2}}}`, 7, []string{"host.bridge.vlan is not known"}},
	"unknown in container":        {`{"name":"net","host":{},"container":{"bridge":{"x":1}}}`, 7, []string{"container.bridge.x is not known"}},
	"mtu as text":                 {`{"name":"net","host":{},"mtu":"1500"}`, 7, []string{"mtu", "a whole number"}},
	"prefix of the wrong type":    {`{"name":"net","host":{},"prefix":5}`, 7, []string{"prefix", "a string"}},
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for name, tc := range badConfigs {
		c, err := parseConfig([]byte(tc.conf))
		if err == nil {
			_, err = c.ends()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		e := asError(err)
		if e.Code != tc.code {
			t.Errorf("%s: code %d, want %d: %v", name, e.Code, tc.code, e)
		}
		for _, want := range tc.want {
			if !strings.Contains(e.Error(), want) {
				t.Errorf("%s: the error does not say %q: %v", name, want, e)
			}
		}
		if strings.Contains(e.Error(), "ssssss") || strings.Contains(e.Error(), "bbb") {
			t.Errorf("%s: the error holds a secret: %v", name, e)
		}
	}
}

// TestForeignFields: what runtimes, Multus and other plugins add at the top
// level is left alone.
func TestForeignFields(t *testing.T) {
	t.Parallel()
	c, err := parseConfig([]byte(`{"cniVersion":"1.1.0","name":"net","type":"userspace","capabilities":{"mac":true},"deviceID":"0000:01:00.0",
		"delegates":[{"type":"x"}],"cni.dev/attachments":[],"cni.dev/anything":{"a":1},"resourceName":"a/b","runtimeConfig":{"mac":"02:00:00:00:00:09","ips":["10.0.0.5"],
		"io.kubernetes.cri.pod-annotations":{"a":"b"}},"args":{"cni":{"labels":[{"key":"a"}]},"x":1},"dns":{"nameservers":["1.1.1.1"]},"host":{},"isGateway":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ends(); err != nil {
		t.Fatal(err)
	}
	if c.RuntimeConfig.MAC != "02:00:00:00:00:09" || c.ValidAttachments != nil {
		t.Errorf("wrong: %+v", c)
	}
}

func TestUserspaceExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/userspace/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("no examples: %v %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseConfig(data)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if _, err := c.ends(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
