package store_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// TestNodeRoleIsEnough: what a node's agent and plugin do, they may.
func TestNodeRoleIsEnough(t *testing.T) {
	e := newAuthEnv(t)
	s := e.node(string(node))
	me := schema.AgentInfo{Node: node, Ready: true, Instance: "i1"}
	p, err := s.Presence(store.Claim{
		Key: s.Keys().Agent(node), TTL: 2 * time.Second, Value: []byte(encode(t, me)), Yields: func([]byte) bool { return false },
	})
	is(t, err, nil)
	p.Start(e.ctx)
	eventually(t, "presence", func() string { return e.value(s.Keys().Agent(node)) }, encode(t, me))
	m := follow(e.env, s, p)
	eventually(t, "view", m.view, "")

	id, _, err := s.AllocateDomain(e.ctx, "blue")
	is(t, err, nil)
	if id != schema.FirstNamedDomain {
		t.Errorf("domain %d", id)
	}
	view, err := s.Look(e.ctx, store.Lookup{Node: node, Container: "c1", IfName: ifname, Pod: pod, Networks: []schema.NetworkName{"blue"}, Count: true})
	is(t, err, nil)
	rev, err := s.AttachWithin(e.ctx, attachment("c1"), view, 1)
	is(t, err, nil)
	eventually(t, "view", func() string { k, _, _ := strings.Cut(m.view(), "="); return k }, "host/c1/net1")
	tree := s.Subtree(s.Keys().NodePrefix(node)).OwnedBy(p)
	held, err := tree.PutGuarded(e.ctx, "host/c1/net1", rev, "host-status/c1/net1", []byte(`{"specRevision":1,"state":"Ready"}`))
	is(t, err, nil)
	if !held {
		t.Error("the status was not written")
	}
	is(t, s.AwaitHostStatus(e.ctx, node, "c1", ifname, func(st *schema.InterfaceStatus, _ *schema.AgentInfo, _ bool) bool { return st != nil }), nil)
	podTree := s.Subtree(s.Keys().PodPrefix(node, pod))
	pods, _, err := podTree.List(e.ctx, schema.PodInterfacesPrefix)
	is(t, err, nil)
	held, err = podTree.PutGuarded(e.ctx, "interfaces/net1", pods["interfaces/net1"].Rev, "status/net1", []byte(`{"specRevision":1,"state":"Ready"}`))
	is(t, err, nil)
	if !held {
		t.Error("the pod's status was not written")
	}
	all, _, err := s.Attachments(e.ctx, store.Filter{Node: node, Network: "blue"})
	is(t, err, nil)
	if len(all) != 1 {
		t.Errorf("%d attachments", len(all))
	}
	_, err = s.Detach(e.ctx, lookup("c1", pod), 0)
	is(t, err, nil)
	_, err = tree.DeleteIfAbsent(e.ctx, "host/c1/net1", "host-status/c1/net1")
	is(t, err, nil)
	time.Sleep(2500 * time.Millisecond) // a refresh and a look at the key
	if !p.Owned() {
		t.Error("the presence was lost")
	}
	is(t, p.Close(e.ctx), nil)
	same(t, "keys", e.keys(), "bridge-domains/1048576\nnetworks/blue")

	// Without the plugin's role a network that has its domain can be used, and no
	// other.
	must(t)(e.raw.UserRevokeRole(e.ctx, "vpp-cni-node-"+string(node), "vpp-cni-plugin"))
	again, _, err := s.AllocateDomain(e.ctx, "blue")
	is(t, err, nil)
	if again != id {
		t.Errorf("domain %d, want %d", again, id)
	}
	_, _, err = s.AllocateDomain(e.ctx, "red")
	is(t, err, store.ErrDenied)
	if !strings.Contains(err.Error(), "user vpp-cni-node-node-1") {
		t.Errorf("%v, want it to name the user", err)
	}
}

// TestOperatorRoleIsEnough: what vpp-cnictl does, the operator may.
func TestOperatorRoleIsEnough(t *testing.T) {
	e := newAuthEnv(t)
	agent := e.node(string(node))
	p, err := agent.Presence(store.Claim{
		Key: agent.Keys().Agent(node), TTL: 5 * time.Second, Yields: func([]byte) bool { return false },
		Value: []byte(encode(t, schema.AgentInfo{Node: node, Instance: "5cca5b4d-29c5-4a4c-9d0c-0d9c6b1c7a11", Held: 2})),
	})
	is(t, err, nil)
	p.Start(e.ctx)
	op := e.store
	eventually(t, "agent", func() string {
		n, _, nodesErr := op.Nodes(e.ctx)
		return errText(nodesErr) + strings.Repeat("x", len(n))
	}, "x")
	_, err = op.PutRelease(e.ctx, node) // under the agent's lease
	is(t, err, nil)
	_, err = op.PutNetwork(e.ctx, "blue", schema.Network{VRF: 1}, 0)
	is(t, err, nil)
	_, _, err = op.Attachments(e.ctx, store.Filter{})
	is(t, err, nil)
	_, err = op.DeleteNetwork(e.ctx, "blue")
	is(t, err, nil)
	w := watchAll(e.ctx, t, op, op.Keys().Root())
	eventually(t, "watch", w.keys, "nodes/node-1/agent nodes/node-1/release")
	is(t, p.Close(e.ctx), nil)
	_, err = op.DeleteNode(e.ctx, node)
	is(t, err, nil)
	eventually(t, "watch", w.keys, "")
}

