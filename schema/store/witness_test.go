package store_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// witness is what stands for container's removal; nil: nothing, or a status of
// the agent's.
func (e *env) witness(container schema.ContainerID) *schema.InterfaceStatus {
	e.Helper()
	v := e.look(container).HostStatus
	if v == nil || v.Err != nil || v.Value.State != schema.Removed {
		return nil
	}
	is(e.T, v.Value.Validate(), nil)
	return &v.Value
}

// hold makes the node's agent say that it holds n attachments.
func (e *env) hold(n int) {
	e.Helper()
	e.put(e.store.Keys().Agent(node), encode(e.T, schema.AgentInfo{Node: node, Instance: "i1", PID: 7, Ready: true, Held: n}))
}

// TestDetachLeavesAWitness: whoever looks later sees that the attachment was
// removed, and did not just vanish.
func TestDetachLeavesAWitness(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	rev := e.attach("c1")
	d, err := e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
	is(t, err, nil)
	w := e.witness("c1")
	if !d.Awaited || w == nil || w.SpecRevision != rev || w.Reason != schema.ReasonDetached {
		t.Errorf("without a status: awaited %v, witness %+v, want one of revision %d", d.Awaited, w, rev)
	}
	// A DEL that comes again finds it, and leaves it alone.
	before := e.look("c1").HostStatus.Rev
	d, err = e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
	is(t, err, nil)
	if d.Existed || !d.Awaited || e.look("c1").HostStatus.Rev != before {
		t.Errorf("again: %+v, want it to find the witness as it was", d)
	}
}

// TestDetachKeepsTheAgentsStatus: where the agent has said something, that is
// the witness.
func TestDetachKeepsTheAgentsStatus(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	e.attach("c1")
	said := encode(t, schema.InterfaceStatus{SpecRevision: 1, State: schema.Ready, Reason: schema.ReasonApplied})
	e.put(e.store.Keys().HostStatus(node, "c1", ifname), said)
	d, err := e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
	is(t, err, nil)
	if got := e.value(e.store.Keys().HostStatus(node, "c1", ifname)); !d.Awaited || got != said {
		t.Errorf("awaited %v, status %s, want it as it was: %s", d.Awaited, got, said)
	}
}

// TestDetachOfWhatEtcdDoesNotKnow: a DEL says so to an agent that holds
// something, and to nobody else.
func TestDetachOfWhatEtcdDoesNotKnow(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	for _, held := range []int{0, 2} {
		e.hold(held)
		d, err := e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
		is(t, err, nil)
		if w := e.witness("c1"); (w != nil) != (held > 0) || d.Awaited != (held > 0) || d.Existed {
			t.Errorf("agent holds %d: %+v, witness %+v", held, d, w)
		}
	}
}

// TestDetachHost: the pod end stays as the claim, and goes with Detach unless the
// attachment was made anew meanwhile.
func TestDetachHost(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	rev := e.attach("c1")
	_, err := e.store.DetachHost(e.ctx, lookup("c1", "p1"), rev-1)
	is(t, err, store.ErrConflict)
	d, err := e.store.DetachHost(e.ctx, lookup("c1", "p1"), rev)
	is(t, err, nil)
	if !d.Existed || !d.Awaited || d.Pod != nil {
		t.Errorf("%+v, want the host end removed and its witness awaited", d)
	}
	const claimed = "nodes/node-1/agent\nnodes/node-1/host-status/c1/net1\nnodes/node-1/pods/p1/interfaces/net1"
	same(t, "after DetachHost", e.keys(), claimed)
	d, err = e.store.DetachHost(e.ctx, lookup("c1", "p1"), rev)
	if err != nil || d.Existed {
		t.Errorf("again: %+v, %v, want nothing to be there", d, err)
	}
	e.remove(e.store.Keys().HostStatus(node, "c1", ifname)) // as the agent does
	d, err = e.store.Detach(e.ctx, lookup("c1", "p1"), rev)
	if err != nil || !d.Existed || d.Awaited {
		t.Errorf("then Detach: %+v, %v, want the pod end removed and nothing awaited", d, err)
	}
	same(t, "after Detach", e.keys(), "nodes/node-1/agent")

	rev = e.attach("c1")
	_, err = e.store.DetachHost(e.ctx, lookup("c1", "p1"), rev)
	is(t, err, nil)
	e.attach("c1")
	_, err = e.store.Detach(e.ctx, lookup("c1", "p1"), rev)
	is(t, err, store.ErrConflict)
}

