package vpptest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.fd.io/govpp/binapi/ip"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// crowd is many bridged attachments as the host agent makes them, by kind.
type crowd struct {
	domain                        model.Object
	sockets, memifs, members, ups []model.Object
}

func newCrowd(t *testing.T, v *vpptest.VPP, n int) crowd {
	t.Helper()
	c := crowd{domain: model.BridgeDomain{DomainID: 10}}
	for i := range n {
		sock := v.Socket(t, fmt.Sprint("p", i), "net1")
		m := model.Memif{
			Tag: model.Tag(fmt.Sprintf("vpp-cni/net1/%03d", i)), Socket: sock, Master: true,
			MAC: model.MAC{2, 0, 0, 1, byte(i >> 8), byte(i)},
		}
		c.sockets = append(c.sockets, model.Socket{Path: sock})
		c.memifs = append(c.memifs, m)
		c.members = append(c.members, model.BridgeMember{Interface: m.ID(), DomainID: 10})
		c.ups = append(c.ups, model.AdminUp{Interface: m.ID()})
	}
	return c
}

// phases are the batches in the order in which the engine puts them.
func (c crowd) phases() [][]model.Object {
	return [][]model.Object{{c.domain}, c.sockets, c.memifs, c.members, c.ups}
}

func (c crowd) all() []model.Object {
	var out []model.Object
	for _, phase := range c.phases() {
		out = append(out, phase...)
	}
	return out
}

// putAll puts objects at once and returns those that failed, by number.
func putAll(t *testing.T, d *vpp.VPP, objects []model.Object) map[int]error {
	t.Helper()
	errs := d.PutAll(t.Context(), objects, make([]model.Object, len(objects)))
	if len(errs) != len(objects) {
		t.Fatalf("%d errors for %d objects", len(errs), len(objects))
	}
	failed := map[int]error{}
	for n, err := range errs {
		if err != nil {
			failed[n] = err
		}
	}
	return failed
}

// put puts a crowd and fails the test on any error.
func (c crowd) put(t *testing.T, d *vpp.VPP) {
	t.Helper()
	for _, phase := range c.phases() {
		for n, err := range putAll(t, d, phase) {
			t.Errorf("number %d: %v", n, err)
		}
	}
}

