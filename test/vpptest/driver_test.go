package vpptest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/l2"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// attachment is a bridged pod as the host agent makes it.
func attachment(sock string, tag model.Tag) []model.Object {
	m := model.Memif{Tag: tag, Socket: sock, Master: true, MAC: macA}
	return []model.Object{
		model.BridgeDomain{DomainID: 10},
		model.Socket{Path: sock},
		m,
		model.BridgeMember{Interface: m.ID(), DomainID: 10},
		model.AdminUp{Interface: m.ID()},
	}
}

// What carries no mark of ours is neither listed nor used up nor deleted.
func TestForeignObjects(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	lo := loopback(t, conn)
	expect(t, "foreign tag", setTag(t, conn, lo, "calico/x"), 0)
	expect(t, "foreign address", setAddress(t, conn, lo, "10.99.0.1/24", true), 0)
	addSocket(t, conn, 4, filepath.Join(v.Dir, "foreign.sock"))
	addMemif(t, conn, master(4))
	must(l2.NewServiceClient(conn).BridgeDomainAddDelV2(deadline(t), &l2.BridgeDomainAddDelV2{
		BdID: 10, IsAdd: true, Learn: true, Forward: true, BdTag: "theirs",
	}))(t)
	must(ip.NewServiceClient(conn).IPTableAddDelV2(deadline(t), &ip.IPTableAddDelV2{
		IsAdd: true, Table: ip.IPTable{TableID: 3, Name: "theirs"},
	}))(t)

	d := v.Driver(t)
	same(t, d)

	sock := v.Socket(t, "p", "net1")
	objs := attachment(sock, tagMemif)
	loop := model.Loopback{Tag: tagLoop}
	objs = append(objs, model.Table{VRF: 3}, loop, model.InterfaceTable{Interface: loop.ID(), VRF: 3})
	vpptest.Put(t, d, objs...)
	if got := bridge(t, conn, 10); got.BdTag != "theirs" || got.NSwIfs != 1 {
		t.Errorf("their bridge domain became %+v, want it as it was with one member", got)
	}
	same(t, d, objs...) // their bridge domain and table too, while ours stand in them: nothing is missing
	for n := len(objs) - 1; n >= 0; n-- {
		if err := d.Delete(deadline(t), objs[n]); err != nil {
			t.Fatal(err)
		}
	}
	same(t, d)
	if bridge(t, conn, 10).BdTag != "theirs" || !tables(t, conn)[ip.IPTable{TableID: 3, Name: "theirs"}] {
		t.Error("their bridge domain or table is gone")
	}
	for _, name := range []string{"loop0", "memif4/0"} {
		if named(t, conn, name) == nil {
			t.Errorf("their %s is gone", name)
		}
	}
}

// Routes of others stay theirs, also in our tables.
func TestForeignRoutes(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	conn := raw(t, v)
	sock := v.Socket(t, "p", "net1")
	m := model.Memif{Tag: tagMemif, Socket: sock, Master: true}
	ours := []model.Object{
		model.Socket{Path: sock},
		m,
		model.Address{Interface: m.ID(), Prefix: pfx("10.5.0.1/24")},
		model.AdminUp{Interface: m.ID()},
		model.Route{Prefix: pfx("10.6.0.0/24"), Interface: m.ID(), NextHop: addr("10.5.0.2")},
	}
	vpptest.Put(t, d, ours...)
	lo := loopback(t, conn)
	expect(t, "their address", setAddress(t, conn, lo, "10.7.0.1/24", true), 0)
	e := env{t, deadline(t), conn, d}
	r := e.route("10.8.0.0/24", tagMemif, "10.7.0.2")
	r.Paths[0].SwIfIndex = uint32(lo)
	must(ip.NewServiceClient(conn).IPRouteAddDelV2(e.ctx, &ip.IPRouteAddDelV2{IsAdd: true, Route: r}))(t)
	same(t, d, ours...)
}

