package robustness

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/vpp-cni/vpp-cni/test/lab"
)

// state is where an attachment stands by the results of the calls so far.
type state string

const (
	// adding: an ADD is under way, or ended without our knowing how.
	adding state = "adding"
	// attached: an ADD succeeded and no DEL has begun since.
	attached state = "attached"
	// leaving: a DEL is owed or under way. When one has succeeded the attachment
	// is forgotten, and nothing may be left of it.
	leaving state = "leaving"
)

// attachment is one interface of one sandbox.
type attachment struct {
	key   attachmentKey
	owner *pod
	// uid, name and sandbox are the pod's when the ADD began: the owner moves on.
	uid     string
	sandbox *lab.Pod
	slot    int
	network network
	state   state
	ips     []netip.Prefix
	// ever: an ADD has succeeded, so that GC knows of it.
	ever bool
	// edited: somebody changed it on purpose since the last peace, so that its
	// interface may be another one.
	edited bool
	// unreadable: its desired value was spoilt in etcd and stands so.
	unreadable bool
	// life is VPP's when the ADD began that succeeded.
	life int
	seen sighting
}

// attachmentKey is what a runtime knows an attachment by.
type attachmentKey struct{ container, ifname string }

func (k attachmentKey) String() string {
	return fmt.Sprintf("%.8s/%s", k.container, k.ifname)
}

// sighting is the interface that an attachment had when it was first seen in
// one life of VPP.
type sighting struct {
	life  int // of VPP; 0: not seen
	index uint32
}

// model is what must be there, by the results of the calls.
type model struct {
	mu          sync.Mutex
	attachments map[attachmentKey]*attachment
	// lastWords are interfaces that a pod lost when it had no other.
	lastWords map[ifnameOf]bool
	// life counts the host VPP's; it goes up before one ends.
	life int
}

func newModel() *model {
	return &model{attachments: map[attachmentKey]*attachment{}, lastWords: map[ifnameOf]bool{}, life: 1}
}

// begin notes an ADD.
func (m *model) begin(p *pod, sandbox *lab.Pod, slot int, n network) *attachment {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &attachment{
		key: attachmentKey{sandbox.Container, ifname(slot)}, owner: p, uid: sandbox.UID, sandbox: sandbox,
		slot: slot, network: n, state: adding, life: m.life,
	}
	m.attachments[a.key] = a
	return a
}

// succeed notes an ADD's result, and says who else has one of its addresses.
func (m *model) succeed(a *attachment, ips []netip.Prefix) *violation {
	m.mu.Lock()
	defer m.mu.Unlock()
	a.state, a.ips, a.ever = attached, ips, true
	for _, o := range m.attachments {
		if o == a || o.state != attached || o.network.name != a.network.name {
			continue
		}
		for _, ip := range ips {
			if slices.ContainsFunc(o.ips, func(p netip.Prefix) bool { return p.Addr() == ip.Addr() }) {
				return broke(errNoDoubleAddress, []string{a.owner.name, o.owner.name}, "%s of %s and %s of %s both have %s in network %s",
					a.key, a.owner.name, o.key, o.owner.name, ip.Addr(), a.network.name)
			}
		}
	}
	return nil
}

// leave notes that a DEL is owed from now on.
func (m *model) leave(a *attachment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a.state = leaving
	m.noteLast(a)
}

// gone notes that a DEL succeeded.
func (m *model) gone(a *attachment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.attachments[a.key] == a {
		delete(m.attachments, a.key)
	}
	m.noteLast(a)
}

// noteLast notes what a pod loses that has no other interface.
func (m *model) noteLast(a *attachment) {
	for _, o := range m.attachments {
		if o.uid == a.uid && o.state == attached {
			return
		}
	}
	for slot := range slots {
		m.lastWords[ifnameOf{a.uid, ifname(slot)}] = true
	}
}

// ifnameOf names an interface of a pod, whichever sandbox has it.
type ifnameOf struct{ uid, ifname string }

// mayHold says whether a pod's own agent may hold an interface that nobody wants
// in the pod's VPP: with the last interface of a pod goes the witness of its
// removal, so that an agent that was away cannot know, and holds until the pod
// ends (see schema/store, Detach).
func (m *model) mayHold(uid, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.attachments {
		if a.uid == uid && a.key.ifname == name {
			return false
		}
	}
	return m.lastWords[ifnameOf{uid, name}]
}

// attached says whether a pod has an attachment.
func (m *model) attached(uid string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.attachments {
		if a.uid == uid {
			return true
		}
	}
	return false
}

// find is the attachment of a sandbox's interface, nil for none.
func (m *model) find(container string, slot int) *attachment {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.attachments[attachmentKey{container, ifname(slot)}]
}

// all lists the attachments in one of the states in the order of their keys,
// as they stand now.
func (m *model) all(states ...state) []*attachment {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*attachment
	for _, k := range slices.SortedFunc(maps.Keys(m.attachments), func(a, b attachmentKey) int {
		return strings.Compare(a.container+a.ifname, b.container+b.ifname)
	}) {
		if a := m.attachments[k]; slices.Contains(states, a.state) {
			out = append(out, a)
		}
	}
	return out
}

// valid is the runtime's list for GC: whatever belongs to a live sandbox.
func (m *model) valid(n network) (valid []attachmentKey) {
	for _, a := range m.all(attached, adding) {
		if a.network.name == n.name {
			valid = append(valid, a.key)
		}
	}
	return valid
}

// edit marks attachments as edited on purpose.
func (m *model) edit(as ...*attachment) {
	m.mu.Lock()
	for _, a := range as {
		a.edited = true
	}
	m.mu.Unlock()
}

// peace forgets the edits: what was found well is what must stay, apart from
// what will be made anew when its peer goes (see compareFiles).
func (m *model) peace(fragile func(*attachment) bool) {
	m.mu.Lock()
	for _, a := range m.attachments {
		a.edited, a.seen, a.life = fragile(a), sighting{}, m.life
	}
	m.mu.Unlock()
}

// newLife notes that VPP is about to end.
func (m *model) newLife() {
	m.mu.Lock()
	m.life++
	m.mu.Unlock()
}

func (m *model) lives() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life
}

// spoil notes that a value of an attachment cannot be read, or can again.
func (m *model) spoil(a *attachment, unreadable bool) {
	m.mu.Lock()
	a.unreadable = unreadable
	a.edited = true
	m.mu.Unlock()
}
