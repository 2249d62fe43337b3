package vpp

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.fd.io/govpp/binapi/memif"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// VPP dies of a memif in mode punt-inject.
func TestMemifNeverPuntInject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := model.Memif{
			Tag:    model.Tag(rapid.String().Draw(t, "tag")),
			Master: rapid.Bool().Draw(t, "master"),
			IPMode: rapid.Bool().Draw(t, "ip"),
			Secret: model.NewSecret(rapid.String().Draw(t, "secret")),
		}
		req := memifRequest(m, rapid.Uint32().Draw(t, "socket"))
		want := memif.MEMIF_MODE_API_ETHERNET
		if m.IPMode {
			want = memif.MEMIF_MODE_API_IP
		}
		if req.Mode != want || req.NoZeroCopy || req.ID != 0 {
			t.Fatalf("%+v becomes %+v", m, req)
		}
	})
}

func TestTerminal(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("put x: %w", terminal("no")), true},
		{fmt.Errorf("put x: %w", &RetvalError{Op: "a", Retval: -9}), true},
		{fmt.Errorf("put x: %w", &RetvalError{Op: "a", Retval: -14}), false},
		{fmt.Errorf("put x: %w", ErrDown), false},
		{&IncompatibleError{Missing: []string{"a_1"}}, false},
		{nil, false},
	} {
		if got := Terminal(tc.err); got != tc.want {
			t.Errorf("Terminal(%v) = %v, want %v", tc.err, got, tc.want)
		}
	}
}

func TestErrorsName(t *testing.T) {
	for want, err := range map[string]error{
		"memif_create_v2": &RetvalError{Op: "memif_create_v2", Retval: -14},
		"(-14)":           &RetvalError{Op: "memif_create_v2", Retval: -14},
		"ping_1, pong_2":  &IncompatibleError{Missing: []string{"ping_1", "pong_2"}},
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

func TestOurSocket(t *testing.T) {
	v := New(Config{RunDir: "/run/vpp-cni"})
	for path, want := range map[string]bool{
		"/run/vpp-cni/pods/p/memif-net1.sock":   true,
		"/run/vpp-cni/pods":                     false,
		"/run/vpp-cni/pods-of-others/x.sock":    false,
		"/run/vpp-cni/pods/../../../etc/x.sock": false,
		"/run/vpp-cni/pods/p/../../../x.sock":   false,
		"/run/vpp/memif.sock":                   false,
		"run/vpp-cni/pods/p/memif-net1.sock":    false,
		"/run/vpp-cni/pods//p/memif-net1.sock":  false,
	} {
		if got := v.ourSocket(path); got != want {
			t.Errorf("ourSocket(%s) = %v, want %v", path, got, want)
		}
	}
	if New(Config{}).ourSocket("/x") {
		t.Error("with no socket root everything is ours")
	}
}

// A leftover's name must be ours, fit VPP's field and be no attachment's.
func TestLeftoverTag(t *testing.T) {
	a, b := leftoverTag("/a", 0), leftoverTag("/a", 1)
	if a == b || a != leftoverTag("/a", 0) || !model.Ours(string(a)) || len(a) > 63 {
		t.Errorf("leftover tags %q and %q", a, b)
	}
}

// A slow reader sees the latest of each kind, and is told of a new VPP even if
// the event that said so was overtaken.
func TestMailbox(t *testing.T) {
	m := newMailbox()
	go m.run(t.Context())
	m.put(Event{Kind: EventConnected, PID: 1})
	if e := <-m.out; e.PID != 1 || !e.NewVPP {
		t.Errorf("first: %+v", e)
	}
	for range 1000 {
		m.put(Event{Kind: EventInterfacesChanged})
	}
	m.put(Event{Kind: EventDisconnected, Err: errors.New("gone")})
	m.put(Event{Kind: EventConnected, PID: 2})
	m.put(Event{Kind: EventDisconnected, Err: errors.New("gone")})
	m.put(Event{Kind: EventConnected, PID: 2})
	if e := <-m.out; e.Kind != EventConnected || e.PID != 2 || !e.NewVPP {
		t.Errorf("second: %+v, want connected to a new VPP", e)
	}
	if e := <-m.out; e.Kind != EventInterfacesChanged {
		t.Errorf("third: %+v, want interfaces changed", e)
	}
	select {
	case e := <-m.out:
		t.Errorf("fourth: %+v, want none", e)
	case <-time.After(20 * time.Millisecond):
	}
	m.put(Event{Kind: EventConnected, PID: 2})
	if e := <-m.out; e.NewVPP {
		t.Errorf("the same VPP again: %+v", e)
	}
}

// What changes after the reader has an event, and before the mailbox notes that,
// is told in another one.
func TestMailboxLosesNothing(t *testing.T) {
	m := newMailbox()
	m.put(Event{Kind: EventInterfacesChanged})
	_, taken, ok := m.next()
	if !ok {
		t.Fatal("no event")
	}
	m.put(Event{Kind: EventInterfacesChanged})
	taken()
	if e, _, ok := m.next(); !ok || e.Kind != EventInterfacesChanged {
		t.Error("the second change is lost")
	}
}

// Creates and flips never meet, a create waits for the walk after a flip, and
// neither starves.
func TestGate(t *testing.T) {
	var g gate
	var in [2]atomic.Int32
	var lastFlip atomic.Int64
	const settle = time.Millisecond
	done := make(chan struct{})
	for _, me := range []group{creating, flipping} {
		for range 8 {
			go func() {
				for range 20 {
					wait := time.Duration(0)
					g.enter(me)
					in[me].Add(1)
					if in[1-me].Load() != 0 {
						t.Error("a create and a flip run at once")
					}
					if me == flipping {
						lastFlip.Store(time.Now().UnixNano())
						wait = settle
					} else if since := time.Since(time.Unix(0, lastFlip.Load())); since < settle {
						t.Errorf("a create runs %v after a flip", since)
					}
					in[me].Add(-1)
					g.leave(me, wait)
				}
				done <- struct{}{}
			}()
		}
	}
	for range 16 {
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("somebody waits for ever")
		}
	}
}
