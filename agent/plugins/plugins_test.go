package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ligato/cn-infra/infra"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/config"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

func checks(h *Health) string {
	var lines []string
	for _, c := range h.Checks() {
		lines = append(lines, fmt.Sprintf("%s %v", c.Name, c.Err))
	}
	return strings.Join(lines, "\n")
}

func TestHealth(t *testing.T) {
	t.Parallel()
	h := NewHealth()
	if err := h.Init(); err != nil {
		t.Fatal(err)
	}
	for _, part := range []infra.PluginName{"vpp", "etcd"} {
		h.Register(part, nil)
	}
	if diff := cmp.Diff("etcd starting\nvpp starting", checks(h)); diff != "" {
		t.Errorf("at the start (-want +got):\n%s", diff)
	}
	h.Report("etcd", nil)
	h.Report("vpp", errors.New("no socket"))
	if diff := cmp.Diff("etcd <nil>\nvpp no socket", checks(h)); diff != "" {
		t.Errorf("one works (-want +got):\n%s", diff)
	}
	h.Report("vpp", nil)
	if diff := cmp.Diff("etcd <nil>\nvpp <nil>", checks(h)); diff != "" {
		t.Errorf("both work (-want +got):\n%s", diff)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	long := time.Unix(1, 0)
	before := schema.AgentInfo{Node: "n1", Since: long}
	for _, tc := range []struct {
		name  string
		give  daemon.State
		want  schema.AgentInfo
		moved bool
	}{
		{
			name:  "ready",
			give:  daemon.State{VPP: vpp.Info{Connected: true, PID: 7, Version: "25.10"}},
			want:  schema.AgentInfo{Node: "n1", Ready: true, VPPPID: 7, VPPVersion: "25.10"},
			moved: true,
		},
		{
			name:  "VPP away",
			give:  daemon.State{VPP: vpp.Info{PID: 7, Version: "25.10", Err: vpp.ErrDown}, Pass: errors.New("x")},
			want:  schema.AgentInfo{Node: "n1", Reason: schema.ReasonVPPDown, Message: "VPP is down", VPPVersion: "25.10"},
			moved: true,
		},
		{
			name:  "being filled",
			give:  daemon.State{VPP: vpp.Info{Connected: true, PID: 7}, Pass: errors.New("no pass yet")},
			want:  schema.AgentInfo{Node: "n1", Reason: schema.ReasonProgramming, Message: "no pass yet", VPPPID: 7},
			moved: true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := describe(before, tc.give)
			if moved := !got.Since.Equal(long); moved != tc.moved {
				t.Errorf("since moved: %t, want %t", moved, tc.moved)
			}
			again := describe(got, tc.give)
			if again != got {
				t.Errorf("the same state again: %+v, want %+v", again, got)
			}
			got.Since = time.Time{}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("info (-want +got):\n%s", diff)
			}
		})
	}
}

// TestYields: only what this agent wrote, and what the dead one left that stood
// there when it first looked.
func TestYields(t *testing.T) {
	t.Parallel()
	me := schema.AgentInfo{Node: "n1", Instance: "me", BootID: "b", RunDir: "/r"}
	dead := schema.AgentInfo{Node: "n1", Instance: "dead", BootID: "b", RunDir: "/r"}
	with := func(i schema.AgentInfo, edit func(*schema.AgentInfo)) schema.AgentInfo { edit(&i); return i }
	for _, tc := range []struct {
		name  string
		me    schema.AgentInfo
		found []schema.AgentInfo
		want  []bool
	}{
		{"its own", me, []schema.AgentInfo{me}, []bool{true}},
		{"a dead one, again and again", me, []schema.AgentInfo{dead, dead}, []bool{true, true}},
		{"one that came later", me, []schema.AgentInfo{dead, me, with(dead, func(i *schema.AgentInfo) { i.Instance = "later" }), dead}, []bool{true, true, false, true}},
		{"one that came later, after one of another boot", me, []schema.AgentInfo{with(dead, func(i *schema.AgentInfo) { i.Instance, i.BootID = "x", "c" }), dead}, []bool{false, false}},
		{"another boot", me, []schema.AgentInfo{with(dead, func(i *schema.AgentInfo) { i.BootID = "c" })}, []bool{false}},
		{"another run-dir", me, []schema.AgentInfo{with(dead, func(i *schema.AgentInfo) { i.RunDir = "/s" })}, []bool{false}},
		{"boots not known", with(me, func(i *schema.AgentInfo) { i.BootID = "" }), []schema.AgentInfo{with(dead, func(i *schema.AgentInfo) { i.BootID = "" })}, []bool{false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			quiet := logrus.New()
			quiet.SetOutput(io.Discard)
			p := &Presence{info: tc.me, Log: logrus.NewEntry(quiet)}
			for i, f := range tc.found {
				value, err := schema.Encode(f)
				if err != nil {
					t.Fatal(err)
				}
				if got := p.yields(value); got != tc.want[i] {
					t.Errorf("look %d: %t, want %t", i+1, got, tc.want[i])
				}
			}
			if p.yields([]byte("no JSON")) {
				t.Error("what cannot be read yields")
			}
		})
	}
}