// TestTakeoverLeavesAWitness: the old sandbox's agent may have missed the event.
func TestTakeoverLeavesAWitness(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	rev := e.attach("old")
	e.attach("new")
	if w := e.witness("old"); w == nil || w.SpecRevision != rev {
		t.Errorf("witness %+v, want one of revision %d", w, rev)
	}
	if w := e.witness("new"); w != nil {
		t.Errorf("the new one has %+v", w)
	}
}

// TestDetachMeetsTheAgent: at no time is an attachment gone with its status
// missing, however the agent's word and the removal meet; and what the agent
// could say stands.
func TestDetachMeetsTheAgent(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	status := e.store.Keys().HostStatus(node, "c1", ifname)
	for range 60 {
		rev := e.attach("c1")
		said := []byte(encode(t, schema.InterfaceStatus{SpecRevision: rev, State: schema.Ready, Reason: schema.ReasonApplied}))
		var wg sync.WaitGroup
		spoke := false
		wg.Go(func() {
			var err error
			spoke, err = e.store.Subtree("").PutGuarded(e.ctx, e.store.Keys().Host(node, "c1", ifname), rev, status, said)
			if err != nil {
				t.Error(err)
			}
		})
		_, err := e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
		wg.Wait()
		is(t, err, nil)
		v := e.look("c1")
		if v.Host != nil || v.HostStatus == nil || v.HostStatus.Value.SpecRevision != rev {
			t.Fatalf("host %+v, status %+v, want a status of revision %d alone", v.Host, v.HostStatus, rev)
		}
		if spoke != (v.HostStatus.Value.State == schema.Ready) {
			t.Fatalf("the agent's word was taken: %v, and %s stands", spoke, v.HostStatus.Value.State)
		}
		e.remove(status)
	}
}

// TestOutOfSpace: an etcd that refuses writes lets attachments go, and says what
// it lacks.
func TestOutOfSpace(t *testing.T) {
	e := newEnv(t, etcdtest.Options{Quota: 4 << 20})
	e.announce(node)
	e.attach("c1")
	e.put(e.store.Keys().HostStatus(node, "c1", ifname), encode(t, schema.InterfaceStatus{SpecRevision: 1, State: schema.Ready, Reason: schema.ReasonApplied}))
	second := attachment("c2")
	second.Host.Pod.ID, second.Pod.Pod.ID = "p2", "p2"
	_, err := e.store.Attach(e.ctx, second, store.View{})
	is(t, err, nil)
	is(t, e.cluster.Fill(e.ctx, "/filler"), nil)

	third := attachment("c3")
	third.Host.Pod.ID, third.Pod.Pod.ID = "p3", "p3"
	_, err = e.store.Attach(e.ctx, third, store.View{})
	is(t, err, store.ErrNoSpace)
	is(t, err, store.ErrUnavailable)

	d, err := e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
	is(t, err, nil)
	if !d.Existed || !d.Awaited {
		t.Errorf("with a status: %+v, want the ends gone and the status awaited", d)
	}
	d, err = e.store.Detach(e.ctx, lookup("c2", "p2"), 0)
	is(t, err, nil)
	if !d.Existed || d.Awaited {
		t.Errorf("without a status: %+v, want the ends gone and nothing awaited", d)
	}
	same(t, "left", e.keys(), "/filler\nnodes/node-1/agent\nnodes/node-1/host-status/c1/net1")
}

