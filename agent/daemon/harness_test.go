package daemon_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/gateway"
	"github.com/vpp-cni/vpp-cni/agent/hostplan"
	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/agent/rundir"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

const (
	node    = schema.Node("n1")
	patient = 20 * time.Second
	// instance is the agent's.
	instance = "0123456789abcdef"
)

// bench is a node on one table: a real etcd, a simulated VPP, and the run loop
// of the host agent.
type bench struct {
	t      *testing.T
	etcd   *etcdtest.Cluster
	client *clientv3.Client
	keys   schema.Keys
	sim    *vppsim.Sim
	dir    string
	runDir string

	daemon *daemon.Daemon
	// fence is what the agent is fenced with from its start on.
	fence error
	stop  func()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	// Not t.TempDir: with a long test name a socket's path would not fit.
	dir, err := os.MkdirTemp("", "agent") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bench{t: t, dir: dir, runDir: filepath.Join(dir, "run"), etcd: etcdtest.Start(t, etcdtest.Options{})}
	if b.client, err = b.etcd.Client(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.client.Close() })
	return b
}

func (b *bench) startVPP() {
	b.t.Helper()
	sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(b.dir, "api.sock")})
	if err != nil {
		b.t.Fatal(err)
	}
	b.sim = sim
	b.t.Cleanup(sim.Close)
}

// driver is another client of the VPP, as an operator's would be.
func (b *bench) driver(socket, root string) *vpp.VPP {
	b.t.Helper()
	v := vpp.New(vpp.Config{Socket: socket, SocketRoot: root})
	ctx, cancel := context.WithCancel(b.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = v.Run(ctx) })
	b.t.Cleanup(func() { cancel(); wg.Wait() })
	b.eventually("connection to "+socket, func() error { return v.Info().Err })
	return v
}

// start runs the agent's loop until stop or the end of the test.
func (b *bench) start(edit ...func(*daemon.Config)) {
	b.t.Helper()
	s, err := store.Open(store.Config{Endpoints: b.etcd.Endpoints(), RequestTimeout: time.Second, ProgressInterval: 200 * time.Millisecond})
	if err != nil {
		b.t.Fatal(err)
	}
	dirs, err := rundir.New(rundir.Config{RunDir: b.runDir})
	if err != nil {
		b.t.Fatal(err)
	}
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	if os.Getenv("LOG") != "" {
		logger.SetOutput(b.t.Output())
		logger.SetLevel(logrus.DebugLevel)
	}
	log := logger.WithField("node", string(node))
	tree := s.Subtree(s.Keys().NodePrefix(node))
	pods := gateway.New(gateway.Config{RunDir: b.runDir, Tree: tree, Dirs: dirs, Log: log})
	cfg := daemon.Config{
		Node: string(node), Instance: instance, Tree: tree,
		VPP:      vpp.New(vpp.Config{Socket: filepath.Join(b.dir, "api.sock"), RunDir: b.runDir, CallTimeout: 2 * time.Second, Logger: log}),
		Contract: contract(hostplan.Planner{RunDir: b.runDir}),
		Drivers:  []reconcile.Driver{dirs, pods}, Log: log, HoldPause: 200 * time.Millisecond,
	}
	for _, e := range edit {
		e(&cfg)
	}
	if b.daemon, err = daemon.New(cfg); err != nil {
		b.t.Fatal(err)
	}
	if b.fence != nil {
		b.daemon.SetFenced(b.fence)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- b.daemon.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("run: %v", err)
		}
		pods.Close()
		if err := dirs.Close(); err != nil {
			b.t.Errorf("close run-dir: %v", err)
		}
		if err := s.Close(); err != nil {
			b.t.Errorf("close: %v", err)
		}
	})
	b.t.Cleanup(b.stop)
}

