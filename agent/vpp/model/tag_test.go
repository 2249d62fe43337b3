package model

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const container = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// oldTag is AttachmentTag as it was before marks.
func oldTag(ifname, id string) string {
	if len(id) > 39 {
		id = string(AttachmentTag("abcdefghijklmno", id))[len("vpp-cni/abcdefghijklmno/"):] + "000000000000"
	}
	return TagPrefix + ifname + "/" + id
}

// TestLabels: what is written into VPP is read as what it was made from, and so
// is what agents before marks wrote.
func TestLabels(t *testing.T) {
	name := rapid.StringMatching(`[!-.0-9;-~]{1,15}`)
	id := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`)
	rapid.Check(t, func(t *rapid.T) {
		ifname, id := name.Draw(t, "ifname"), id.Draw(t, "id")
		tag := AttachmentTag(ifname, id)
		m := Memif{Tag: tag, Secret: NewSecret(rapid.String().Draw(t, "secret"))}
		label := Label(m)
		if len(label) > 63 || !strings.HasPrefix(label, string(tag)+"#") {
			t.Fatalf("label %q of tag %q, %d bytes", label, tag, len(label))
		}
		if got, mark := ParseLabel(label); got != tag || mark != markOf(tag, m.Secret) {
			t.Fatalf("label %q is read as %q %s", label, got, string(mark))
		}
		for _, bare := range []string{string(tag), oldTag(ifname, id)} {
			if got, mark := ParseLabel(bare); got != tag || mark != "" {
				t.Fatalf("tag %q without a mark is read as %q %q, want %q", bare, got, string(mark), tag)
			}
		}
		vlan := rapid.Uint16Range(1, 4094).Draw(t, "vlan")
		sub := SubTag(tag, vlan)
		for _, parent := range []string{label, string(tag), oldTag(ifname, id)} {
			own := SubTag(Tag(strings.SplitN(parent, "#"+string(markOf(tag, m.Secret)), 2)[0]), vlan)
			if got := ParseSubLabel(string(own), parent, vlan); got != sub || len(own) > 63 {
				t.Fatalf("sub-interface %q on %q is read as %q, want %q", own, parent, got, sub)
			}
		}
	})
}

func TestLabelsOfOthers(t *testing.T) {
	for _, label := range []string{"", "mine", "vpp-cni/gw/0/0123456789ab", "vpp-cni/", "vpp-cni/x", "vpp-cni//", "#", "vpp-cni/#/#"} {
		if tag, _ := ParseLabel(label); !strings.HasPrefix(label, string(tag)) {
			t.Errorf("%q is read as %q", label, tag)
		}
	}
	l := Loopback{Tag: "vpp-cni/gw/0/x"}
	if Label(l) != "vpp-cni/gw/0/x" {
		t.Errorf("a loopback has the label %q", Label(l))
	}
	if got := AttachmentTag("net1", "6f1b1c1e-8d1f-4c57-9b1a-2f4f1a7f6a11"); got != "vpp-cni/net1/6f1b1c1e-8d1f-4c57-9b1a-2f4f1a7f6a11" {
		t.Errorf("a UID that fits is cut: %q", got)
	}
	if got := AttachmentTag("net1", container); !regexp.MustCompile(`^vpp-cni/net1/0123456789ab~[0-9a-f]{14}$`).MatchString(string(got)) {
		t.Errorf("a container's tag is %q", got)
	}
}

// TestSecretIsNeverPrinted: whatever prints an object, the secret and its mark
// are not in it.
func TestSecretIsNeverPrinted(t *testing.T) {
	const secret = "hunter2"
	m := Memif{Tag: "vpp-cni/net1/a", Secret: NewSecret(secret)}
	f := found(m)
	type inside struct{ m Memif } // fmt asks no method of what is in here
	hidden := []string{secret, fmt.Sprintf("%x", secret), string(f.Mark)}
	for _, v := range []any{m.Secret, &m.Secret, m, &m, Object(m), []Object{m}, inside{m}, &inside{m}, f} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			for _, h := range hidden[:2] {
				if got := fmt.Sprintf(verb, v); strings.Contains(strings.ToLower(got), h) {
					t.Errorf("%s of %T prints %s", verb, v, got)
				}
			}
		}
		data, err := json.Marshal(v)
		if err != nil || strings.Contains(string(data), secret) || strings.Contains(string(data), hidden[2]) {
			t.Errorf("%T as JSON: %s, %v", v, data, err)
		}
	}
	if got := fmt.Sprint(f, f.Mark); strings.Contains(got, hidden[2]) {
		t.Errorf("a found memif prints %s", got)
	}
}

// TestMark: it tells secrets and attachments apart.
func TestMark(t *testing.T) {
	seen := map[Mark]string{}
	for _, tag := range []Tag{"vpp-cni/net1/a", "vpp-cni/net1/b", "vpp-cni/net1/ab"} {
		for _, s := range []string{"", "b", "a", "none"} {
			m := markOf(tag, NewSecret(s))
			if was, twice := seen[m]; twice || len(m) != markLen {
				t.Errorf("mark %q of %s %q, and of %s", string(m), tag, s, was)
			}
			seen[m] = string(tag) + " " + s
		}
	}
}