func count(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// untagged counts VPP's interfaces without a tag, local0 left out.
func untagged(t *testing.T, v *vpptest.VPP) int {
	t.Helper()
	n := 0
	for _, d := range interfacesOf(t, raw(t, v)) {
		if d.SwIfIndex != 0 && d.Tag == "" {
			n++
		}
	}
	return n
}

// Batches make what single puts make, and once more they change nothing. They
// cost no call more than must be.
func TestPutAll(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	c := newCrowd(t, v, 50)
	same(t, d)
	if sim := v.Simulator(); sim != nil {
		sim.ResetCalls()
	}
	c.put(t, d)
	if sim := v.Simulator(); sim != nil {
		calls := sim.Calls()
		for _, msg := range []string{
			"memif_socket_filename_add_del_v2", "memif_create_v2", "sw_interface_tag_add_del",
			"sw_interface_set_l2_bridge", "sw_interface_set_flags",
		} {
			count(t, msg, calls[msg], 50)
		}
		count(t, "sw_interface_dump", calls["sw_interface_dump"], 0)
	}
	same(t, d, c.all()...)
	c.put(t, d)
	same(t, d, c.all()...)
	for n, o := range c.memifs {
		s, ok := d.Interface(o.(model.Memif).Tag)
		if !ok || !s.AdminUp || s.MAC != o.(model.Memif).MAC || s.Name == "" {
			t.Fatalf("number %d is %+v, %t", n, s, ok)
		}
	}
}

// What is not plain is put all the same, each object with its own end: one that
// is refused for good, one without its interface, one whose directory is missing,
// one whose MAC address is VPP's to choose, two on one socket,
// and two on one that cannot be.
func TestPutAllOfAllSorts(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	c := newCrowd(t, v, 4)
	memif := func(n int) model.Memif { return c.memifs[n].(model.Memif) }
	late := filepath.Join(v.Dir, "pods", "late")
	missing := model.Memif{Tag: "vpp-cni/net1/late", Socket: filepath.Join(late, "s"), Master: true, MAC: macA}
	secret := memif(1)
	secret.Secret = model.NewSecret(strings.Repeat("s", 24))
	drawn := memif(2)
	drawn.MAC = model.MAC{}
	second := missing
	second.Tag = "vpp-cni/net1/second"
	twin := memif(3)
	twin.Tag = "vpp-cni/net1/twin"
	sockets := append([]model.Object{model.Socket{Path: missing.Socket}, model.Socket{Path: "relative"}}, c.sockets...)
	failed := putAll(t, d, sockets)
	if len(failed) != 1 || !vpp.Terminal(failed[1]) {
		t.Errorf("sockets: %v, want the relative one refused for good", failed)
	}
	failed = putAll(t, d, []model.Object{memif(0), secret, drawn, memif(3), twin, missing, second})
	if len(failed) != 4 || !vpp.Terminal(failed[1]) || !strings.Contains(fmt.Sprint(failed[4]), string(memif(3).Tag)) ||
		!strings.Contains(fmt.Sprint(failed[5]), missing.Socket) || !strings.Contains(fmt.Sprint(failed[6]), missing.Socket) {
		t.Errorf("memifs: %v, want errors for the secret, the twin and the two in the missing directory", failed)
	}
	count(t, "untagged", untagged(t, v), 0)
	putAll(t, d, []model.Object{c.domain})
	nobody := model.BridgeMember{Interface: missing.ID(), DomainID: 10}
	nowhere := model.BridgeMember{Interface: memif(0).ID(), DomainID: 11}
	failed = putAll(t, d, []model.Object{c.members[0], nobody, nowhere, c.members[3]})
	if len(failed) != 2 || !strings.Contains(fmt.Sprint(failed[1]), string(missing.Tag)) || !strings.Contains(fmt.Sprint(failed[2]), "11") {
		t.Errorf("members: %v, want errors for those without an interface and without a bridge domain", failed)
	}

	if err := os.MkdirAll(late, 0o750); err != nil {
		t.Fatal(err)
	}
	other := c.memifs[1].(model.Memif)
	if failed = putAll(t, d, []model.Object{missing, other}); len(failed) != 0 {
		t.Errorf("memifs that can be made: %v", failed)
	}
	for _, sock := range []string{missing.Socket, other.Socket, memif(0).Socket, drawn.Socket} {
		if !listens(t, sock) {
			t.Errorf("nobody listens on %s", sock)
		}
	}
}

// An untagged memif on a socket of ours makes room.
func TestPutAllOverLeftover(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	c := newCrowd(t, v, 3)
	putAll(t, d, c.sockets)
	addMemif(t, raw(t, v), master(2)) // the second socket's id
	c.put(t, d)
	same(t, d, c.all()...)
	count(t, "untagged", untagged(t, v), 0)
}

// Routes that lead to an index which an earlier interface had are taken out, in
// a batch too: see deadroute.go.
func TestPutAllDropsDeadRoutes(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	conn := raw(t, v)
	c := newCrowd(t, v, 3)
	c.put(t, d)
	m := c.memifs[1].(model.Memif)
	e := env{t, deadline(t), conn, d}
	r := e.route("10.8.0.0/24", m.Tag, "10.7.0.2")
	must(ip.NewServiceClient(conn).IPRouteAddDelV2(e.ctx, &ip.IPRouteAddDelV2{IsAdd: true, Route: r}))(t)
	expect(t, "operator deletes it", delMemif(t, conn, e.idx(m.Tag)), 0)
	dump(t, d)
	if failed := putAll(t, d, []model.Object{m, c.memifs[0]}); len(failed) != 0 {
		t.Fatal(failed)
	}
	count(t, "index", int(e.idx(m.Tag)), int(r.Paths[0].SwIfIndex))
	stream, err := ip.NewServiceClient(conn).IPRouteV2Dump(e.ctx, &ip.IPRouteV2Dump{})
	for _, have := range collect(t, stream, err) {
		if have.Route.Prefix == r.Prefix {
			t.Errorf("the dead route is still there: %+v", have.Route)
		}
	}
}

// VPP hangs in the middle of a batch. The batch ends in the time of a call or
// two, says of everything that VPP is down, and what came of it is found and put
// right when VPP goes on.
func TestPutAllOnHangingVPP(t *testing.T) {
	v := vpptest.Start(t)
	d, _ := v.StartDriverWith(t, vpp.Config{CallTimeout: 500 * time.Millisecond})
	c := newCrowd(t, v, 100)
	for round, phase := range c.phases()[1:] {
		v.Freeze(t)
		begin := time.Now()
		failed := putAll(t, d, phase)
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("phase %d ended after %v", round, took)
		}
		count(t, fmt.Sprint("failed of phase ", round), len(failed), len(phase))
		for _, err := range failed {
			if !errors.Is(err, vpp.ErrDown) {
				t.Fatalf("phase %d: %v, want that VPP is down", round, err)
			}
		}
		v.Thaw(t)
		vpptest.Eventually(t, 20*time.Second, func() error {
			_, err := d.Dump(context.Background())
			return err
		})
		putAll(t, d, []model.Object{c.domain})
		leftovers(t, d)
		for n, err := range putAll(t, d, phase) {
			t.Fatalf("phase %d again, number %d: %v", round, n, err)
		}
	}
	same(t, d, c.all()...)
	count(t, "untagged", untagged(t, v), 0)
}