// TestLastError: what goes on is told once, and once more after it was well.
func TestLastError(t *testing.T) {
	t.Parallel()
	var l lastError
	for i, tc := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("no etcd"), true},
		{errors.New("no etcd"), false},
		{errors.New("no leader"), true},
		{nil, false},
		{errors.New("no leader"), true},
	} {
		if got := l.news(tc.err); got != tc.want {
			t.Errorf("%d: %v is news: %t, want %t", i, tc.err, got, tc.want)
		}
	}
}

// TestSocketsAreSettled holds sockets that VPP makes to the configured mode,
// and those that the pod's side makes to their own.
func TestSocketsAreSettled(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "plug") //nolint:usetesting // a socket's path must fit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(dir, "api.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	f := config.Default()
	f.RunDir, f.Agent.VPPSocket, f.Agent.SocketMode = dir, sim.APISocket(), "0666"
	group := uint32(os.Getgid())
	if os.Geteuid() == 0 { // who may give files to any group
		group = 1
		f.Agent.SocketGroup = "1"
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	p := &VPP{PluginName: "vpp", Config: f, Log: logrus.NewEntry(quiet)}
	if err = p.Init(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.vpp.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	for p.vpp.Info().Err != nil {
		time.Sleep(time.Millisecond)
	}

	pod := filepath.Join(dir, "pods", "p1")
	master := model.Memif{Tag: "vpp-cni/a/p1", Socket: filepath.Join(pod, "a"), Master: true, MAC: model.MAC{2, 1}, Dir: pod}
	slave := model.Memif{Tag: "vpp-cni/b/p1", Socket: filepath.Join(pod, "b"), MAC: model.MAC{2, 2}, Dir: pod}
	if err = p.dirs.Put(ctx, model.Directory{Path: pod}, nil); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", slave.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := os.Chmod(slave.Socket, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []model.Object{model.Socket{Path: master.Socket}, master, model.Socket{Path: slave.Socket}, slave} {
		if err := p.vpp.Put(ctx, o, nil); err != nil {
			t.Fatal(err)
		}
	}
	inBatches(t, p, pod)
	for path, want := range map[string]os.FileMode{
		master.Socket: 0o666, slave.Socket: 0o600, filepath.Join(pod, "c"): 0o666, filepath.Join(pod, "d"): 0o666,
	} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v: want mode %v", path, st, err, want)
		} else if sys, ok := st.Sys().(*syscall.Stat_t); path != slave.Socket && (!ok || sys.Gid != group) {
			t.Errorf("%s: want group %d, it is %+v", path, group, st.Sys())
		}
	}
}

// inBatches puts memifs c and d as the engine puts many, beside two that are
// refused: one without a directory, and a slave whose pod has put a link in the
// socket's place. A link in the place of c is taken away.
func inBatches(t *testing.T, p *VPP, pod string) {
	t.Helper()
	batch := []model.Object{
		model.Memif{Tag: "vpp-cni/e/p1", Socket: filepath.Join(filepath.Dir(pod), "p2", "e"), Master: true, MAC: model.MAC{2, 5}, Dir: pod},
		model.Memif{Tag: "vpp-cni/c/p1", Socket: filepath.Join(pod, "c"), Master: true, MAC: model.MAC{2, 3}, Dir: pod},
		model.Memif{Tag: "vpp-cni/f/p1", Socket: filepath.Join(pod, "f"), MAC: model.MAC{2, 6}, Dir: pod},
		model.Memif{Tag: "vpp-cni/d/p1", Socket: filepath.Join(pod, "d"), Master: true, MAC: model.MAC{2, 4}, Dir: pod},
	}
	refused := map[int]bool{0: true, 2: true}
	var sockets []model.Object
	for _, o := range batch {
		sockets = append(sockets, model.Socket{Path: o.(model.Memif).Socket})
	}
	outside := filepath.Join(filepath.Dir(pod), "outside")
	for _, link := range []string{"c", "f"} {
		if err := os.Symlink(outside, filepath.Join(pod, link)); err != nil {
			t.Fatal(err)
		}
	}
	driver, ok := any(p.vpp).(reconcile.Batcher) // as the engine sees it
	if !ok {
		t.Fatal("the driver takes no batches")
	}
	for n, err := range driver.PutAll(t.Context(), sockets, make([]model.Object, 4)) {
		if err != nil {
			t.Errorf("socket %d of the batch: %v", n, err)
		}
	}
	for n, err := range driver.PutAll(t.Context(), batch, make([]model.Object, 4)) {
		if (err != nil) != refused[n] {
			t.Errorf("memif %d of the batch: %v", n, err)
		}
	}
	if _, err := os.Lstat(outside); !os.IsNotExist(err) {
		t.Errorf("a link was followed: %v", err)
	}
	for _, o := range batch {
		m := o.(model.Memif)
		if st, err := os.Lstat(m.Socket); (m.Tag == "vpp-cni/c/p1" || m.Tag == "vpp-cni/d/p1") && (err != nil || st.Mode().Type() != os.ModeSocket) {
			t.Errorf("%s is no socket: %v, %v", m.Socket, st, err)
		}
		if _, made := p.vpp.Interface(m.Tag); m.Tag == "vpp-cni/f/p1" && made {
			t.Errorf("VPP connects through a link: %s", m.Socket)
		}
	}
}
