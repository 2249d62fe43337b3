package store_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// timeLimit bounds each test's calls: far over what they take, so that a hang
// fails instead of waiting for the test binary's own limit.
const timeLimit = time.Minute

const (
	node   = schema.Node("node-1")
	ifname = schema.IfName("net1")
	pod    = schema.PodID("p1")
)

// env is one etcd with a store on it and a plain client beside it.
type env struct {
	*testing.T
	ctx     context.Context
	cluster *etcdtest.Cluster
	store   *store.Store
	raw     *clientv3.Client
}

// newEnv starts one, and lets the test run beside others.
func newEnv(t *testing.T, opts etcdtest.Options) *env {
	t.Helper()
	t.Parallel()
	return newEnvAlone(t, opts)
}

// newEnvAlone starts one for a test that runs alone.
func newEnvAlone(t *testing.T, opts etcdtest.Options) *env {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeLimit)
	t.Cleanup(cancel)
	c := etcdtest.Start(t, opts)
	raw, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	return &env{T: t, ctx: ctx, cluster: c, raw: raw, store: openStore(t, store.Config{Endpoints: c.Endpoints()})}
}

func openStore(t *testing.T, cfg store.Config) *store.Store {
	t.Helper()
	if cfg.ProgressInterval == 0 {
		cfg.ProgressInterval = 200 * time.Millisecond
	}
	s, err := store.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// announce makes node have an agent.
func (e *env) announce(n schema.Node) {
	e.Helper()
	e.put(e.store.Keys().Agent(n), encode(e.T, schema.AgentInfo{Node: n, Ready: true}))
}

func (e *env) put(key, value string) int64 {
	e.Helper()
	resp, err := e.raw.Put(e.ctx, key, value)
	if err != nil {
		e.Fatal(err)
	}
	return resp.Header.GetRevision()
}

// value is what stands under key; empty where it is absent.
func (e *env) value(key string) string {
	e.Helper()
	resp, err := e.raw.Get(e.ctx, key)
	if err != nil {
		e.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

func (e *env) remove(key string) {
	e.Helper()
	if _, err := e.raw.Delete(e.ctx, key); err != nil {
		e.Fatal(err)
	}
}

// keys are all keys under the root, without it, one a line.
func (e *env) keys() string {
	e.Helper()
	resp, err := e.raw.Get(e.ctx, "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		e.Fatal(err)
	}
	var out []string
	for _, kv := range resp.Kvs {
		out = append(out, strings.TrimPrefix(string(kv.Key), e.store.Keys().Root()))
	}
	return strings.Join(out, "\n")
}

func (e *env) look(container schema.ContainerID, networks ...schema.NetworkName) store.View {
	e.Helper()
	v, err := e.store.Look(e.ctx, store.Lookup{Node: node, Container: container, IfName: ifname, Pod: pod, Networks: networks})
	if err != nil {
		e.Fatal(err)
	}
	return v
}

// attach attaches container as the sandbox of pod p1.
func (e *env) attach(container schema.ContainerID) int64 {
	e.Helper()
	rev, err := e.store.Attach(e.ctx, attachment(container), e.look(container))
	if err != nil {
		e.Fatal(err)
	}
	return rev
}

func attachment(container schema.ContainerID) store.Attachment {
	end := schema.MemifEnd{Role: schema.MemifMaster, Mode: schema.MemifEthernet, Socket: "net1.memif", Secret: schema.NewSecret("s3cret")}
	other := end
	other.Role = schema.MemifSlave
	ref := schema.PodRef{ID: pod, Namespace: "default", Name: "web-0"}
	return store.Attachment{
		Node: node, Container: container, IfName: ifname,
		Host: schema.HostInterface{
			Network: "blue", Pod: ref, IfType: schema.Memif, NetType: schema.NetInterface, Memif: &end,
			Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, PodAddresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")},
		},
		Pod: schema.PodInterface{
			Network: "blue", Container: container, Pod: ref, IfType: schema.Memif, NetType: schema.NetInterface, Memif: &other,
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")},
		},
	}
}

func lookup(container schema.ContainerID, pod schema.PodID) store.Lookup {
	return store.Lookup{Node: node, Container: container, IfName: ifname, Pod: pod}
}

func encode[V schema.Value](t *testing.T, v V) string {
	t.Helper()
	b, err := schema.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// is fails the test unless err is want; a nil want wants none.
func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}
