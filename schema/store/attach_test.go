package store_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

const attached = `nodes/node-1/agent
nodes/node-1/host/c1/net1
nodes/node-1/pods/p1/interfaces/net1`

// witnessed is what Detach leaves of c1.
const witnessed = "nodes/node-1/host-status/c1/net1"

func TestAttachAndLook(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	empty := e.look("c1", "blue")
	if empty.Agent == nil || empty.Host != nil || empty.Pod != nil || empty.HostStatus != nil || empty.PodStatus != nil {
		t.Errorf("before ADD: %+v, want the agent only", empty)
	}
	if n, ok := empty.Networks["blue"]; !ok || n != nil {
		t.Errorf("network blue: %v, %v, want a nil entry", n, ok)
	}
	rev := e.attach("c1")
	same(t, "keys", e.keys(), attached)
	v := e.look("c1")
	if v.Host.Rev != rev || v.Pod.Rev != rev {
		t.Errorf("revisions %d and %d, want both %d: one transaction", v.Host.Rev, v.Pod.Rev, rev)
	}
	same(t, "host value", string(v.Host.Raw), encode(t, attachment("c1").Host))
	same(t, "pod value", string(v.Pod.Raw), encode(t, attachment("c1").Pod))
}

func TestAttachGuards(t *testing.T) {
	tests := []struct {
		name   string
		change func(e *env)
		want   string // part of the error; empty: it succeeds
	}{
		{"nothing changed", func(*env) {}, ""},
		{"another node changed", func(e *env) { e.announce("node-10") }, ""},
		{"the host end appeared", func(e *env) { e.put(e.store.Keys().Host(node, "c1", ifname), "{}") }, "it is there already"},
		{"the pod end appeared", func(e *env) { e.put(e.store.Keys().PodInterface(node, "p1", ifname), "{}") }, "the pod's interface changed"},
		{"the agent went", func(e *env) { e.remove(e.store.Keys().Agent(node)) }, "the agent of node node-1 went away"},
		{"the agent said something new", func(e *env) { e.announce(node) }, ""},
		{"the network appeared", func(e *env) { e.put(e.store.Keys().Network("blue"), `{"vrf":5}`) }, "network blue changed"},
		{"the network changed", func(e *env) { e.put(e.store.Keys().Network("red"), `{"vrf":5}`) }, "network red changed"},
		{"the network went", func(e *env) { e.remove(e.store.Keys().Network("red")) }, "network red changed"},
	}
	e := newEnv(t, etcdtest.Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e.remove(e.store.Keys().Host(node, "c1", ifname))
			e.remove(e.store.Keys().PodInterface(node, "p1", ifname))
			e.remove(e.store.Keys().Network("blue"))
			e.put(e.store.Keys().Network("red"), `{}`)
			e.announce(node)
			seen := e.look("c1", "blue", "red")
			tt.change(e)
			before := e.keys()
			_, err := e.store.Attach(e.ctx, attachment("c1"), seen)
			if tt.want == "" {
				is(t, err, nil)
				return
			}
			is(t, err, store.ErrConflict)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want it to say %q", err, tt.want)
			}
			same(t, "keys after a refused ADD", e.keys(), before)
		})
	}
}

func TestAttachRefusesWhatIsNotValid(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	for name, spoil := range map[string]func(*store.Attachment){
		"container id":         func(a *store.Attachment) { a.Container = "../c1" },
		"interface name":       func(a *store.Attachment) { a.IfName = "a/b" },
		"ifType":               func(a *store.Attachment) { a.Host.IfType = "tap" },
		"names container":      func(a *store.Attachment) { a.Pod.Container = "c2" },
		"the host's end names": func(a *store.Attachment) { a.Host.Pod.ID = "p2" },
		"memif.secret":         func(a *store.Attachment) { a.Host.Memif.Secret = schema.NewSecret(strings.Repeat("x", 24)) },
	} {
		a := attachment("c1")
		spoil(&a)
		_, err := e.store.Attach(e.ctx, a, store.View{})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want it to name that", name, err)
		}
	}
	same(t, "keys", e.keys(), "nodes/node-1/agent")
}

func TestTwoAttachesAtOnce(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	const n = 8
	seen := e.look("c1")
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = e.store.Attach(e.ctx, attachment("c1"), seen) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		is(t, err, store.ErrConflict)
	}
	if won != 1 {
		t.Errorf("%d of %d ADDs succeeded, want exactly 1", won, n)
	}
}

