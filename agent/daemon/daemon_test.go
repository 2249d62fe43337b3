package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
)

func TestMain(m *testing.M) {
	// The embedded etcd's own goroutines outlive a test; the agents' must not.
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("go.etcd.io/etcd/client/pkg/v3/logutil.(*MergeLogger).outputLoop"),
		goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
	)
}

func TestAddAndDel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.ready()
	b.written()

	rev := b.put("c1", host("p1"))
	got := b.await("c1", rev, "Ready/Applied")
	if got.writes != 1 {
		t.Errorf("%d writes of the status, want 1", got.writes)
	}
	want := schema.InterfaceStatus{
		SpecRevision: rev, State: schema.Ready, Reason: schema.ReasonApplied, Interface: "memif1/0", SwIfIndex: got.SwIfIndex,
		MAC: schema.DeriveMAC("host", "p1"), MTU: 9000, Link: schema.LinkDown,
		SocketPath: filepath.Join(b.runDir, "pods/p1/net1.memif"), Since: got.Since,
	}
	if diff := cmp.Diff(want, got.InterfaceStatus); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if st, err := os.Stat(got.SocketPath); err != nil || st.Mode().Type() != os.ModeSocket {
		t.Errorf("socket: %v, %v", st, err)
	}

	b.del("c1")
	b.awaitGone("c1")
	if dirs := b.podDirs(); len(dirs) > 0 {
		t.Errorf("directories %v are left after the status went", dirs)
	}
	left, err := b.driver(b.sim.APISocket(), filepath.Join(b.runDir, "pods")).Dump(t.Context())
	if err != nil || len(left) > 0 {
		t.Errorf("VPP holds %v (%v), want nothing", left, err)
	}
}

func TestRestartWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	for i := range 20 {
		b.put(fmt.Sprint("c", i), host(fmt.Sprint("p", i)))
	}
	for i := range 20 {
		b.await(fmt.Sprint("c", i), 0, "Ready/Applied")
	}
	time.Sleep(100 * time.Millisecond) // what events have moved is written
	b.stop()
	before := b.revision()
	b.written()

	b.start()
	b.ready()
	time.Sleep(100 * time.Millisecond)
	if diff := cmp.Diff(map[string]int{}, b.written()); diff != "" {
		t.Errorf("writes to VPP (-want +got):\n%s", diff)
	}
	if after := b.revision(); after != before {
		t.Errorf("%d writes to etcd, want none", after-before)
	}
}

func (b *bench) revision() int64 {
	b.t.Helper()
	resp, err := b.client.Get(b.t.Context(), "/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.Header.Revision
}

func TestVPPRestart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")

	b.sim.Kill()
	down := b.await("c1", 0, "Pending/VPPDown")
	if down.SwIfIndex != nil || down.Link != "" || down.Message == "" {
		t.Errorf("status while VPP is away: %+v: want no interface, and a message", down)
	}
	if err := b.daemon.State().Ready(); err == nil {
		t.Error("the agent is ready without VPP")
	}
	b.put("c2", host("p2"))
	b.await("c2", 0, "Pending/VPPDown")
	b.del("c1")
	time.Sleep(50 * time.Millisecond)
	if s, err := b.status("c1"); err != nil || s == nil {
		t.Errorf("status %v, %v: want it to stay until VPP is known to be clean", s, err)
	}

	if err := b.sim.Restart(); err != nil {
		t.Fatal(err)
	}
	b.awaitGone("c1")
	b.await("c2", 0, "Ready/Applied")
	b.ready()
	if diff := cmp.Diff([]string{"p2"}, b.podDirs()); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}

func TestVPPHangs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	b.sim.Hang()
	b.put("c2", host("p2"))
	b.await("c2", 0, "Pending/VPPDown")
	b.await("c1", 0, "Pending/VPPDown")
	b.sim.Resume()
	b.await("c1", 0, "Ready/Applied")
	b.await("c2", 0, "Ready/Applied")
	b.ready()
}

func TestVPPAbsentAtStart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.start()
	b.put("c1", host("p1"))
	s := b.await("c1", 0, "Pending/VPPDown")
	if !strings.Contains(s.Message, "api.sock") {
		t.Errorf("message %q does not name the socket", s.Message)
	}
	b.startVPP()
	b.await("c1", 0, "Ready/Applied")
}

