package model

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	m := Memif{Tag: "vpp-cni/net1/p", Socket: "/s", Master: true, MAC: MAC{2}, Secret: NewSecret("x"), Dir: "/"}
	edit := func(f func(*Memif)) Memif { o := m; f(&o); return o }
	route := Route{Prefix: netip.MustParsePrefix("10.0.0.0/8")}
	for _, tc := range []struct {
		name       string
		want, have Object
		change     Change
	}{
		{"memif as wanted", m, m, Same},
		{"VPP shows a mark and no directory", m, edit(func(o *Memif) { *o = found(*o); o.Dir = "" }), Same},
		{"VPP shows no secret's mark, none is wanted", none(m), found(none(m)), Same},
		{"another secret", m, edit(func(o *Memif) { o.Secret = NewSecret("y") }), Replace},
		{"another secret in VPP", m, edit(func(o *Memif) { o.Secret = NewSecret("y"); *o = found(*o) }), Replace},
		{"a secret in VPP, none wanted", none(m), found(m), Replace},
		{"no secret in VPP, one wanted", m, found(none(m)), Replace},
		{"the mark of another attachment", m, edit(func(o *Memif) { o.Tag = "vpp-cni/net1/q"; *o = found(*o); o.Tag = m.Tag }), Replace},
		{"made by an agent before marks, no secret wanted", none(m), edit(func(o *Memif) { o.Secret, o.Mark = Secret{}, Unmarked }), Same},
		{"made by an agent before marks, with a peer", m, edit(func(o *Memif) { o.Secret, o.Mark = Secret{}, UnmarkedJoined }), Same},
		{"made by an agent before marks, without a peer", m, edit(func(o *Memif) { o.Secret, o.Mark = Secret{}, Unmarked }), Replace},
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
		{"directory with another mode", Directory{Path: "/d"}, Directory{Path: "/d", Unsettled: true}, Update},
		{"another kind", m, Loopback{Tag: m.Tag}, Replace},
	} {
		if got := tc.want.Compare(tc.have); got != tc.change {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.change)
		}
	}
}

// found is m as a dump shows it.
func found(m Memif) Memif {
	_, m.Mark = ParseLabel(Label(m))
	m.Secret = Secret{}
	return m
}

func none(m Memif) Memif {
	m.Secret = Secret{}
	return m
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