// TestReadOnlySeesNoSecret, and what it may see, it sees in lists and watches
// that are for people.
func TestReadOnlySeesNoSecret(t *testing.T) {
	e := newAuthEnv(t)
	e.announce(node)
	e.announce("node-2")
	e.attach("c1")
	e.put(e.store.Keys().HostStatus(node, "c1", ifname), `{"specRevision":1,"state":"Ready","interface":"memif1/0"}`)
	e.put(e.store.Keys().Network("blue"), `{"vrf":7}`)
	e.node(string(node))
	pair, err := e.access.CA.Issue("vpp-cni-read-only", nil)
	is(t, err, nil)
	strict := openStore(t, e.access.Store(pair))
	_, _, err = strict.Attachments(e.ctx, store.Filter{})
	is(t, err, store.ErrDenied)
	_, _, err = strict.Nodes(e.ctx)
	is(t, err, store.ErrDenied)
	_, err = strict.Look(e.ctx, lookup("c1", pod))
	is(t, err, store.ErrDenied)

	cfg := e.access.Store(pair)
	var shown []string
	cfg.Partial = func(s []string) { shown = s }
	s := openStore(t, cfg)
	nodes, _, err := s.Nodes(e.ctx)
	is(t, err, nil)
	if len(nodes) != 1 || nodes[0].Node != node || nodes[0].Agent == nil || nodes[0].Attachments != 1 {
		t.Errorf("nodes %+v, want node-1 with its agent and 1 attachment", nodes)
	}
	all, _, err := s.Attachments(e.ctx, store.Filter{})
	is(t, err, nil)
	if len(all) != 1 || all[0].Host != nil || !all[0].Partial || all[0].HostStatus == nil || all[0].HostStatus.Value.Interface != "memif1/0" {
		t.Errorf("attachments %+v, want one of which the status is known", all)
	}
	networks, _, err := s.Networks(e.ctx)
	is(t, err, nil)
	if len(networks) != 1 {
		t.Errorf("networks %+v", networks)
	}
	root := s.Keys().Root()
	same(t, "shown", strings.ReplaceAll(strings.Join(shown, " "), root, ""), "nodes/node-1/agent nodes/node-1/host-status/")
	w := watchAll(e.ctx, t, s, root)
	eventually(t, "watch", w.keys, "networks/blue nodes/node-1/agent nodes/node-1/host-status/c1/net1")
	e.put(e.store.Keys().Agent("node-2"), "not shown")
	e.put(e.store.Keys().Network("red"), `{}`)
	eventually(t, "watch", w.keys, "networks/blue networks/red nodes/node-1/agent nodes/node-1/host-status/c1/net1")
	if strings.Contains(w.text(), "s3cret") {
		t.Error("a secret was shown")
	}
}

// watched is what a WatchAll has told.
type watched struct {
	mirror
	root string
	all  strings.Builder
	mu2  sync.Mutex
}

func watchAll(ctx context.Context, t *testing.T, s *store.Store, prefix string) *watched {
	t.Helper()
	w := &watched{root: s.Keys().Root()}
	w.entries = map[string]store.Entry{}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.WatchAll(ctx, prefix, func(ev store.Event) {
			w.mu2.Lock()
			w.all.Write(ev.Value)
			w.mu2.Unlock()
			if ev.Value == nil {
				w.Changed(ev.Key, nil, ev.Rev)
			} else {
				w.Changed(ev.Key, &store.Entry{Value: ev.Value, Rev: ev.Rev}, ev.Rev)
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// keys are those that are there, without the root.
func (w *watched) keys() string {
	var out []string
	for _, kv := range strings.Fields(w.view()) {
		k, _, _ := strings.Cut(kv, "=")
		out = append(out, strings.TrimPrefix(k, w.root))
	}
	return strings.Join(out, " ")
}

func (w *watched) text() string {
	w.mu2.Lock()
	defer w.mu2.Unlock()
	return w.all.String()
}
