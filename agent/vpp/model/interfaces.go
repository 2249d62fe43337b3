package model

import (
	"strconv"
)

// MAC is a 48-bit MAC address, zero for none.
type MAC [6]byte

// Directory is a pod's directory of sockets in the agent's run-dir.
type Directory struct {
	Path string
	// Unsettled is true only for one found with another owner, group or mode
	// than it should have.
	Unsettled bool
}

// ID is the directory's path.
func (d Directory) ID() ID { return ID{KindDirectory, d.Path} }

// Deps is what must be there before it.
func (d Directory) Deps() []ID { return nil }

// Compare allows owner, group and mode to be put over.
func (d Directory) Compare(have Object) Change { return compare(d, have, Update) }

// FallsWith says whether VPP removes it together with owner.
func (d Directory) FallsWith(ID) bool { return false }

// Socket is a memif socket file that VPP knows under an id. It is ours by its
// path under the run-dir.
type Socket struct{ Path string }

// ID is the socket's path.
func (s Socket) ID() ID { return ID{KindSocket, s.Path} }

// Deps is what must be there before it.
func (s Socket) Deps() []ID { return nil }

// Compare says what it takes to make have into it.
func (s Socket) Compare(have Object) Change { return compare(s, have, Replace) }

// FallsWith says whether VPP removes it together with owner.
func (s Socket) FallsWith(ID) bool { return false }

// Memif is one end of a memif, id 0 on its socket.
type Memif struct {
	Tag    Tag
	Socket string
	Master bool
	IPMode bool
	// MAC of an ethernet-mode memif, zero for whatever VPP chooses.
	MAC MAC
	// Secret is not shown by VPP: one found there has none, and Mark instead.
	Secret Secret
	// Mark is set only for one found in VPP.
	Mark Mark
	// Dir is the directory of ours that the socket stands in; empty where it is
	// not ours to make.
	Dir string
	// Deaf is true only for one found in VPP that nobody can connect to any
	// more: it serves the socket, has no peer, and the file is gone.
	Deaf bool
}

// ID is the interface's tag.
func (m Memif) ID() ID { return ID{KindMemif, string(m.Tag)} }

// Deps are the socket and its directory.
func (m Memif) Deps() []ID {
	deps := []ID{{KindSocket, m.Socket}}
	if m.Dir != "" {
		deps = append(deps, ID{KindDirectory, m.Dir})
	}
	return deps
}

// Compare leaves Dir out, and takes Mark for the secret.
func (m Memif) Compare(have Object) Change {
	h, ok := have.(Memif)
	if !ok || !m.sameSecret(h) {
		return Replace
	}
	h.Secret, h.Mark, h.Dir = m.Secret, m.Mark, m.Dir
	if m.MAC == (MAC{}) {
		h.MAC = m.MAC
	}
	if h == m {
		return Same
	}
	h.MAC = m.MAC
	if h == m {
		return Update
	}
	return Replace
}

// FallsWith says whether VPP removes it together with owner.
func (m Memif) FallsWith(ID) bool { return false }

// VhostUser is a vhost-user interface; VPP is the back end.
type VhostUser struct {
	Tag    Tag
	Socket string
	Server bool
	// MAC is zero for whatever VPP chooses.
	MAC MAC
	// Dir and Deaf are as in Memif.
	Dir  string
	Deaf bool
}

// ID is the interface's tag.
func (v VhostUser) ID() ID { return ID{KindVhostUser, string(v.Tag)} }

// Deps is the socket's directory.
func (v VhostUser) Deps() []ID {
	if v.Dir == "" {
		return nil
	}
	return []ID{{KindDirectory, v.Dir}}
}

// Compare leaves Dir out.
func (v VhostUser) Compare(have Object) Change {
	h, ok := have.(VhostUser)
	if !ok {
		return Replace
	}
	h.Dir = v.Dir
	if v.MAC == (MAC{}) {
		h.MAC = v.MAC
	}
	if h == v {
		return Same
	}
	h.MAC = v.MAC
	if h == v {
		return Update
	}
	return Replace
}

// FallsWith says whether VPP removes it together with owner.
func (v VhostUser) FallsWith(ID) bool { return false }

// Loopback lends its addresses to unnumbered interfaces: VPP refuses one
// address on two interfaces of a table, and all pods of a network share a
// gateway.
type Loopback struct {
	Tag Tag
	// MAC is zero for whatever VPP chooses.
	MAC MAC
}

// ID is the interface's tag.
func (l Loopback) ID() ID { return ID{KindLoopback, string(l.Tag)} }

// Deps is what must be there before it.
func (l Loopback) Deps() []ID { return nil }

// Compare allows another MAC to be put over.
func (l Loopback) Compare(have Object) Change {
	if _, ok := have.(Loopback); ok && l.MAC == (MAC{}) {
		return Same
	}
	return compare(l, have, Update)
}

// FallsWith says whether VPP removes it together with owner.
func (l Loopback) FallsWith(ID) bool { return false }

// SubInterface is an 802.1Q sub-interface with one exact VLAN, whose tag is
// popped on the way in and pushed on the way out.
type SubInterface struct {
	Tag    Tag
	Parent ID
	VLAN   uint16
	// Popped is false only for one found in VPP without its tag rewrite.
	Popped bool
}

// ID is the sub-interface's tag.
func (s SubInterface) ID() ID { return ID{KindSubInterface, string(s.Tag)} }

// Deps is what must be there before it.
func (s SubInterface) Deps() []ID { return []ID{s.Parent} }

// Compare allows the tag rewrite to be put over.
func (s SubInterface) Compare(have Object) Change {
	h, ok := have.(SubInterface)
	if !ok || h.Parent != s.Parent || h.VLAN != s.VLAN {
		return Replace
	}
	return compare(s, have, Update)
}

// FallsWith says whether VPP removes it together with owner.
func (s SubInterface) FallsWith(ID) bool { return false }

// Renamed is an interface with another tag; other objects are returned as they
// are.
func Renamed(o Object, tag Tag) Object {
	switch i := o.(type) {
	case Memif:
		i.Tag = tag
		return i
	case VhostUser:
		i.Tag = tag
		return i
	case Loopback:
		i.Tag = tag
		return i
	case SubInterface:
		i.Tag = tag
		return i
	}
	return o
}

// compare is Same for equal values and otherwise what differs says.
func compare(want, have Object, differs Change) Change {
	if want == have {
		return Same
	}
	return differs
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
