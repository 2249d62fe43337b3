package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/kubelettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a plugin that runs.
type node struct {
	*Plugin
	dir    string
	etcd   store.Follower
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	states []error
}

func runNode(t *testing.T, dir string) *node {
	t.Helper()
	return runNodeWith(t, dir, 200*time.Millisecond)
}

// runNodeWith is for a kubelet that may take so long to ask.
func runNodeWith(t *testing.T, dir string, watch time.Duration) *node {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	n := &node{dir: dir, done: make(chan struct{})}
	counter := NewCounter()
	n.Plugin = New(Config{
		Resource: "vpp-cni.io/attachment", Dir: dir, Limit: 10, Counter: counter, Log: logrus.NewEntry(log),
		OnState: func(err error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.states = append(n.states, err)
		},
		poll: 5 * time.Millisecond, grace: 100 * time.Millisecond, watch: watch,
	})
	n.etcd = counter.Before(&told{})
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() {
		defer close(n.done)
		n.Run(ctx)
	}()
	t.Cleanup(n.end)
	return n
}

func (n *node) end() {
	n.cancel()
	<-n.done
}

func (n *node) state() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.states) == 0 {
		return errStarting
	}
	return n.states[len(n.states)-1]
}

func (n *node) well(t *testing.T) {
	t.Helper()
	eventually(t, "the part is well", func() bool { return n.state() == nil })
}

// attach is what etcd says: so many attachments without a device, and these.
func (n *node) attach(without int, ids ...string) {
	entries := map[string]store.Entry{}
	for i := range without {
		entries[fmt.Sprintf("w%d", i)] = store.Entry{Value: []byte(`{}`)}
	}
	for i, id := range ids {
		entries[fmt.Sprintf("d%d", i)] = store.Entry{Value: fmt.Appendf(nil, `{"deviceID":%q}`, id)}
	}
	n.etcd.Snapshot(entries, 1)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestListAndAllocate(t *testing.T) {
	dir := t.TempDir()
	k := kubelettest.Start(t, dir, kubelettest.Faults{})
	n := runNode(t, dir)
	k.Hears(t, "0 of 10")
	n.SetServing(nil)
	k.Hears(t, "10 of 10")
	n.well(t)
	n.attach(3, deviceID(9))
	k.Hears(t, "7 of 10")
	_, lists, _ := k.State()
	for _, id := range []int{9, 1, 2} { // which one an attachment has is mostly nothing new
		n.attach(3, deviceID(9), deviceID(id))
		n.attach(2, deviceID(9), deviceID(9))
		time.Sleep(20 * time.Millisecond)
	}
	if _, now, _ := k.State(); now != lists {
		t.Errorf("%d lists after %d, and nothing is new", now, lists)
	}
	n.attach(1, deviceID(8))
	k.Hears(t, "9 of 10")
	r := k.Requests()[0]
	client, options := k.Plugin()
	if r.GetVersion() != "v1beta1" || r.GetEndpoint() != socketName || r.GetResourceName() != "vpp-cni.io/attachment" {
		t.Errorf("registered as %v", r)
	}
	if options.GetPreStartRequired() || options.GetGetPreferredAllocationAvailable() {
		t.Errorf("options %v", options)
	}
	resp, err := client.Allocate(t.Context(), &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{
		{DevicesIds: []string{deviceID(0), deviceID(1)}}, {DevicesIds: []string{deviceID(2)}},
	}})
	if err != nil || len(resp.GetContainerResponses()) != 2 {
		t.Fatalf("allocate: %v, %v, want one answer a container", resp, err)
	}
	for _, c := range resp.GetContainerResponses() {
		if len(c.GetDevices())+len(c.GetEnvs())+len(c.GetMounts())+len(c.GetAnnotations()) != 0 {
			t.Errorf("a container gets %v", c)
		}
	}
	if registered, _, _ := k.State(); registered != 1 {
		t.Errorf("registered %d times", registered)
	}
	if st, err := os.Stat(filepath.Join(dir, socketName)); err != nil || st.Mode().Type() != fs.ModeSocket {
		t.Errorf("socket: %v, %v", st, err)
	}
	n.end()
	if _, err := os.Lstat(filepath.Join(dir, socketName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket after the end: %v", err)
	}
}

// TestKubeletRestarts: in both orders of what it does, and while it is away.
func TestKubeletRestarts(t *testing.T) {
	dir := t.TempDir()
	k := kubelettest.Start(t, dir, kubelettest.Faults{})
	n := runNodeWith(t, dir, time.Hour) // it is the sockets that tell
	n.SetServing(nil)
	n.attach(2)
	for i := range 4 {
		k.Hears(t, "8 of 10")
		n.well(t)
		k.Kill()
		k = kubelettest.Start(t, dir, kubelettest.Faults{Keep: i%2 == 1})
	}
	k.Hears(t, "8 of 10")
	k.Kill()
	if err := os.Remove(filepath.Join(dir, kubeletName)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it says that the kubelet is away", func() bool { return n.state() != nil && errors.Is(n.state(), fs.ErrNotExist) })
	n.attach(4)
	k = kubelettest.Start(t, dir, kubelettest.Faults{})
	k.Hears(t, "6 of 10")
	n.well(t)
}

// TestKubeletComesLater: its directory too.
func TestKubeletComesLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "device-plugins")
	n := runNode(t, dir)
	n.SetServing(nil)
	eventually(t, "it says so", func() bool { return errors.Is(n.state(), fs.ErrNotExist) })
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	kubelettest.Start(t, dir, kubelettest.Faults{}).Hears(t, "10 of 10")
	n.well(t)
}