// A failed create leaves nothing in VPP, and the next one really listens.
func TestCreateFails(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	conn := raw(t, v)
	dir := filepath.Join(v.Dir, "pods", "late")
	m := model.Memif{Tag: tagMemif, Socket: filepath.Join(dir, "s.sock"), Master: true}
	err := d.Put(deadline(t), m, nil)
	if err == nil || !strings.Contains(err.Error(), m.Socket) || vpp.Terminal(err) {
		t.Fatalf("put into a missing directory: %v, want an error that names the socket and may be tried again", err)
	}
	same(t, d)
	if n := len(interfacesOf(t, conn)); n != 1 {
		t.Errorf("VPP has %d interfaces, want local0 alone", n)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	vpptest.Put(t, d, m)
	if !listens(t, m.Socket) {
		t.Error("the memif has no listener")
	}
}

// A socket id that another life of the agent left behind a failed create is not
// trusted.
func TestZombieSocketIsAddedAnew(t *testing.T) {
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
	m := model.Memif{Tag: tagMemif, Socket: sock, Master: true}
	same(t, d, model.Socket{Path: sock})
	vpptest.Put(t, d, model.Socket{Path: sock}, m)
	if !listens(t, sock) {
		t.Error("the memif has no listener")
	}
	same(t, d, model.Socket{Path: sock}, m)
}

// An agent that died between create and tag left an interface that nobody owns.
func TestLeftover(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	sock := v.Socket(t, "p", "net1")
	addSocket(t, conn, 1, sock)
	addMemif(t, conn, master(1))

	d := v.Driver(t)
	var leftover model.Object
	for id, o := range dump(t, d) {
		if id.Kind == model.KindMemif {
			leftover = o
		}
	}
	if leftover == nil {
		t.Fatal("the untagged memif on a socket of ours is not listed")
	}
	if err := d.Delete(deadline(t), leftover); err != nil {
		t.Fatal(err)
	}
	same(t, d, model.Socket{Path: sock})

	// One that appears after the dump is in the way of a create on its socket.
	addMemif(t, conn, master(1))
	m := model.Memif{Tag: tagMemif, Socket: sock, Master: true}
	vpptest.Put(t, d, m)
	same(t, d, model.Socket{Path: sock}, m)

	// One that the dump has seen is in the way, and then on the socket no more.
	if err := d.Delete(deadline(t), m); err != nil {
		t.Fatal(err)
	}
	addMemif(t, conn, master(1))
	dump(t, d)
	vpptest.Put(t, d, m)
	for _, o := range []model.Object{m, model.Socket{Path: sock}} {
		if err := d.Delete(deadline(t), o); err != nil {
			t.Error(err)
		}
	}
	same(t, d)
}

// A memif that is ours stands in the way of another on its socket.
func TestSocketTaken(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	sock := v.Socket(t, "p", "net1")
	vpptest.Put(t, d, model.Memif{Tag: tagMemif, Socket: sock, Master: true})
	err := d.Put(deadline(t), model.Memif{Tag: "vpp-cni/net1/other", Socket: sock, Master: true}, nil)
	if err == nil || !strings.Contains(err.Error(), string(tagMemif)) {
		t.Errorf("put on a taken socket: %v, want an error that names %s", err, tagMemif)
	}
	if err := d.Delete(deadline(t), model.Socket{Path: sock}); err == nil || !strings.Contains(err.Error(), string(tagMemif)) {
		t.Errorf("delete of a socket in use: %v, want an error that names %s", err, tagMemif)
	}
}

func TestBridgeDomainInUse(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	objs := attachment(v.Socket(t, "p", "net1"), tagMemif)
	vpptest.Put(t, d, objs...)
	err := d.Delete(deadline(t), objs[0])
	if err == nil || !strings.Contains(err.Error(), "memif1/0") || vpp.Terminal(err) {
		t.Errorf("delete of a bridge domain in use: %v, want one to try again that names memif1/0", err)
	}
}

// The index of an interface that went away belongs to somebody else.
func TestIndexIsNoIdentity(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	conn := raw(t, v)
	sock := v.Socket(t, "p", "net1")
	m := model.Memif{Tag: tagMemif, Socket: sock, Master: true}
	vpptest.Put(t, d, m)
	state, _ := d.Interface(tagMemif)
	expect(t, "operator deletes it", delMemif(t, conn, index(state.SwIfIndex)), 0)
	theirs := loopback(t, conn)
	if theirs != index(state.SwIfIndex) {
		t.Fatalf("their loopback has index %d, not the freed %d", theirs, state.SwIfIndex)
	}
	if err := d.Delete(deadline(t), m); err != nil {
		t.Fatal(err)
	}
	if named(t, conn, "loop0") == nil {
		t.Fatal("their loopback was deleted")
	}
	vpptest.Put(t, d, m)
	state, ok := d.Interface(tagMemif)
	if !ok || index(state.SwIfIndex) == theirs || named(t, conn, state.Name) == nil {
		t.Errorf("the memif is %+v, %v", state, ok)
	}
}

// An attribute whose interface is gone is an error that may be tried again, and
// never lands on the interface that has the index now.
func TestAttributeOfGoneInterface(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	conn := raw(t, v)
	m := model.Memif{Tag: tagMemif, Socket: v.Socket(t, "p", "net1"), Master: true}
	vpptest.Put(t, d, m)
	state, _ := d.Interface(tagMemif)
	delMemif(t, conn, index(state.SwIfIndex))
	theirs := loopback(t, conn)
	vpptest.Eventually(t, eventTime, func() error { // the event of the deletion makes the index doubtful
		err := d.Put(deadline(t), model.Address{Interface: m.ID(), Prefix: pfx("10.5.0.1/24")}, nil)
		if err == nil {
			setAddress(t, conn, theirs, "10.5.0.1/24", false)
			return fmt.Errorf("the address went onto their loopback")
		}
		if vpp.Terminal(err) || !strings.Contains(err.Error(), string(tagMemif)) {
			return fmt.Errorf("want one to try again that names the memif: %w", err)
		}
		return nil
	})
}

// A master whose file is gone can be reached by nobody.
func TestDeafMaster(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	objs := attachment(v.Socket(t, "p", "net1"), tagMemif)
	vpptest.Put(t, d, objs...)
	same(t, d, objs...)
	m := objs[2].(model.Memif)
	if err := os.Remove(m.Socket); err != nil {
		t.Fatal(err)
	}
	have := dump(t, d)[m.ID()]
	if m.Compare(have) != model.Replace {
		t.Fatalf("a memif without its file compares as %d to what is wanted, want replace: %+v", m.Compare(have), have)
	}
	if err := d.Delete(deadline(t), have); err != nil {
		t.Fatal(err)
	}
	vpptest.Put(t, d, objs...)
	if !listens(t, m.Socket) {
		t.Error("nobody listens after the memif was put again")
	}
	same(t, d, objs...)
}

// Stale files go, live ones stay, and nothing outside the root is touched.
func TestSocketFiles(t *testing.T) {
	v := vpptest.Start(t)
	other := vpptest.Start(t)
	d := v.Driver(t)
	sock := v.Socket(t, "p", "net1")
	m := model.Memif{Tag: tagMemif, Socket: sock, Master: true}
	vpptest.Put(t, d, model.Socket{Path: sock}, m)
	for _, o := range []model.Object{m, model.Socket{Path: sock}} {
		if err := d.Delete(deadline(t), o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(sock); !os.IsNotExist(err) {
		t.Errorf("the stale file is still there: %v", err)
	}

	// The other side serves the socket: our slave's end goes, its file stays.
	conn := raw(t, other)
	addSocket(t, conn, 1, sock)
	addMemif(t, conn, master(1))
	m.Master = false
	vpptest.Put(t, d, model.Socket{Path: sock}, m)
	for _, o := range []model.Object{m, model.Socket{Path: sock}} {
		if err := d.Delete(deadline(t), o); err != nil {
			t.Fatal(err)
		}
	}
	if !listens(t, sock) {
		t.Error("the other side's socket is gone")
	}

	outside := filepath.Join(v.Dir, "outside.sock")
	if err := d.Delete(deadline(t), model.Socket{Path: outside}); !vpp.Terminal(err) {
		t.Errorf("delete of a socket outside the root: %v, want a refusal", err)
	}
}

// What VPP must not be asked for does not reach it.
func TestRefusals(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	sock := v.Socket(t, "p", "net1")
	m := model.Memif{Tag: tagMemif, Socket: sock, Master: true}
	long := m
	long.Socket = sock + strings.Repeat("x", 107-len(sock))
	secret := m
	secret.Secret = model.NewSecret(strings.Repeat("s", 24))
	relative := m
	relative.Socket = "x.sock"
	for name, o := range map[string]model.Object{
		"path of 107":      long,
		"secret of 24":     secret,
		"relative path":    relative,
		"VLAN 4095":        model.SubInterface{Tag: tagSub, Parent: m.ID(), VLAN: 4095},
		"directory":        model.Directory{Path: v.Dir},
		"no absolute path": model.Socket{Path: "x"},
	} {
		if err := d.Put(deadline(t), o, nil); !vpp.Terminal(err) {
			t.Errorf("%s: %v, want a refusal that is for good", name, err)
		}
	}
	same(t, d)
}

// The first free id gives names that people can read.
func TestSocketIDs(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	conn := raw(t, v)
	addSocket(t, conn, 2, filepath.Join(v.Dir, "theirs.sock"))
	names := []string{}
	for n := range 3 {
		tag := model.Tag(fmt.Sprintf("vpp-cni/net%d/p", n))
		vpptest.Put(t, d, model.Memif{Tag: tag, Socket: v.Socket(t, "p", fmt.Sprint(n)), Master: true})
		s, _ := d.Interface(tag)
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "memif1/0 memif3/0 memif4/0" {
		t.Errorf("names %s, want memif1/0 memif3/0 memif4/0", got)
	}
	// Somebody takes the id that the driver believes is free.
	addSocket(t, conn, 5, filepath.Join(v.Dir, "theirs2.sock"))
	vpptest.Put(t, d, model.Memif{Tag: "vpp-cni/net9/p", Socket: v.Socket(t, "p", "9"), Master: true})
	if s, _ := d.Interface("vpp-cni/net9/p"); s.Name != "memif6/0" {
		t.Errorf("name %s, want memif6/0", s.Name)
	}
}

// The secret is what keeps strangers out.
func TestMemifPair(t *testing.T) {
	host, pod := vpptest.Start(t), vpptest.Start(t)
	h, p := host.Driver(t), pod.Driver(t)
	sock := host.Socket(t, "p", "net1")
	hm := model.Memif{Tag: tagMemif, Socket: sock, Master: true, Secret: model.NewSecret("same")}
	pm := model.Memif{Tag: tagMemif, Socket: sock, Secret: model.NewSecret("same")}
	vpptest.Put(t, h, hm, model.AdminUp{Interface: hm.ID()})
	vpptest.Put(t, p, pm, model.AdminUp{Interface: pm.ID()})
	for _, d := range []*vpp.VPP{h, p} {
		waitLink(t, d, true)
	}
	if err := p.Delete(deadline(t), pm); err != nil {
		t.Fatal(err)
	}
	waitLink(t, h, false)
	pm.Secret = model.NewSecret("other")
	vpptest.Put(t, p, pm, model.AdminUp{Interface: pm.ID()})
	neverLinks(t, h)
}
