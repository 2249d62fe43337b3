package robustness

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema/report"
	"github.com/vpp-cni/vpp-cni/test/lab"
)

// The checks themselves are tested here, without a VPP: one that never says
// anything would pass every run.

func sandbox(n int) (*pod, *lab.Pod) {
	name := fmt.Sprintf("pod-%d", n)
	s := &lab.Pod{Name: name, UID: "uid-" + name, Container: strings.Repeat(fmt.Sprint(n), 64)}
	return &pod{name: name, index: n, sandbox: s}, s
}

func begun(m *model, n, slot int) *attachment {
	p, s := sandbox(n)
	return m.begin(p, s, slot, networks()[networksOf(slot)[0]])
}

func addresses(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range list {
		out = append(out, netip.MustParsePrefix(a))
	}
	return out
}

func TestDoubleAddress(t *testing.T) {
	m := newModel()
	a, b, c := begun(m, 1, 0), begun(m, 2, 0), begun(m, 3, 1)
	if v := m.succeed(a, addresses("10.1.0.2/22", "fd00:1::2/64")); v != nil {
		t.Error(v)
	}
	if v := m.succeed(c, addresses("10.1.0.2/22")); v != nil {
		t.Errorf("in another network: %v", v)
	}
	if v := m.succeed(b, addresses("10.1.0.3/22", "fd00:1::2/64")); !errors.Is(v, errNoDoubleAddress) {
		t.Errorf("one address twice: %v", v)
	}
	m.leave(a)
	if v := m.succeed(b, addresses("10.1.0.2/22")); v != nil {
		t.Errorf("the other one is leaving: %v", v)
	}
}

func TestWrongDelete(t *testing.T) {
	shown := func(a *attachment, index uint32) view {
		return view{interfaces: []iface{{index: index, tag: a.tag()}}}
	}
	for name, tc := range map[string]struct {
		// between happens after the look that saw interface 5, before the next.
		between func(*model, *attachment)
		next    func(*attachment) view
		broken  bool
	}{
		"it stays":            {nil, func(a *attachment) view { return shown(a, 5) }, false},
		"it is gone":          {nil, func(*attachment) view { return view{} }, true},
		"it is another":       {nil, func(a *attachment) view { return shown(a, 6) }, true},
		"a DEL has begun":     {func(m *model, a *attachment) { m.leave(a) }, func(*attachment) view { return view{} }, false},
		"VPP ended":           {func(m *model, _ *attachment) { m.newLife() }, func(*attachment) view { return view{} }, false},
		"somebody edited it":  {func(m *model, a *attachment) { m.edit(a) }, func(*attachment) view { return view{} }, false},
		"edited before peace": {func(m *model, a *attachment) { m.edit(a); m.peace(func(*attachment) bool { return false }) }, func(*attachment) view { return view{} }, true},
	} {
		m := newModel()
		a := begun(m, 1, 0)
		if v := m.succeed(a, nil); v != nil {
			t.Fatal(v)
		}
		if b := m.compare(m.steady(), shown(a, 5)); len(b) > 0 {
			t.Fatalf("%s: at first: %v", name, b)
		}
		if tc.between != nil {
			tc.between(m, a)
		}
		if b := m.compare(m.steady(), tc.next(a)); len(b) > 0 != tc.broken || tc.broken && !errors.Is(b[0], errNoWrongDelete) {
			t.Errorf("%s: %v", name, b)
		}
	}
}

func TestNotThereAfterADD(t *testing.T) {
	m := newModel()
	a := begun(m, 1, 0)
	if b := m.compare(m.steady(), view{}); len(b) > 0 {
		t.Errorf("while ADD runs: %v", b)
	}
	if v := m.succeed(a, nil); v != nil {
		t.Fatal(v)
	}
	if b := m.compare(m.steady(), view{}); len(b) != 1 {
		t.Errorf("after ADD: %v, want a violation", b)
	}
}

func TestStranger(t *testing.T) {
	s := &stranger{bridged: 1, routed: 2, memif: 3, socket: "/s"}
	well := func() view {
		return view{
			interfaces: []iface{{index: 1, up: true}, {index: 2, up: true}, {index: 3}},
			bridges:    map[uint32][]uint32{foreignDomain: {1}}, tags: map[uint32]string{foreignDomain: ""},
			routes:  map[string][]uint32{"0 " + foreignRoute: {2}, "0 10.99.0.1/32": {}},
			sockets: map[string]uint32{"/s": 7},
		}
	}
	if b := s.compare(well()); len(b) > 0 {
		t.Fatalf("untouched: %v", b)
	}
	for name, touch := range map[string]func(*view){
		"interface gone":  func(v *view) { v.interfaces = v.interfaces[1:] },
		"interface named": func(v *view) { v.interfaces[0].tag = ours + "net1/x" },
		"interface down":  func(v *view) { v.interfaces[1].up = false },
		"out of bridge":   func(v *view) { v.bridges[foreignDomain] = nil },
		"into bridge":     func(v *view) { v.bridges[foreignDomain] = []uint32{1, 9} },
		"bridge named":    func(v *view) { v.tags[foreignDomain] = ours + "bd/900" },
		"route gone":      func(v *view) { delete(v.routes, "0 "+foreignRoute) },
		"address gone":    func(v *view) { delete(v.routes, "0 10.99.0.1/32") },
		"socket gone":     func(v *view) { delete(v.sockets, "/s") },
	} {
		v := well()
		touch(&v)
		if b := s.compare(v); len(b) == 0 || !errors.Is(b[0], errNoForeignTouch) {
			t.Errorf("%s: %v", name, b)
		}
	}
}

// TestWhatAPodMayHold: only what it lost when it had no other interface.
func TestWhatAPodMayHold(t *testing.T) {
	m := newModel()
	w := &world{model: m}
	first, second := begun(m, 1, 0), begun(m, 1, 1)
	for _, a := range []*attachment{first, second} {
		if v := m.succeed(a, nil); v != nil {
			t.Fatal(v)
		}
	}
	says := report.Report{Held: []report.Held{{Attachment: "pod/net1"}}}
	m.leave(first)
	m.gone(first)
	if w.holdsOnly(first.owner, says) {
		t.Error("net1 may be held though the pod has net2")
	}
	m.leave(second)
	m.gone(second)
	if !w.holdsOnly(first.owner, report.Report{Held: []report.Held{{Attachment: "net2"}}}) {
		t.Error("net2 must not be held though it was the last")
	}
	begun(m, 1, 1)
	if w.holdsOnly(first.owner, report.Report{Held: []report.Held{{Attachment: "pod/net2"}}}) {
		t.Error("net2 may be held while it is wanted")
	}
}

func TestShortened(t *testing.T) {
	h := newHistory(nil)
	for r := range 5 {
		h.startRound(r)
		h.add("pod-1", "one in %d", r)
		h.add("pod-2", "two in %d", r)
		h.add(everything, "all in %d", r)
	}
	got := h.shortened([]string{"pod-1"})
	for text, want := range map[string]bool{"one in 4": true, "one in 1": true, "one in 0": false, "two in 4": false, "all in 3": true, "all in 2": false, "(9 events": true} {
		if strings.Contains(got, text) != want {
			t.Errorf("%q in the history: %v, want %v:\n%s", text, !want, want, got)
		}
	}
}
