package model_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
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

// FuzzLabels reads any tags of an interface and of its parent, as anybody who
// opens VPP's API can set them. What is read is read the same when it is written
// again, stays within VPP's field, and shows no mark.
func FuzzLabels(f *testing.F) {
	long := strings.Repeat("0123456789abcdef", 4)
	whole := model.Label(model.Memif{Tag: model.AttachmentTag("abcdefghijklmno", long), Secret: model.NewSecret("hunter2")})
	for _, label := range []string{
		whole, "vpp-cni/net1/c", "vpp-cni/net1/c#", "vpp-cni/net#1/c", "vpp-cni/net#1/c#AAAAAAAAAAA", "vpp-cni/x/a~b~c#d#e",
		"vpp-cni/net1/" + long[:39], "vpp-cni/net1/0123456789ab~" + long[:26], "vpp-cni/" + long[:40] + "/" + long[:13],
		"vpp-cni/net1/" + long[:40] + "~ab", "vpp-cni/gw/0/x", "vpp-cni/:untagged/00", "vpp-cni/", "vpp-cni//", "theirs#AAAAAAAAAAA", "#", "",
	} {
		tag, _ := model.ParseLabel(label)
		f.Add(label, label, uint16(100))
		f.Add(string(model.SubTag(tag, 100)), label, uint16(100))
		f.Add(strings.Replace(string(model.SubTag(tag, 100)), ":", ".", 1), label, uint16(100))
	}
	f.Fuzz(func(t *testing.T, label, parent string, vlan uint16) {
		tag, mark := model.ParseLabel(label)
		ifname, id, ok := strings.Cut(strings.TrimPrefix(string(tag), model.TagPrefix), "/")
		switch {
		case !model.Ours(label):
			if rest, found := strings.CutPrefix(label, string(tag)); !found || rest != "" && rest != "#"+string(mark) {
				t.Errorf("their tag %q is read as %q with the mark %q", label, tag, string(mark))
			}
		case !model.Ours(string(tag)):
			t.Errorf("our tag %q is read as %q", label, tag)
		case ok && !strings.ContainsAny(id, "/#") && schema.IfName(ifname).Validate() == nil:
			writtenAgain(t, label, tag)
		}
		if marked := string(mark); markForm.MatchString(marked) && !strings.Contains(string(tag), marked) {
			hides(t, model.Memif{Tag: tag, Mark: mark}, marked)
		}

		above, aboveMark := model.ParseLabel(parent)
		sub, own := model.ParseSubLabel(label, parent, vlan), model.SubTag(above, vlan)
		switch before := model.Tag(strings.TrimSuffix(parent, "#"+string(aboveMark))); {
		case len(own) > 63 || model.Ours(string(above)) && !model.Ours(string(own)):
			t.Errorf("the sub-interface of %q has the tag %q", parent, own)
		case sub != own && sub != model.Tag(label):
			t.Errorf("sub-interface %q on %q is read as %q", label, parent, sub)
		case model.ParseSubLabel(string(sub), parent, vlan) != sub:
			t.Errorf("sub-interface %q on %q is read as %q, and that otherwise", label, parent, sub)
		case model.ParseSubLabel(string(model.SubTag(before, vlan)), parent, vlan) != own:
			t.Errorf("what an older agent made on %q is not read as %q", parent, own)
		}
	})
}

var markForm = regexp.MustCompile(`^[A-Za-z0-9_-]{11}$`)

// writtenAgain wants the tag of an attachment to fit, and to be what its label
// says.
func writtenAgain(t *testing.T, label string, tag model.Tag) {
	t.Helper()
	if len(label) <= 63 && len(tag) > 63 {
		t.Errorf("tag %q of %d bytes is read as %q of %d", label, len(label), tag, len(tag))
	}
	if again, mark := model.ParseLabel(string(tag)); again != tag || mark != "" {
		t.Errorf("tag %q is read as %q, and that as %q with the mark %q", label, tag, again, string(mark))
	}
	const secret = "xY7-secret-of-the-fuzzer"
	m := model.Memif{Tag: tag, Secret: model.NewSecret(secret)}
	made := model.Label(m)
	again, mark := model.ParseLabel(made)
	if again != tag || len(tag) <= 63 && len(made) > 63 || strings.Contains(made, secret) || (mark != "") != (made != string(tag)) {
		t.Errorf("tag %q stands in VPP as %q, which is read as %q with the mark %q", tag, made, again, string(mark))
	}
	if m.Mark, m.Secret = mark, (model.Secret{}); mark != "" && !strings.Contains(string(tag), string(mark)) {
		hides(t, m, string(mark))
	}
}

// hides wants what is printed of a memif to have no mark in it.
func hides(t *testing.T, m model.Memif, mark string) {
	t.Helper()
	data, err := json.Marshal(m)
	if text := fmt.Sprintf("%v %+v %s %q %v %s", m, m, m.Mark, m.Mark, m.ID(), data); err != nil || strings.Contains(text, mark) {
		t.Errorf("the mark %q is printed: %s (%v)", mark, text, err)
	}
}
