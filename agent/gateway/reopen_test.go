package gateway_test

import (
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
	"github.com/vpp-cni/vpp-cni/schema"
)

// reach waits until a pod is shown rev.
func (w *world) reach(c *clientv3.Client, rev int64) {
	w.t.Helper()
	eventually(w.t, fmt.Sprint("revision ", rev), func() bool {
		resp, err := c.Get(w.ctx(), "x")
		return err == nil && resp.Header.Revision >= rev
	})
}

// remove deletes a pod's key in etcd itself.
func (w *world) remove(pod schema.PodID, name schema.IfName) int64 {
	w.t.Helper()
	resp, err := w.root.Delete(w.ctx(), w.keys.PodInterface(node, pod, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Header.Revision
}

// TestReopened: a watch that is taken up on a socket made anew is told of the
// delete of the pod's last key, as etcd tells it, or that history before it is
// gone. It is never passed over.
func TestReopened(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]bool{"at the last revision": false, "at an older one": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gateway.Limits{})
			w.open(myPod)
			w.open("p2")
			c := w.client()
			w.set(myPod, "interfaces/net1", "one")
			w.shown(c, "interfaces/net1", "one")
			from := w.remove(myPod, "net1")
			w.reach(c, from)
			if later {
				w.reach(c, w.set("p2", "interfaces/net1", "another's"))
			}
			if err := w.gw.Delete(t.Context(), w.socket(myPod)); err != nil {
				t.Fatal(err)
			}
			w.open(myPod)
			w.set(myPod, "interfaces/net2", "two")
			again := w.client()
			w.shown(again, "interfaces/net2", "two")

			want := <-w.root.Watch(w.ctx(), w.keys.PodPrefix(node, myPod), clientv3.WithPrefix(), clientv3.WithRev(from))
			if len(want.Events) == 0 || want.Events[0].Type != clientv3.EventTypeDelete {
				t.Fatalf("etcd itself: %v, want the delete first, else this tests nothing", want)
			}
			got := <-again.Watch(w.ctx(), "", clientv3.WithPrefix(), clientv3.WithRev(from))
			switch {
			case later && errors.Is(got.Err(), rpctypes.ErrCompacted):
			case got.Err() != nil || len(got.Events) == 0 || got.Events[0].Type != clientv3.EventTypeDelete || got.Events[0].Kv.ModRevision != from:
				t.Errorf("watch from %d: %v (%v), want the delete", from, got.Events, got.Err())
			}
			// One from the list's own revision, as store.Follow's, begins in any case.
			list, err := again.Get(w.ctx(), "interfaces/net2")
			if err != nil {
				t.Fatal(err)
			}
			if got = <-again.Watch(w.ctx(), "", clientv3.WithPrefix(), clientv3.WithRev(list.Kvs[0].ModRevision)); got.Err() != nil || len(got.Events) != 1 {
				t.Errorf("watch from the list's revision: %v, %v", got.Events, got.Err())
			}
		})
	}
}

// TestReopenedIdle: a pod whose entry was made while nothing happens can be
// followed from the revision that its empty list has.
func TestReopenedIdle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	w.open("p2")
	w.set("p2", "interfaces/net1", "x")
	w.open(myPod)
	c := w.client()
	w.reach(c, w.remove("p2", "net1"))
	if err := w.gw.Delete(t.Context(), w.socket(myPod)); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, w.open(myPod))
	list, err := etcdserverpb.NewKVClient(conn).Range(w.ctx(), &etcdserverpb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil || list.Count != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	watch := newWatcher(t, conn)
	if r := watch.controlled(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: list.Header.Revision},
	}}); r.Canceled {
		t.Errorf("watch from %d: %v", list.Header.Revision, r)
	}
	watch.synced()
}

// TestForeignRemoval: where a new pod's history begins tells nothing of when
// another pod was removed.
func TestForeignRemoval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Limits{})
	w.open("p3")
	looker, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + w.socket("p3").Path}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = looker.Close() })
	w.open("p2")
	w.set("p2", "interfaces/net1", "x")
	removed := w.remove("p2", "net1")
	w.reach(looker, removed)
	if err = w.gw.Delete(t.Context(), w.socket("p2")); err != nil {
		t.Fatal(err)
	}
	var rev int64
	for range 10 { // the node goes on
		rev = w.set("p9", "interfaces/x", "y")
	}
	w.reach(looker, rev)
	w.open(myPod)
	c := w.client()
	now, err := c.Get(w.ctx(), "x")
	if err != nil {
		t.Fatal(err)
	}
	got := <-c.Watch(w.ctx(), "", clientv3.WithPrefix(), clientv3.WithRev(1))
	if got.CompactRevision != now.Header.Revision {
		t.Errorf("history begins at %d, where every answer says %d; another pod was removed at %d",
			got.CompactRevision, now.Header.Revision, removed)
	}
}
