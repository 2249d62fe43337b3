package main

import (
	"encoding/json"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema"
)

// build makes the values of a network configuration's sections.
func buildValues(t *testing.T, conf, ipam string) (host, pod string, err error) {
	t.Helper()
	c, err := parseConfig([]byte(`{"cniVersion":"1.0.0","name":"net",` + conf + `}`))
	if err != nil {
		t.Fatal(err)
	}
	ends, err := c.ends()
	if err != nil {
		t.Fatal(err)
	}
	r := request{
		node: testNode, id: identity{"c1", "net1", schema.PodRef{ID: "u1", Namespace: "ns", Name: "p"}}, network: "net",
		sandbox: "/netns", bootID: "boot", ends: ends, mtu: uint16(c.MTU), vrf: 7, hostDomain: placeholder(ends.host), podDomain: placeholder(ends.pod),
	}
	var ip *types100.Result
	if ipam != "" {
		ip = &types100.Result{}
		mustJSON(t, ipam, ip)
	}
	a, err := r.build(ip)
	if err != nil {
		return "", "", err
	}
	h, err := schema.Encode(a.Host)
	if err != nil {
		t.Fatal(err)
	}
	p, err := schema.Encode(a.Pod)
	if err != nil {
		t.Fatal(err)
	}
	return string(h), string(p), nil
}

