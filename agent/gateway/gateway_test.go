package gateway_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
	"github.com/vpp-cni/vpp-cni/agent/rundir"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

const (
	node     = schema.Node("n1")
	myPod    = schema.PodID("p1")
	patience = 30 * time.Second
)

// world is an etcd, and a gateway of a node on it.
type world struct {
	t      *testing.T
	etcd   *etcdtest.Cluster
	root   *clientv3.Client // of the operator
	store  *store.Store
	keys   schema.Keys
	runDir string
	dirs   *rundir.Driver
	gw     *gateway.Gateway
	log    *logrus.Entry
	limits gateway.Limits
	stop   func()
}

func newWorld(t *testing.T, limits gateway.Limits) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw") //nolint:usetesting // a socket's path must fit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &world{t: t, etcd: etcdtest.Start(t, etcdtest.Options{}), runDir: dir}
	if w.root, err = w.etcd.Client(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.root.Close() })
	w.store, err = store.Open(store.Config{Endpoints: w.etcd.Endpoints(), ProgressInterval: time.Second, RequestTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	log := logrus.New()
	log.SetOutput(t.Output())
	log.SetLevel(logrus.DebugLevel)
	w.log = logrus.NewEntry(log)
	w.limits = limits
	w.remake()
	t.Cleanup(func() { w.stop() })
	return w
}

// remake runs a gateway on the run-dir as it is set.
func (w *world) remake() {
	w.t.Helper()
	dirs, err := rundir.New(rundir.Config{RunDir: w.runDir})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = dirs.Close() })
	w.dirs = dirs
	w.start(w.limits)
}

// start runs a gateway without a memory.
func (w *world) start(limits gateway.Limits) {
	w.gw = gateway.New(gateway.Config{
		OnState: func(err error) { w.log.WithField("err", err).Info("gateway state") }, RunDir: w.runDir, Dirs: w.dirs, Tree: w.store.Subtree(w.keys.NodePrefix(node)), Limits: limits, Log: w.log,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.gw.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		w.gw.Close()
	}
}

func (w *world) socket(pod schema.PodID) model.GatewaySocket {
	return model.GatewaySocket{Path: filepath.Join(w.runDir, "pods", string(pod), schema.GatewaySocket)}
}

// open has the gateway serve a pod.
func (w *world) open(pod schema.PodID) string {
	w.t.Helper()
	o := w.socket(pod)
	if err := w.dirs.Put(w.t.Context(), model.Directory{Path: filepath.Dir(o.Path)}, nil); err != nil {
		w.t.Fatal(err)
	}
	if err := w.gw.Put(w.t.Context(), o, nil); err != nil {
		w.t.Fatal(err)
	}
	return o.Path
}

// client is an unchanged etcd client in the pod.
func (w *world) client() *clientv3.Client {
	w.t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + w.socket(myPod).Path}, DialTimeout: patience})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// set puts a key of a pod in etcd itself.
func (w *world) set(pod schema.PodID, key, value string) int64 {
	w.t.Helper()
	resp, err := w.root.Put(w.ctx(), w.keys.PodPrefix(node, pod)+key, value)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Header.Revision
}

// shown waits until the pod's gateway shows a key with value.
func (w *world) shown(c *clientv3.Client, key, value string) *clientv3.GetResponse {
	w.t.Helper()
	var resp *clientv3.GetResponse
	for range 500 {
		var err error
		if resp, err = c.Get(w.ctx(), key); err != nil {
			w.t.Fatal(err)
		}
		if len(resp.Kvs) == 1 && string(resp.Kvs[0].Value) == value {
			return resp
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("%s is not %s: %v", key, value, resp)
	return nil
}

// ready is a status that may be written.
func ready(message string) string {
	return fmt.Sprintf(`{"specRevision":1,"state":"Ready","reason":"Applied","message":%q,"since":"2026-01-01T00:00:00Z"}`, message)
}

// TestClient is what a container agent does, with etcd's own client.
func TestClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	w.open(myPod)
	w.set("p2", "interfaces/net1", "of another")
	w.set("p10", "interfaces/net1", "of another, whose name begins alike")
	rev := w.set(myPod, "interfaces/net1", "mine")
	c := w.client()
	w.shown(c, "interfaces/net1", "mine")

	all, err := c.Get(w.ctx(), "\x00", clientv3.WithFromKey())
	if err != nil || len(all.Kvs) != 1 || all.Count != 1 || string(all.Kvs[0].Key) != "interfaces/net1" || all.Kvs[0].ModRevision != rev {
		t.Errorf("all keys: %v, %v", all, err)
	}
	events := c.Watch(w.ctx(), "", clientv3.WithPrefix(), clientv3.WithRev(all.Header.Revision+1), clientv3.WithPrevKV())
	put, err := c.Put(w.ctx(), "status/net1", ready("one"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(w.ctx(), "status/", clientv3.WithPrefix())
	if err != nil || len(got.Kvs) != 1 || got.Kvs[0].ModRevision != put.Header.Revision || got.Header.Revision < put.Header.Revision {
		t.Errorf("its own write: %v, %v", got, err)
	}
	if _, err = c.Delete(w.ctx(), "status/net1"); err != nil {
		t.Error(err)
	}
	var seen []string
	for len(seen) < 2 {
		resp, ok := <-events
		if !ok || resp.Err() != nil {
			t.Fatalf("watch: %v", resp.Err())
		}
		for _, ev := range resp.Events {
			seen = append(seen, fmt.Sprintf("%s %s %v", ev.Type, ev.Kv.Key, ev.PrevKv != nil))
		}
	}
	if got := strings.Join(seen, ", "); got != "PUT status/net1 false, DELETE status/net1 true" {
		t.Errorf("events: %s", got)
	}
	// What stands in etcd is under the pod's prefix, and nowhere else.
	if _, err = c.Put(w.ctx(), "status/net1", ready("two")); err != nil {
		t.Error(err)
	}
	if resp, err := w.root.Get(w.ctx(), w.keys.PodStatus(node, myPod, "net1")); err != nil || len(resp.Kvs) != 1 {
		t.Errorf("in etcd: %v, %v", resp, err)
	}
}
