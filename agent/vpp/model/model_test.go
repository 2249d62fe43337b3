package model

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	m := Memif{Tag: "vpp-cni/net1/p", Socket: "/s", Master: true, MAC: MAC{2}, Secret: "x", Dir: "/"}
	edit := func(f func(*Memif)) Memif { o := m; f(&o); return o }
	route := Route{Prefix: netip.MustParsePrefix("10.0.0.0/8")}
	for _, tc := range []struct {
		name       string
		want, have Object
		change     Change
	}{
		{"memif as wanted", m, m, Same},
		{"VPP shows no secret and no directory", m, edit(func(o *Memif) { o.Secret, o.Dir = "", "" }), Same},
		{"memif with another MAC", m, edit(func(o *Memif) { o.MAC = MAC{4} }), Update},
		{"any MAC will do", edit(func(o *Memif) { o.MAC = MAC{} }), m, Same},
		{"memif with another role", m, edit(func(o *Memif) { o.Master = false }), Replace},
		{"memif that nobody can reach", m, edit(func(o *Memif) { o.Deaf = true }), Replace},
		{"memif with another socket and MAC", m, edit(func(o *Memif) { o.Socket, o.MAC = "/o", MAC{4} }), Replace},
		{"vhost-user, any MAC", VhostUser{Tag: "a"}, VhostUser{Tag: "a", MAC: MAC{4}}, Same},
		{"vhost-user that nobody can reach", VhostUser{Tag: "a"}, VhostUser{Tag: "a", Deaf: true}, Replace},
		{"loopback, any MAC", Loopback{Tag: "a"}, Loopback{Tag: "a", MAC: MAC{4}}, Same},
		{"loopback with another MAC", Loopback{Tag: "a", MAC: MAC{2}}, Loopback{Tag: "a", MAC: MAC{4}}, Update},
		{"sub-interface without its rewrite", SubInterface{VLAN: 5, Popped: true}, SubInterface{VLAN: 5}, Update},
		{"bridge domain with other settings", BridgeDomain{DomainID: 1}, BridgeDomain{DomainID: 1, Changed: true}, Update},
		{"route with more paths", route, Route{Prefix: route.Prefix, Shared: true}, Update},
		{"another kind", m, Loopback{Tag: m.Tag}, Replace},
	} {
		if got := tc.want.Compare(tc.have); got != tc.change {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.change)
		}
	}
}

func TestTags(t *testing.T) {
	long := strings.Repeat("a", 64)
	other := long[:63] + "b"
	if AttachmentTag("net1", long) == AttachmentTag("net1", other) {
		t.Error("two containers with the same beginning share a tag")
	}
	for _, tag := range []Tag{
		AttachmentTag("abcdefghijklmno", long),
		SubTag(AttachmentTag("abcdefghijklmno", long), 4094),
	} {
		if len(tag) > 63 || !Ours(string(tag)) {
			t.Errorf("tag %q has %d bytes", tag, len(tag))
		}
	}
}