// only keeps the fields of a JSON object that a case speaks of.
func only(t *testing.T, text, want string) string {
	t.Helper()
	var have, wanted map[string]any
	mustJSON(t, text, &have)
	mustJSON(t, want, &wanted)
	for k := range have {
		if _, ok := wanted[k]; !ok {
			delete(have, k)
		}
	}
	out, err := json.Marshal(have)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestBuild(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ conf, ipam, host, pod string }{
		"bridge, host-local": {
			`"host":{"netType":"bridge"}`,
			`{"ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.0.0.53"]}}`,
			`{"gateways":null,"podAddresses":null,"vrf":null,"bridge":{"name":"net","domainID":1048576}}`,
			`{"addresses":["10.0.0.5/24"],"gateways":["10.0.0.1"],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}],"dns":{"nameservers":["10.0.0.53"]},"bridge":null,"routed":null}`,
		},
		"routed, two families": {
			`"host":{"netType":"interface"}`,
			`{"ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1"},{"address":"fd00::5/64","gateway":"fd00::1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"},{"dst":"10.9.0.0/16","gw":"10.0.0.9"}]}`,
			`{"gateways":["10.0.0.1","fd00::1"],"podAddresses":["10.0.0.5","fd00::5"],"vrf":7}`,
			`{"addresses":["10.0.0.5/24","fd00::5/64"],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"},{"dst":"::/0","gw":"fd00::1"},{"dst":"10.9.0.0/16","gw":"10.0.0.9"}]}`,
		},
		"one address, gateway outside": {
			`"host":{"netType":"interface"}`,
			`{"ips":[{"address":"10.0.0.5/32","gateway":"169.254.1.1"}],"routes":[{"dst":"0.0.0.0/0"}]}`,
			`{"gateways":["169.254.1.1"],"podAddresses":["10.0.0.5"]}`,
			`{"addresses":["10.0.0.5/32"],"gateways":["169.254.1.1"],"routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"}],"routed":true}`,
		},
		"same gateway twice": {
			`"host":{"netType":"interface"}`,
			`{"ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1"},{"address":"10.0.0.6/24","gateway":"10.0.0.1"}]}`,
			`{"gateways":["10.0.0.1"],"podAddresses":["10.0.0.5","10.0.0.6"]}`,
			`{"addresses":["10.0.0.5/24","10.0.0.6/24"],"routes":null}`,
		},
		"no gateway: routes are on the link": {
			`"host":{"netType":"interface"}`, `{"ips":[{"address":"10.0.0.5/24"}],"routes":[{"dst":"10.8.0.0/16"}]}`,
			`{"gateways":null}`, `{"routes":[{"dst":"10.8.0.0/16"}]}`,
		},
		"route of scope link": {
			`"host":{"netType":"interface"}`, `{"ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1"}],"routes":[{"dst":"10.8.0.0/16","scope":253}]}`,
			`{}`, `{"routes":[{"dst":"10.8.0.0/16"}]}`,
		},
		"route with host bits": {
			`"host":{"netType":"interface"}`, `{"ips":[{"address":"10.0.0.5/24"}],"routes":[{"dst":"10.8.1.1/16"}]}`,
			`{}`, `{"routes":[{"dst":"10.8.0.0/16"}]}`,
		},
		"pod in a bridge: the addresses are the application's": {
			`"host":{"netType":"interface"},"container":{"netType":"bridge"}`, `{"ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1"}]}`,
			`{"podAddresses":["10.0.0.5"]}`, `{"addresses":["10.0.0.5/24"],"gateways":["10.0.0.1"],"routes":null}`,
		},
		"vhost-user: the application reads the addresses": {
			`"host":{"iftype":"vhostuser","netType":"bridge"},"container":{"netType":"none"}`, `{"ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1"}],"routes":[{"dst":"0.0.0.0/0"}]}`,
			`{"vhostUser":{"role":"server","socket":"net1.vhost"},"memif":null}`,
			`{"vhostUser":{"role":"server","socket":"net1.vhost"},"addresses":["10.0.0.5/24"],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]}`,
		},
		"ip mode: no MAC": {
			`"host":{"netType":"interface","memif":{"mode":"ip"}}`, "",
			`{"memif":{"role":"master","mode":"ip","socket":"net1.memif"},"mac":null}`, `{"memif":{"role":"slave","mode":"ip","socket":"net1.memif"},"mac":null}`,
		},
		"VLAN": {
			`"host":{"netType":"bridge","bridge":{"vlanId":10}}`, "",
			`{"bridge":{"name":"net","domainID":1048576,"vlan":10}}`, `{"vlan":10}`,
		},
		"who": {
			`"host":{},"mtu":1500`, "",
			`{"network":"net","pod":{"id":"u1","namespace":"ns","name":"p"},"sandbox":"/netns","bootID":"boot","mtu":1500,"mac":"` + schema.DeriveMAC("node-1", "c1", "net1", "host").String() + `"}`,
			`{"network":"net","container":"c1","pod":{"id":"u1","namespace":"ns","name":"p"},"mtu":1500,"mac":"` + schema.DeriveMAC("node-1", "c1", "net1", "pod").String() + `"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, pod, err := buildValues(t, tc.conf, tc.ipam)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []struct{ want, got string }{{tc.host, host}, {tc.pod, pod}} {
				// A field that is null in want must be absent.
				var want map[string]any
				mustJSON(t, v.want, &want)
				got := only(t, v.got, v.want)
				for k, x := range want {
					if x == nil {
						delete(want, k)
					}
				}
				var have map[string]any
				mustJSON(t, got, &have)
				if d := cmp.Diff(want, have); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ conf, ipam, want string }{
		"loopback address":   {`"host":{"netType":"interface"}`, `{"ips":[{"address":"127.0.0.1/8"}]}`, "address"},
		"multicast gateway":  {`"host":{"netType":"bridge"}`, `{"ips":[{"address":"10.0.0.5/24","gateway":"224.0.0.1"}]}`, "ips.gateway"},
		"null route":         {`"host":{"netType":"bridge"}`, `{"ips":[{"address":"10.0.0.5/24"}],"routes":[null]}`, "routes"},
		"gateway of another": {`"host":{"netType":"bridge"}`, `{"ips":[{"address":"10.0.0.5/24"}],"routes":[{"dst":"::/0","gw":"10.0.0.1"}]}`, "routes.gw"},
		"IPv6 on MTU 1000":   {`"host":{"netType":"interface"},"mtu":1000`, `{"ips":[{"address":"fd00::5/64"}]}`, "mtu"},
	} {
		_, _, err := buildValues(t, tc.conf, tc.ipam)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error about %s", name, err, tc.want)
		}
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	request := func(conf string) request {
		c, err := parseConfig([]byte(`{"name":"net",` + conf + `}`))
		if err != nil {
			t.Fatal(err)
		}
		ends, err := c.ends()
		if err != nil {
			t.Fatal(err)
		}
		return request{node: testNode, id: identity{"c1", "net1", schema.PodRef{ID: "u1"}}, network: "net", ends: ends, mtu: uint16(c.MTU), hostDomain: placeholder(ends.host), podDomain: placeholder(ends.pod)}
	}
	ip := &types100.Result{}
	mustJSON(t, `{"ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1"}],"routes":[{"dst":"0.0.0.0/0"}]}`, ip)
	stored, err := request(`"host":{"netType":"interface","memif":{"secret":"aaa"}}`).build(ip)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ conf, want string }{
		"equal, addresses do not count": {`"host":{"netType":"interface","memif":{"secret":"aaa"}}`, ""},
		"mtu":                           {`"host":{"netType":"interface","memif":{"secret":"aaa"}},"mtu":1500`, "host.mtu: 1500 asked, none there; pod.mtu: 1500 asked, none there"},
		"role":                          {`"host":{"netType":"interface","memif":{"secret":"aaa","role":"slave"}}`, `host.memif.role: "slave" asked, "master" there; pod.memif.role: "master" asked, "slave" there`},
		"secret is not shown":           {`"host":{"netType":"interface","memif":{"secret":"bbb"}}`, "host.memif.secret differs; pod.memif.secret differs"},
		"secret is taken away":          {`"host":{"netType":"interface","memif":{"secret":"none"}}`, "host.memif.secret differs; pod.memif.secret differs"},
		"secret is left to the plugin":  {`"host":{"netType":"interface"}`, ""},
		"other kind":                    {`"host":{"netType":"interface","iftype":"vhostuser"}`, `host.ifType: "vhost-user" asked, "memif" there; host.memif: none asked, an object there; host.vhostUser: an object asked, none there; pod.ifType: "vhost-user" asked, "memif" there; pod.memif: none asked, an object there; pod.vhostUser: an object asked, none there`},
	} {
		got := strings.Join(differences(request(tc.conf), stored.Host, stored.Pod), "; ")
		if got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
	}
}