func contract(planner hostplan.Planner) daemon.Contract {
	return daemon.Contract{
		Desired: schema.HostInterfacesPrefix, Statuses: schema.HostStatusesPrefix,
		Check: func(key string) error { _, err := schema.ParseHostKey(key); return err },
		Plan: func(key string, value []byte) (daemon.Attachment, error) {
			plan, err := planner.Decode(key, value)
			return daemon.Attachment(plan), err
		},
		Interfaces: hostplan.Interfaces, Release: schema.ReleaseKey,
	}
}

func (b *bench) ready() {
	b.t.Helper()
	b.eventually("the agent", func() error { return b.daemon.State().Ready() })
}

// eventually waits until check has no error.
func (b *bench) eventually(what string, check func() error) {
	b.t.Helper()
	var err error
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	b.t.Fatalf("%s: after %v still %v", what, patient, err)
}

// host is a bridged host end.
func host(pod string, edit ...func(*schema.HostInterface)) schema.HostInterface {
	h := schema.HostInterface{
		Network: "net-a", Pod: schema.PodRef{ID: schema.PodID(pod)}, IfType: schema.Memif, NetType: schema.NetBridge,
		Memif:  &schema.MemifEnd{Role: schema.MemifMaster, Mode: schema.MemifEthernet, Socket: "net1.memif"},
		Bridge: &schema.BridgeEnd{Name: "5", DomainID: 5},
		MAC:    schema.DeriveMAC("host", pod),
	}
	for _, e := range edit {
		e(&h)
	}
	return h
}

func (b *bench) put(container string, h schema.HostInterface) int64 {
	b.t.Helper()
	value, err := schema.Encode(h)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.putRaw(container, string(value))
}

func (b *bench) putRaw(container, value string) int64 {
	b.t.Helper()
	resp, err := b.client.Put(b.t.Context(), b.keys.Host(node, schema.ContainerID(container), "net1"), value)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.Header.Revision
}

func (b *bench) del(container string) {
	b.t.Helper()
	if _, err := b.client.Delete(b.t.Context(), b.keys.Host(node, schema.ContainerID(container), "net1")); err != nil {
		b.t.Fatal(err)
	}
}

// told is a status with how often it was written.
type told struct {
	schema.InterfaceStatus
	writes int64
}

func (b *bench) status(container string) (*told, error) {
	resp, err := b.client.Get(b.t.Context(), b.keys.HostStatus(node, schema.ContainerID(container), "net1"))
	if err != nil || len(resp.Kvs) == 0 {
		return nil, err
	}
	s, err := schema.Decode[schema.InterfaceStatus](resp.Kvs[0].Value)
	return &told{s, resp.Kvs[0].Version}, err
}

// await waits for a status with state and reason that speaks of rev.
func (b *bench) await(container string, rev int64, want string) *told {
	b.t.Helper()
	var out *told
	b.eventually("status of "+container, func() error {
		s, err := b.status(container)
		if err != nil {
			return err
		}
		if got := describe(s); got != want || rev != 0 && s.SpecRevision != rev {
			return fmt.Errorf("%s, want %s", got, want)
		}
		out = s
		return nil
	})
	return out
}

func (b *bench) awaitGone(container string) {
	b.t.Helper()
	b.eventually("end of the status of "+container, func() error {
		s, err := b.status(container)
		if err == nil && s != nil {
			err = fmt.Errorf("%s", describe(s))
		}
		return err
	})
}

func describe(s *told) string {
	if s == nil {
		return "none"
	}
	return string(s.State) + "/" + string(s.Reason)
}

// written are the messages since the last call that change VPP.
func (b *bench) written() map[string]int {
	calls := b.sim.Calls()
	b.sim.ResetCalls()
	maps.DeleteFunc(calls, func(name string, _ int) bool {
		for _, reads := range []string{"dump", "ping", "show_version", "want_", "sockclnt", "get", "details", "api_versions", "_v2_dump"} {
			if strings.Contains(name, reads) {
				return true
			}
		}
		return false
	})
	return calls
}

func (b *bench) podDirs() []string {
	entries, err := os.ReadDir(filepath.Join(b.runDir, "pods"))
	if err != nil {
		b.t.Fatal(err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
