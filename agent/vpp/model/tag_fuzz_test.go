package model_test

import (
	"testing"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

// FuzzTags: two attachments, or an attachment and a sub-interface of another,
// never have one tag, whatever the runtime calls them. A tag says whose an
// interface is, so that with one tag one pod would get the other's interface.
func FuzzTags(f *testing.F) {
	f.Add("net1", "c1", uint16(0), "net1", "c2", uint16(0))
	f.Add("net1", "c", uint16(100), "net1", "c.100", uint16(0))
	f.Add("~untagged", "c", uint16(0), "gw", "0", uint16(0))
	f.Add("a", "0123456789abcdef0123456789abcdef0123456789abcdef", uint16(1), "a", "0123456789abcdef0123456789abcdef0123456789abcdee", uint16(1))
	f.Fuzz(func(t *testing.T, ifname1, id1 string, vlan1 uint16, ifname2, id2 string, vlan2 uint16) {
		first, ok1 := tagOf(t, ifname1, id1, vlan1)
		second, ok2 := tagOf(t, ifname2, id2, vlan2)
		if !ok1 || !ok2 || ifname1 == ifname2 && id1 == id2 && vlan1 == vlan2 {
			return
		}
		if first == second {
			t.Fatalf("%s of %s with VLAN %d and %s of %s with VLAN %d have one tag: %s", ifname1, id1, vlan1, ifname2, id2, vlan2, first)
		}
	})
}

// tagOf is an attachment's tag, or its sub-interface's; false where no such
// attachment can be.
func tagOf(t *testing.T, ifname, id string, vlan uint16) (model.Tag, bool) {
	t.Helper()
	if schema.IfName(ifname).Validate() != nil || schema.ContainerID(id).Validate() != nil || vlan > schema.MaxVLAN {
		return "", false
	}
	tag := model.AttachmentTag(ifname, id)
	if vlan != 0 {
		tag = model.SubTag(tag, vlan)
	}
	if len(tag) > 63 || !model.Ours(string(tag)) {
		t.Fatalf("tag %q of %d bytes", tag, len(tag))
	}
	if model.Leftover(model.ID{Kind: model.KindMemif, Name: string(tag)}) {
		t.Fatalf("the tag of %s of %s is a leftover's: %s", ifname, id, tag)
	}
	return tag, true
}