func TestDeleteNode(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.hold(0)
	e.attach("c1")
	k := e.store.Keys()
	e.put(k.HostStatus(node, "c1", ifname), "{}")
	e.put(k.HostStatus(node, "c0", ifname), "{}")
	e.put(k.Release(node), "{}")
	e.put(k.Host("node-10", "c1", ifname), "{}")
	e.put(k.Network("blue"), "{}")
	before := e.keys()
	_, err := e.store.DeleteNode(e.ctx, node)
	is(t, err, store.ErrConflict)
	if want := "instance i1, process 7"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want it to name the agent: %s", err, want)
	}
	same(t, "keys after a refusal", e.keys(), before)

	e.remove(k.Agent(node))
	d, err := e.store.DeleteNode(e.ctx, node)
	is(t, err, nil)
	if d.Keys != 5 || d.Attachments != 1 || d.Rev == 0 {
		t.Errorf("deleted %+v, want 5 keys with 1 attachment", d)
	}
	same(t, "left", e.keys(), "networks/blue\nnodes/node-10/host/c1/net1")
	if d, err = e.store.DeleteNode(e.ctx, node); err != nil || d.Keys != 0 {
		t.Errorf("again: %+v, %v, want nothing", d, err)
	}
	if _, err = e.store.DeleteNode(e.ctx, ""); err == nil {
		t.Error("no name was taken")
	}
}

func TestPutRelease(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	_, err := e.store.PutRelease(e.ctx, node)
	is(t, err, store.ErrNoAgent)
	e.hold(0)
	info, err := e.store.PutRelease(e.ctx, node)
	if err != nil || info.Held != 0 || e.keys() != "nodes/node-1/agent" {
		t.Errorf("with nothing held: %+v, %v, keys %s, want no word", info, err, e.keys())
	}
	e.hold(3)
	info, err = e.store.PutRelease(e.ctx, node)
	is(t, err, nil)
	r, err := schema.Decode[schema.Release]([]byte(e.value(e.store.Keys().Release(node))))
	is(t, errors.Join(err, r.Validate()), nil)
	if info.Held != 3 || r.Instance != "i1" {
		t.Errorf("agent %+v, word %+v, want it for instance i1", info, r)
	}
	lease, err := e.raw.Grant(e.ctx, 60)
	is(t, err, nil)
	agent := e.store.Keys().Agent(node)
	_, err = e.raw.Put(e.ctx, agent, e.value(agent), clientv3.WithLease(lease.ID))
	is(t, err, nil)
	_, err = e.store.PutRelease(e.ctx, node)
	is(t, err, nil)
	_, err = e.raw.Revoke(e.ctx, lease.ID)
	is(t, err, nil)
	same(t, "keys after the end of the agent", e.keys(), "")
}

// TestDetachLeavesAWitnessForThePod: so does an agent that had not said anything
// of this interface yet. A pod that has no agent gets no key that nobody deletes.
func TestDetachLeavesAWitnessForThePod(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	e.attach("c1")
	for _, i := range []schema.IfName{"net2", "net3"} {
		more := attachment("c1")
		more.IfName = i
		_, err := e.store.Attach(e.ctx, more, store.View{})
		is(t, err, nil)
	}
	k := e.store.Keys()
	l := lookup("c1", "p1")
	l.IfName = "net3"
	_, err := e.store.Detach(e.ctx, l, 0)
	is(t, err, nil)
	same(t, "what the pod's agent said", e.value(k.PodStatus(node, "p1", "net3")), "")
	e.put(k.PodStatus(node, "p1", "net2"), encode(t, schema.InterfaceStatus{SpecRevision: 1, State: schema.Ready, Reason: schema.ReasonApplied}))
	rev := e.look("c1").Pod.Rev
	_, err = e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
	is(t, err, nil)
	st, err := schema.Decode[schema.InterfaceStatus]([]byte(e.value(k.PodStatus(node, "p1", "net1"))))
	if err != nil || st.State != schema.Removed || st.SpecRevision != rev {
		t.Errorf("the pod end's status is %+v (%v), want Removed of revision %d", st, err, rev)
	}
	l.IfName = "net2"
	_, err = e.store.Detach(e.ctx, l, 0)
	is(t, err, nil)
	if left := e.keys(); strings.Contains(left, "pods/") {
		t.Errorf("after the pod's last DEL there is %s", left)
	}
}