func TestBrokenValues(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.put("good", host("good"))
	well := b.await("good", 0, "Ready/Applied")
	for container, tc := range map[string]struct{ value, want, message string }{
		"json":    {"{", "Failed/Invalid", "unexpected EOF"},
		"field":   {`{"network":"a","colour":"red"}`, "Failed/UnknownField", "colour"},
		"mode":    {`{"network":"a","pod":{"id":"p"},"ifType":"memif","netType":"none","memif":{"role":"master","mode":"punt-inject","socket":"s"}}`, "Failed/Invalid", "punt-inject"},
		"two":     {`{"network":"a","pod":{"id":"../x"},"ifType":"memif","netType":"none","memif":{"role":"master","mode":"x","socket":"s"}}`, "Failed/Invalid", `ethernet, ip; pod id "../x"`},
		"bd-zero": {`{"network":"a","pod":{"id":"p"},"ifType":"memif","netType":"bridge","memif":{"role":"master","mode":"ethernet","socket":"s"},"bridge":{"name":"x","domainID":0}}`, "Failed/Invalid", "domainID"},
		"path":    {`{"network":"a","pod":{"id":"` + strings.Repeat("p", 120) + `"},"ifType":"memif","netType":"none","memif":{"role":"master","mode":"ethernet","socket":"s"}}`, "Failed/Invalid", "socket path"},
	} {
		rev := b.putRaw(container, tc.value)
		if s := b.await(container, rev, tc.want); !strings.Contains(s.Message, tc.message) {
			t.Errorf("%s: message %q does not say %q", container, s.Message, tc.message)
		}
	}
	if _, err := b.client.Put(t.Context(), b.keys.HostPrefix(node)+"no/such/key", "{}"); err != nil {
		t.Fatal(err)
	}

	// A live attachment is not cut because its value was broken.
	b.written()
	rev := b.putRaw("good", `{"network":"a","new":1}`)
	s := b.await("good", rev, "Failed/UnknownField")
	if s.SpecRevision != rev || len(b.written()) > 0 {
		t.Errorf("status %+v: want that of revision %d, and no write to VPP", s, rev)
	}
	b.stop()
	b.start()
	b.ready()
	if diff := cmp.Diff(map[string]int{}, b.written()); diff != "" {
		t.Errorf("writes to VPP after a restart (-want +got):\n%s", diff)
	}
	rev = b.put("good", host("good"))
	again := b.await("good", rev, "Ready/Applied")
	if *again.SwIfIndex != *well.SwIfIndex {
		t.Errorf("interface %d, want the old one, %d", *again.SwIfIndex, *well.SwIfIndex)
	}
	for _, c := range []string{"json", "field", "mode", "good"} {
		b.del(c)
		b.awaitGone(c)
	}
	if dirs := b.podDirs(); len(dirs) > 0 {
		t.Errorf("directories %v are left", dirs)
	}
}

func TestRefusalIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.ready()
	b.sim.Refuse("memif_create_v2", -1, 3)
	b.put("c1", host("p1"))
	b.put("c2", host("p2", func(h *schema.HostInterface) { h.Pod.ID = "p2" }))
	b.await("c1", 0, "Ready/Applied")
	b.await("c2", 0, "Ready/Applied")
}

func TestRefusalIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.ready()
	b.sim.Refuse("memif_create_v2", -1, -1)
	rev := b.put("c1", host("p1"))
	if s := b.await("c1", rev, "Pending/Retrying"); !strings.Contains(s.Message, "memif") {
		t.Errorf("message %q does not name the object", s.Message)
	}
	b.del("c1")
	b.awaitGone("c1")
	if dirs := b.podDirs(); len(dirs) > 0 {
		t.Errorf("directories %v are left of an ADD that never worked", dirs)
	}
}

