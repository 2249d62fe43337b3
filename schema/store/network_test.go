package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

func TestAllocateDomain(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.put(e.store.Keys().Network("blue"), `{"vrf":7,"mtu":1500}`)
	allocate := func(name schema.NetworkName) string {
		id, n, err := e.store.AllocateDomain(e.ctx, name)
		return fmt.Sprintf("%d %+v %v", id, n, err)
	}
	same(t, "first", allocate("blue"), "1048576 {DomainID:1048576 VRF:7 MTU:1500} <nil>")
	same(t, "second", allocate("red"), "1048577 {DomainID:1048577 VRF:0 MTU:0} <nil>")
	same(t, "again", allocate("blue"), "1048576 {DomainID:1048576 VRF:7 MTU:1500} <nil>")
	existed, err := e.store.DeleteNetwork(e.ctx, "blue")
	is(t, err, nil)
	if !existed {
		t.Error("blue did not exist")
	}
	same(t, "keys", e.keys(), "bridge-domains/1048577\nnetworks/red")
	same(t, "lowest free", allocate("green"), "1048576 {DomainID:1048576 VRF:0 MTU:0} <nil>")
	e.put(e.store.Keys().Network("odd"), `{"future":1}`)
	if got := allocate("odd"); !strings.Contains(got, `unknown field "future"`) {
		t.Errorf("a record of a newer version: %s, want an error that names the field", got)
	}
}

func TestAllocateDomainAtOnce(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	const n = 16
	each := func(name func(i int) schema.NetworkName) []uint32 {
		ids, errs := make([]uint32, n), make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { ids[i], _, errs[i] = e.store.AllocateDomain(e.ctx, name(i)) })
		}
		wg.Wait()
		is(t, errors.Join(errs...), nil)
		slices.Sort(ids)
		return slices.Compact(ids)
	}
	distinct := each(func(i int) schema.NetworkName { return schema.NetworkName(fmt.Sprintf("n%d", i)) })
	if len(distinct) != n || distinct[0] != schema.FirstNamedDomain || distinct[n-1] != schema.FirstNamedDomain+n-1 {
		t.Errorf("distinct names got %v, want the %d lowest ids", distinct, n)
	}
	if one := each(func(int) schema.NetworkName { return "shared" }); len(one) != 1 {
		t.Errorf("one name got %v, want one id", one)
	}
}

func TestPutNetwork(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	rev, err := e.store.PutNetwork(e.ctx, "blue", schema.Network{VRF: 1}, 0)
	is(t, err, nil)
	_, err = e.store.PutNetwork(e.ctx, "blue", schema.Network{VRF: 2}, 0)
	is(t, err, store.ErrConflict)
	_, err = e.store.PutNetwork(e.ctx, "blue", schema.Network{VRF: 2}, rev)
	is(t, err, nil)
	_, err = e.store.PutNetwork(e.ctx, "blue", schema.Network{VRF: 3}, rev)
	is(t, err, store.ErrConflict)
	_, err = e.store.PutNetwork(e.ctx, "blue", schema.Network{MTU: 67}, rev)
	if err == nil || !strings.Contains(err.Error(), "mtu") {
		t.Errorf("MTU 67: %v, want it refused", err)
	}
	n, err := e.store.Network(e.ctx, "blue")
	is(t, err, nil)
	same(t, "blue", string(n.Raw), `{"vrf":2}`)
	n, err = e.store.Network(e.ctx, "red")
	is(t, err, nil)
	if n != nil {
		t.Errorf("red: %+v, want none", n)
	}
}

func TestDeleteNetworkInUse(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	e.put(e.store.Keys().Network("blue"), `{}`)
	e.attach("c1")
	_, err := e.store.DeleteNetwork(e.ctx, "blue")
	var used *store.InUseError
	if !errors.As(err, &used) || used.Attachments != 1 || used.Example != "c1/net1 on node node-1" {
		t.Errorf("error %v, want one that names the attachment", err)
	}
	_, err = e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
	is(t, err, nil)
	existed, err := e.store.DeleteNetwork(e.ctx, "blue")
	is(t, err, nil)
	again, err := e.store.DeleteNetwork(e.ctx, "blue")
	is(t, err, nil)
	if !existed || again {
		t.Errorf("deleted %v then %v, want true then false", existed, again)
	}
}

