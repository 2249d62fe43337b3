package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// standIn does in etcd what the host agent does there, without a VPP: it says
// that it is there, writes a status for each desired host end, guarded by the
// revision it speaks of, and deletes the status when the host end is gone. What
// it missed while it was silent it makes good when it speaks again.
type standIn struct {
	cli    *clientv3.Client
	keys   schema.Keys
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	mode    mode
	seen    []string // container/ifname of each host end, in the order of their puts
	indexes map[string]int
}

// mode is how the stand-in answers. The zero mode answers Ready at once.
type mode struct {
	silent  bool // no status, and no deletes of statuses
	keep    bool // statuses are not deleted
	delay   time.Duration
	state   schema.State // default Ready
	reason  schema.Reason
	message string
	newer   bool // the status has a field that the plugin does not know
}

func startStandIn(t *testing.T, cli *clientv3.Client, keys schema.Keys) *standIn {
	t.Helper()
	a := &standIn{cli: cli, keys: keys, done: make(chan struct{}), indexes: map[string]int{}}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.announce(t, schema.AgentInfo{Ready: true})
	prefix := keys.HostPrefix(testNode)
	watch := a.cli.Watch(a.ctx, prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-watch
	go func() {
		defer close(a.done)
		if err := a.run(watch); err != nil {
			t.Errorf("stand-in agent: %v", err)
		}
	}()
	t.Cleanup(func() {
		a.cancel()
		<-a.done
	})
	return a
}

// announce writes the agent's presence.
func (a *standIn) announce(t *testing.T, info schema.AgentInfo) {
	t.Helper()
	info.Node, info.AgentVersion, info.Instance, info.RunDir = testNode, "test", "1", "/run/vpp-cni"
	value, err := schema.Encode(info)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.cli.Put(a.ctx, a.keys.Agent(testNode), string(value)); err != nil {
		t.Fatal(err)
	}
}

// leave deletes the agent's presence.
func (a *standIn) leave(t *testing.T) {
	t.Helper()
	if _, err := a.cli.Delete(a.ctx, a.keys.Agent(testNode)); err != nil {
		t.Fatal(err)
	}
}

func (a *standIn) set(m mode) {
	a.mu.Lock()
	a.mode = m
	a.mu.Unlock()
	if !m.silent && !m.keep {
		a.sweep()
	}
}

// sweep deletes the statuses of host ends that are gone.
func (a *standIn) sweep() {
	prefix := a.keys.HostStatusPrefix(testNode)
	resp, err := a.cli.Get(a.ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return
	}
	for _, kv := range resp.Kvs {
		status := string(kv.Key)
		_, _ = a.forget(a.keys.HostPrefix(testNode)+strings.TrimPrefix(status, prefix), status)
	}
}

// forget deletes a status while its host end is gone.
func (a *standIn) forget(host, status string) (*clientv3.TxnResponse, error) {
	return a.cli.Txn(a.ctx).If(clientv3.Compare(clientv3.CreateRevision(host), "=", 0)).Then(clientv3.OpDelete(status)).Commit()
}

func (a *standIn) current() mode {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mode
}

// sawPut says whether the stand-in has been asked for an attachment.
func (a *standIn) sawPut() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen) > 0
}

func (a *standIn) run(watch clientv3.WatchChan) error {
	for resp := range watch {
		for _, ev := range resp.Events {
			if err := a.event(ev); err != nil && a.ctx.Err() == nil {
				return err
			}
		}
	}
	return nil
}

func (a *standIn) event(ev *clientv3.Event) error {
	id := strings.TrimPrefix(string(ev.Kv.Key), a.keys.HostPrefix(testNode))
	status := a.keys.HostStatusPrefix(testNode) + id
	m := a.current()
	if ev.Type == clientv3.EventTypeDelete {
		if m.silent || m.keep {
			return nil
		}
		_, err := a.forget(string(ev.Kv.Key), status)
		return err
	}
	a.mu.Lock()
	a.seen = append(a.seen, id)
	if _, ok := a.indexes[id]; !ok {
		a.indexes[id] = len(a.indexes) + 1
	}
	index := uint32(a.indexes[id])
	a.mu.Unlock()
	if m.silent {
		return nil
	}
	time.Sleep(m.delay)
	return a.answer(ev, status, index, m)
}

func (a *standIn) answer(ev *clientv3.Event, key string, index uint32, m mode) error {
	st := schema.InterfaceStatus{
		SpecRevision: ev.Kv.ModRevision, State: schema.Ready, Reason: schema.ReasonApplied,
		Interface: fmt.Sprintf("memif%d/0", index), SwIfIndex: &index, MTU: 9000, Link: schema.LinkDown, Since: time.Unix(0, 0).UTC(),
	}
	host, err := schema.Decode[schema.HostInterface](ev.Kv.Value)
	if err != nil {
		st.State, st.Reason, st.Message = schema.Failed, schema.ReasonInvalid, err.Error()
	} else {
		st.MAC, st.SocketPath = host.MAC, "/run/vpp-cni/pods/"+string(host.Pod.ID)+"/"+socket(host)
		if host.MTU != 0 {
			st.MTU = uint32(host.MTU)
		}
	}
	if m.state != "" {
		st.State, st.Reason, st.Message = m.state, m.reason, m.message
	}
	value, err := schema.Encode(st)
	if err != nil {
		return err
	}
	if m.newer {
		value = []byte(`{"future":{"of":[1]},` + string(value[1:]))
	}
	_, err = a.cli.Txn(a.ctx).
		If(clientv3.Compare(clientv3.ModRevision(string(ev.Kv.Key)), "=", ev.Kv.ModRevision)).
		Then(clientv3.OpPut(key, string(value))).Commit()
	return err
}