func TestDriftIsMended(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start(func(c *daemon.Config) { c.Audit = 200 * time.Millisecond })
	b.put("c1", host("p1", func(h *schema.HostInterface) { h.MTU = 1400 }))
	b.await("c1", 0, "Ready/Applied")
	tag := model.AttachmentTag("net1", "c1")
	id := model.ID{Kind: model.KindMemif, Name: string(tag)}
	operator := b.driver(b.sim.APISocket(), filepath.Join(b.runDir, "pods"))

	if _, err := operator.Dump(t.Context()); err != nil {
		t.Fatal(err)
	}
	metrics := func(want ...string) error {
		_, body := get(t, b.daemon.Handler(b.daemon.Checks), "/metrics")
		for _, w := range want {
			if !strings.Contains(body, "\n"+w) {
				return fmt.Errorf("metrics lack %q", w)
			}
		}
		return nil
	}
	mend := b.refuseAfter(operator, "sw_interface_set_mtu", model.MTU{Interface: id, Bytes: 1300})
	b.eventually("drift", func() error {
		return metrics(`vppcni_drift_total{kind="mtu"} 1`, `vppcni_write_failures_total{kind="mtu",op="put"} 2`)
	})
	if err := metrics("vppcni_drift_mended_total"); err == nil {
		t.Error("drift is said to be mended that is not")
	}
	mend()
	b.eventually("the MTU", func() error {
		if err := operator.RefreshInterfaces(t.Context()); err != nil {
			return err
		}
		if i, ok := operator.Interface(tag); !ok || i.MTU != 1400 {
			return fmt.Errorf("interface %+v", i)
		}
		return nil
	})
	b.eventually("the count", func() error {
		return metrics(`vppcni_drift_total{kind="mtu"} 1`, `vppcni_drift_mended_total{kind="mtu"} 1`)
	})
	if err := os.RemoveAll(filepath.Join(b.runDir, "pods")); err != nil {
		t.Fatal(err)
	}
	b.eventually("the directory", func() error { _, err := os.Stat(filepath.Join(b.runDir, "pods/p1")); return err })
}

// refuseAfter puts an object by hand, and lets VPP refuse the message from then
// on until the function that it returns is called.
func (b *bench) refuseAfter(operator *vpp.VPP, message string, o model.Object) func() {
	b.t.Helper()
	if err := operator.Put(b.t.Context(), o, nil); err != nil {
		b.t.Fatal(err)
	}
	b.sim.Refuse(message, -1, -1)
	return func() { b.sim.Refuse(message, 0, 0) }
}

func TestEtcdAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.put("c1", host("p1"))
	b.put("c2", host("p2"))
	b.await("c1", 0, "Ready/Applied")
	b.await("c2", 0, "Ready/Applied")
	time.Sleep(500 * time.Millisecond) // the watch has heard that etcd answers progress requests

	b.etcd.Stop(0)
	b.eventually("loss of etcd", func() error {
		if b.daemon.State().Etcd == nil {
			return errors.New("not noticed")
		}
		return nil
	})
	b.sim.Kill() // the data path is mended without etcd
	if err := b.sim.Restart(); err != nil {
		t.Fatal(err)
	}
	b.eventually("VPP to be filled", func() error { return b.daemon.State().Pass })
	if err := b.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	b.ready()
	b.del("c1")
	b.awaitGone("c1")
	b.await("c2", 0, "Ready/Applied")
}

func TestOrphanStatusGoes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	b.stop()
	b.del("c1") // with the agent away
	b.start()
	b.awaitGone("c1")
	if dirs := b.podDirs(); len(dirs) > 0 {
		t.Errorf("directories %v are left", dirs)
	}
}

func TestNewSandboxTakesOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.put("c1", host("p1"))
	b.await("c1", 0, "Ready/Applied")
	value, err := schema.Encode(host("p1", func(h *schema.HostInterface) { h.Sandbox = "/run/netns/new" }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.Txn(t.Context()).Then(
		clientv3.OpPut(b.keys.Host(node, "c2", "net1"), string(value)),
		clientv3.OpDelete(b.keys.Host(node, "c1", "net1")),
	).Commit(); err != nil {
		t.Fatal(err)
	}
	b.await("c2", 0, "Ready/Applied")
	b.awaitGone("c1")
	if diff := cmp.Diff([]string{"p1"}, b.podDirs()); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}

func TestConflict(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	routed := func(h *schema.HostInterface) {
		h.NetType, h.Bridge = schema.NetInterface, nil
		h.PodAddresses = addrs("10.0.0.9")
		h.Gateways = addrs("10.0.0.1")
	}
	b.put("z", host("p1", routed))
	b.await("z", 0, "Ready/Applied")
	b.put("a", host("p2", routed))
	if s := b.await("a", 0, "Failed/Conflict"); !strings.Contains(s.Message, "10.0.0.9/32") || !strings.Contains(s.Message, "z/net1") {
		t.Errorf("message %q names neither the address nor the other one", s.Message)
	}
	b.del("z")
	b.await("a", 0, "Ready/Applied")
}