// TestDetachLeavesThePodsStatus: a pod's agent that was away knows by its status
// that an interface was removed, while the pod has another one. With the last
// one all goes.
func TestDetachLeavesThePodsStatus(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	e.attach("c1")
	second := attachment("c1")
	second.IfName = "net2"
	_, err := e.store.Attach(e.ctx, second, store.View{})
	is(t, err, nil)
	k := e.store.Keys()
	said := encode(t, schema.InterfaceStatus{SpecRevision: 1, State: schema.Ready, Reason: schema.ReasonApplied})
	for _, i := range []schema.IfName{"net1", "net2"} {
		e.put(k.PodStatus(node, "p1", i), said)
		e.put(k.HostStatus(node, "c1", i), said)
	}
	_, err = e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
	is(t, err, nil)
	same(t, "keys after the first DEL", e.keys(), `nodes/node-1/agent
nodes/node-1/host-status/c1/net1
nodes/node-1/host-status/c1/net2
nodes/node-1/host/c1/net2
nodes/node-1/pods/p1/interfaces/net2
nodes/node-1/pods/p1/status/net1
nodes/node-1/pods/p1/status/net2`)
	last := lookup("c1", "p1")
	last.IfName = "net2"
	_, err = e.store.Detach(e.ctx, last, 0)
	is(t, err, nil)
	same(t, "keys after the last DEL", e.keys(), `nodes/node-1/agent
nodes/node-1/host-status/c1/net1
nodes/node-1/host-status/c1/net2`)
}

// TestDetachOfAllAtOnce: of a pod's interfaces, removed side by side, nothing
// stays, though each was the last but one for a moment.
func TestDetachOfAllAtOnce(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	names := []schema.IfName{"net1", "net2", "net3", "net4"}
	said := encode(t, schema.InterfaceStatus{SpecRevision: 1, State: schema.Ready, Reason: schema.ReasonApplied})
	for _, i := range names {
		a := attachment("c1")
		a.IfName = i
		_, err := e.store.Attach(e.ctx, a, store.View{})
		is(t, err, nil)
		e.put(e.store.Keys().PodStatus(node, "p1", i), said)
	}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for n, i := range names {
		l := lookup("c1", "p1")
		l.IfName = i
		wg.Go(func() { _, errs[n] = e.store.Detach(e.ctx, l, 0) })
	}
	wg.Wait()
	is(t, errors.Join(errs...), nil)
	if keys := e.keys(); strings.Contains(keys, "/pods/") {
		t.Errorf("left behind:\n%s", keys)
	}
}

// TestDetachWithForeignKeys: what somebody has put beside a pod's interfaces is
// none of them, so that nothing of ours stays for it.
func TestDetachWithForeignKeys(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	e.attach("c1")
	k := e.store.Keys()
	said := encode(t, schema.InterfaceStatus{SpecRevision: 1, State: schema.Ready, Reason: schema.ReasonApplied})
	e.put(k.PodStatus(node, "p1", ifname), said)
	foreign := k.PodPrefix(node, "p1") + "interfaces/no such name"
	e.put(foreign, "what is this")
	_, err := e.store.Detach(e.ctx, lookup("c1", "p1"), 0)
	is(t, err, nil)
	keys := e.keys()
	if strings.Contains(keys, "p1/status") || !strings.Contains(keys, "no such name") {
		t.Errorf("after the last DEL:\n%s", keys)
	}
}
