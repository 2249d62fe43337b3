package model

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// TagPrefix starts the tag of everything in VPP that is ours. Objects without
// it are never touched.
const TagPrefix = "vpp-cni/"

// Tag names an interface of ours and says whose it is. In VPP it stands as the
// interface's tag, or as the beginning of it: see Label.
type Tag string

const (
	// maxLabel is what of VPP's 64-byte field can be used.
	maxLabel = 63
	// markSign stands before a memif's mark. No id holds it.
	markSign = "#"
	// maxTag leaves room for a mark.
	maxTag = maxLabel - len(markSign) - markLen
	// cutSign stands before the digest of an id that was cut. No id holds it.
	cutSign = "~"
	// keptID and cutDigest are what of an id that is cut is kept, and the hex
	// digits of its SHA-256 behind it: with an interface name of 15 characters
	// they fill maxTag.
	keptID    = 12
	cutDigest = 14
)

// AttachmentTag is the tag of an attachment's interface: vpp-cni/<ifname>/<id>.
// Where that would be over 51 bytes, the id (a container id or pod id) is cut to
// its first 12 characters with 14 hex digits of its SHA-256 behind a '~', so that
// ids with the same beginning stay apart.
func AttachmentTag(ifname, id string) Tag {
	if len(TagPrefix)+len(ifname)+1+len(id) > maxTag && len(id) > keptID {
		sum := sha256.Sum256([]byte(id))
		id = id[:keptID] + cutSign + hex.EncodeToString(sum[:cutDigest/2])
	}
	return Tag(TagPrefix + ifname + "/" + id)
}

// Label is an interface's tag as it stands in VPP: of a memif with the mark of
// its secret, vpp-cni/<ifname>/<id>#<mark>.
func Label(o Object) string {
	m, ok := o.(Memif)
	if !ok {
		return o.ID().Name
	}
	label := string(m.Tag) + markSign + string(markOf(m.Tag, m.Secret))
	if len(label) > maxLabel { // not of an attachment
		return string(m.Tag)
	}
	return label
}

// ParseLabel reads the tag of a memif or vhost-user interface in VPP, also as
// agents before marks wrote it: they had no mark, left ids up to 39 characters as
// they are, and put 26 digits of the same digest behind those that they cut. The
// mark is empty where there is none.
func ParseLabel(label string) (Tag, Mark) {
	bare, mark := label, ""
	at := strings.LastIndex(label, markSign)
	if at > strings.LastIndexByte(label, '/') { // an interface name may hold a '#'
		bare, mark = label[:at], label[at+len(markSign):]
	}
	ifname, id, ok := strings.Cut(strings.TrimPrefix(bare, TagPrefix), "/")
	if !ok || !Ours(label) || strings.Contains(id, "/") {
		return Tag(bare), Mark(mark)
	}
	if kept, digest, cut := strings.Cut(id, cutSign); cut {
		return Tag(TagPrefix + ifname + "/" + kept + cutSign + digest[:min(len(digest), cutDigest)]), Mark(mark)
	}
	return AttachmentTag(ifname, id), Mark(mark)
}

// SubTag is the tag of a VLAN sub-interface: its parent's with ":<vlan>" behind
// it, or, where that would be over 63 bytes, "~" and a hash of it. No id and no
// interface name holds a ':' (an id may hold a '.').
func SubTag(parent Tag, vlan uint16) Tag { return subTag(parent, ':', vlan) }

func subTag(parent Tag, sign rune, vlan uint16) Tag {
	t := fmt.Sprintf("%s%c%d", parent, sign, vlan)
	if len(t) <= maxLabel {
		return Tag(t)
	}
	sum := sha256.Sum256([]byte(t))
	return Tag(TagPrefix + fmt.Sprintf("~%s%c%d", hex.EncodeToString(sum[:16]), sign, vlan))
}

// ParseSubLabel reads the tag of a sub-interface in VPP by its parent's: under an
// agent before marks both may have been longer, and a '.' stood before the VLAN.
func ParseSubLabel(label, parent string, vlan uint16) Tag {
	tag, mark := ParseLabel(parent)
	before := Tag(strings.TrimSuffix(parent, markSign+string(mark)))
	if Tag(label) == subTag(before, ':', vlan) || Tag(label) == subTag(before, '.', vlan) {
		return SubTag(tag, vlan)
	}
	return Tag(label)
}

// Ours says whether a tag found in VPP marks an object of ours.
func Ours(tag string) bool { return strings.HasPrefix(tag, TagPrefix) }

// leftoverPrefix is what no attachment's tag starts with: no interface name
// holds a ':'.
const leftoverPrefix = TagPrefix + ":untagged/"

// LeftoverTag is the tag made up for an interface that is ours by its socket and
// has no tag of ours: its creation was cut short, or somebody renamed it.
func LeftoverTag(name string) Tag { return Tag(leftoverPrefix + name) }

// Leftover says whether id is such an interface.
func Leftover(id ID) bool { return strings.HasPrefix(id.Name, leftoverPrefix) }