// leftovers deletes what an earlier attempt has left without a name.
func leftovers(t *testing.T, d *vpp.VPP) {
	t.Helper()
	for id, o := range dump(t, d) {
		if model.Leftover(id) {
			if err := d.Delete(deadline(t), o); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A socket id behind a create that failed before our time is not trusted in a
// batch either.
func TestPutAllOnZombieSocket(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	dir := filepath.Join(v.Dir, "pods", "late")
	sock := filepath.Join(dir, "s.sock")
	addSocket(t, conn, 1, sock)
	_, code := addMemif(t, conn, master(1))
	expect(t, "create in a missing directory", code, -14)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	d := v.Driver(t)
	c := newCrowd(t, v, 1)
	m := model.Memif{Tag: tagMemif, Socket: sock, Master: true, MAC: macA}
	dump(t, d)
	for _, phase := range [][]model.Object{append(c.sockets, model.Socket{Path: sock}), append(c.memifs, m)} {
		if failed := putAll(t, d, phase); len(failed) != 0 {
			t.Fatal(failed)
		}
	}
	if !listens(t, sock) {
		t.Error("the memif has no listener")
	}
}

// Before VPP serves a socket the driver has its place cleared, in a batch too,
// and where that fails VPP is not asked: what a pod planted there could hold it.
func TestPutAllClearsTheWay(t *testing.T) {
	v := vpptest.Start(t)
	errPlanted := errors.New("planted")
	c := newCrowd(t, v, 5)
	slave := c.memifs[4].(model.Memif)
	slave.Master = false
	c.memifs[4] = slave
	var mu sync.Mutex
	cleared := map[string]int{}
	d, _ := v.StartDriverWith(t, vpp.Config{Clear: func(_ context.Context, socket string) error {
		mu.Lock()
		defer mu.Unlock()
		cleared[socket]++
		if listens(t, socket) {
			t.Errorf("%s is cleared when VPP serves it", socket)
		}
		if socket == c.memifs[2].(model.Memif).Socket {
			return errPlanted
		}
		return nil
	}})
	putAll(t, d, c.sockets)
	if failed := putAll(t, d, c.memifs); len(failed) != 1 || !errors.Is(failed[2], errPlanted) {
		t.Errorf("%v, want an error for number 2 alone", failed)
	}
	for n, o := range c.memifs {
		m := o.(model.Memif)
		_, made := d.Interface(m.Tag)
		if cleared := cleared[m.Socket] > 0; cleared != m.Master || made != (n != 2) {
			t.Errorf("number %d: cleared: %t, made: %t", n, cleared, made)
		}
	}
}