func TestTakeover(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	e.attach("old")
	e.put(e.store.Keys().PodStatus(node, "p1", ifname), "{}")
	e.put(e.store.Keys().HostStatus(node, "old", ifname), "{}")
	e.attach("new")
	same(t, "the old one's status", e.value(e.store.Keys().HostStatus(node, "old", ifname)), "{}")
	same(t, "after takeover", e.keys(), `nodes/node-1/agent
nodes/node-1/host-status/old/net1
nodes/node-1/host/new/net1
nodes/node-1/pods/p1/interfaces/net1`)

	// The old sandbox's DEL comes late: it must leave the new one alone.
	d, err := e.store.Detach(e.ctx, lookup("old", "p1"), 0)
	is(t, err, nil)
	if d.Existed || d.Host != nil || d.Pod != nil {
		t.Errorf("late DEL removed %+v, want nothing", d)
	}
	if v := e.look("new"); v.Host == nil || v.Pod == nil || v.Pod.Value.Container != "new" {
		t.Errorf("after the late DEL: %+v, want both ends of new", v)
	}
}

func TestTakeoverOfWhatCannotBeRead(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	e.put(e.store.Keys().PodInterface(node, "p1", ifname), `{"container":"old","future":1}`)
	_, err := e.store.Attach(e.ctx, attachment("new"), e.look("new"))
	var unknown *schema.UnknownFieldError
	if !errors.As(err, &unknown) || unknown.Field != "future" {
		t.Errorf("error %v, want it to name the unknown field future", err)
	}
}

func TestDetach(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(e *env) (store.Lookup, int64)
		existed bool
		left    string
	}{
		{"both ends and the pod's status", func(e *env) (store.Lookup, int64) {
			e.attach("c1")
			e.put(e.store.Keys().PodStatus(node, "p1", ifname), "{}")
			return lookup("c1", "p1"), 0
		}, true, witnessed},
		{"the pod is found from the host end", func(e *env) (store.Lookup, int64) {
			e.attach("c1")
			return lookup("c1", ""), 0
		}, true, witnessed},
		{"a wrong pod in the call", func(e *env) (store.Lookup, int64) {
			e.attach("c1")
			return lookup("c1", "c1"), 0
		}, true, witnessed},
		{"another interface stays", func(e *env) (store.Lookup, int64) {
			e.attach("c1")
			l := lookup("c1", "p1")
			l.IfName = "net2"
			return l, 0
		}, false, "nodes/node-1/host/c1/net1\nnodes/node-1/pods/p1/interfaces/net1"},
		{"nothing there", func(*env) (store.Lookup, int64) { return lookup("c1", "p1"), 0 }, false, ""},
		{"half of it: the pod end", func(e *env) (store.Lookup, int64) {
			e.attach("c1")
			e.remove(e.store.Keys().Host(node, "c1", ifname))
			return lookup("c1", "p1"), 0
		}, true, ""},
		{"ADD withdraws its own", func(e *env) (store.Lookup, int64) { return lookup("c1", "p1"), e.attach("c1") }, true, witnessed},
		{"values of a newer version", func(e *env) (store.Lookup, int64) {
			e.put(e.store.Keys().Host(node, "c1", ifname), `{"pod":{"id":"p1"},"future":1}`)
			e.put(e.store.Keys().PodInterface(node, "p1", ifname), `{"container":"c1","future":1}`)
			return lookup("c1", ""), 0
		}, true, witnessed},
	}
	e := newEnv(t, etcdtest.Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for key := range strings.SplitSeq(e.keys(), "\n") {
				e.remove(e.store.Keys().Root() + key)
			}
			e.announce(node)
			l, rev := tt.prepare(e)
			d, err := e.store.Detach(e.ctx, l, rev)
			is(t, err, nil)
			if d.Existed != tt.existed {
				t.Errorf("existed = %v, want %v", d.Existed, tt.existed)
			}
			same(t, "left", strings.TrimPrefix(strings.TrimPrefix(e.keys(), "nodes/node-1/agent"), "\n"), tt.left)
		})
	}
}

func TestDetachOfAnotherRevision(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	rev := e.attach("c1")
	_, err := e.store.Detach(e.ctx, lookup("c1", "p1"), rev-1)
	is(t, err, store.ErrConflict)
	same(t, "keys", e.keys(), attached)
}