// TestKubeletRefuses: it is asked again, less and less often.
func TestKubeletRefuses(t *testing.T) {
	dir := t.TempDir()
	k := kubelettest.Start(t, dir, kubelettest.Faults{Refuse: 4})
	n := runNode(t, dir)
	n.SetServing(nil)
	start := time.Now()
	k.Hears(t, "10 of 10")
	n.well(t)
	if took := time.Since(start); took < 75*time.Millisecond { // 5, 10, 20, 40 ms
		t.Errorf("five tries within %v", took)
	}
}

// TestKubeletDoesNotAsk: it is told again, and again where it hangs up.
func TestKubeletDoesNotAsk(t *testing.T) {
	dir := t.TempDir()
	k := kubelettest.Start(t, dir, kubelettest.Faults{Deaf: 2})
	n := runNode(t, dir)
	n.SetServing(nil)
	k.Hears(t, "10 of 10")
	n.well(t)
	k.HangUp()
	eventually(t, "it is told again", func() bool { registered, _, _ := k.State(); return registered == 4 })
	n.well(t)
}

// TestServing: a moment without service is not told of, a longer one is, and its end
// at once.
func TestServing(t *testing.T) {
	dir := t.TempDir()
	k := kubelettest.Start(t, dir, kubelettest.Faults{})
	n := runNode(t, dir)
	n.SetServing(nil)
	k.Hears(t, "10 of 10")
	_, lists, _ := k.State()
	n.SetServing(errors.New("VPP is down"))
	time.Sleep(20 * time.Millisecond)
	n.SetServing(nil)
	time.Sleep(150 * time.Millisecond)
	if _, now, _ := k.State(); now != lists {
		t.Errorf("%d lists, want %d as before", now, lists)
	}
	n.SetServing(errors.New("VPP is down"))
	start := time.Now()
	k.Hears(t, "0 of 10")
	if took := time.Since(start); took < 90*time.Millisecond {
		t.Errorf("Unhealthy after %v", took)
	}
	n.SetServing(nil)
	k.Hears(t, "10 of 10")
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) { // other words for it do not begin it anew
		n.SetServing(errors.New("etcd is down since " + time.Now().String()))
		if _, _, last := k.State(); last == "0 of 10" {
			return
		}
		if time.Now().After(end) {
			t.Fatal("never Unhealthy")
		}
	}
}

// TestSocketIsLeft: a killed agent's socket is replaced, what is none is not.
func TestSocketIsLeft(t *testing.T) {
	dir := t.TempDir()
	k := kubelettest.Start(t, dir, kubelettest.Faults{})
	l, err := net.Listen("unix", filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err = l.Close(); err != nil {
		t.Fatal(err)
	}
	n := runNode(t, dir)
	n.SetServing(nil)
	k.Hears(t, "10 of 10")
	// One that takes the place of ours is replaced too.
	path := filepath.Join(dir, socketName)
	if l, err = net.Listen("unix", path+"2"); err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	defer func() { _ = l.Close() }()
	if err = os.Rename(path+"2", path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told again", func() bool { registered, _, _ := k.State(); return registered == 2 })
	n.well(t)
	n.end()
	if err = os.WriteFile(path, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	n = runNode(t, dir)
	eventually(t, "it says that the place is taken", func() bool { err := n.state(); return err != nil && !errors.Is(err, errStarting) })
	n.end()
	if data, err := os.ReadFile(path); err != nil || string(data) != "somebody's" {
		t.Errorf("the file is %q, %v", data, err)
	}
}