// TestDeleteNetworkRacesAttach: never both an attachment that was made with the
// network's record and no record.
func TestDeleteNetworkRacesAttach(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	for i := range 20 {
		e.put(e.store.Keys().Network("blue"), `{}`)
		seen := e.look("c1", "blue")
		var attachErr, deleteErr error
		var wg sync.WaitGroup
		wg.Go(func() { _, attachErr = e.store.Attach(e.ctx, attachment("c1"), seen) })
		wg.Go(func() { _, deleteErr = e.store.DeleteNetwork(e.ctx, "blue") })
		wg.Wait()
		if (attachErr == nil) == (deleteErr == nil) {
			t.Fatalf("round %d: attach %v, delete %v: want exactly one to succeed", i, attachErr, deleteErr)
		}
		_, err := e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
		is(t, err, nil)
	}
}

func TestAttachmentsAndNodes(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	k := e.store.Keys()
	e.announce(node)
	e.announce("node-10")
	e.attach("c1")
	e.put(k.HostStatus(node, "c1", ifname), encode(t, schema.InterfaceStatus{SpecRevision: 1, State: schema.Ready}))
	e.put(k.PodStatus(node, "p1", ifname), encode(t, schema.InterfaceStatus{SpecRevision: 1, State: schema.Pending}))
	e.put(k.HostStatus(node, "gone", ifname), "{}")       // not yet removed by the agent
	e.put(k.Host("node-2", "c2", ifname), `{"future":1}`) // a newer version's
	e.put(k.PodInterface("node-2", "p3", "net9"), `{"container":"c3","network":"red","pod":{"id":"p3"},"ifType":"memif","netType":"none"}`)
	e.put(k.NodesPrefix()+"node-2/future/x", "not in the table")

	list := func(f store.Filter) string {
		views, _, err := e.store.Attachments(e.ctx, f)
		is(t, err, nil)
		var out []string
		for _, v := range views {
			s := fmt.Sprintf("%s %s/%s pod=%s", v.Node, v.Container, v.IfName, v.PodID)
			for name, there := range map[string]bool{"host": v.Host != nil, "host-status": v.HostStatus != nil, "pod": v.Pod != nil, "pod-status": v.PodStatus != nil} {
				if there {
					s += " " + name
				}
			}
			fields := strings.Fields(s)
			slices.Sort(fields[3:])
			out = append(out, strings.Join(fields, " "))
		}
		return strings.Join(out, "\n")
	}
	all := `node-1 c1/net1 pod=p1 host host-status pod pod-status
node-1 gone/net1 pod= host-status
node-2 c2/net1 pod= host
node-2 c3/net9 pod=p3 pod`
	same(t, "all", list(store.Filter{}), all)
	same(t, "of node-1", list(store.Filter{Node: node}), strings.Join(strings.Split(all, "\n")[:2], "\n"))
	same(t, "of network red", list(store.Filter{Network: "red"}), "node-2 c3/net9 pod=p3 pod")
	same(t, "of a node that is not", list(store.Filter{Node: "node-3"}), "")

	nodes, _, err := e.store.Nodes(e.ctx)
	is(t, err, nil)
	var out []string
	for _, n := range nodes {
		out = append(out, fmt.Sprintf("%s agent=%v attachments=%d", n.Node, n.Agent != nil, n.Attachments))
	}
	same(t, "nodes", strings.Join(out, "\n"), `node-1 agent=true attachments=1
node-10 agent=true attachments=0
node-2 agent=false attachments=1`)
}

func TestManyNodes(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	const n = 150 // more than fit one transaction
	for i := range n {
		e.announce(schema.Node(fmt.Sprintf("n%03d", i)))
	}
	nodes, _, err := e.store.Nodes(e.ctx)
	is(t, err, nil)
	for i, v := range nodes {
		if want := schema.Node(fmt.Sprintf("n%03d", i)); v.Node != want || v.Agent == nil || v.Agent.Value.Node != want {
			t.Fatalf("node %d is %+v, want %s with its agent", i, v, want)
		}
	}
	if len(nodes) != n {
		t.Errorf("%d nodes, want %d", len(nodes), n)
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	_, _, err := e.store.AllocateDomain(ctx, "blue")
	is(t, err, context.Canceled)
	_, err = e.store.Detach(ctx, lookup("c1", "p1"), 0)
	is(t, err, context.Canceled)
	is(t, e.store.WatchAll(ctx, "", func(store.Event) {}), context.Canceled)
}
