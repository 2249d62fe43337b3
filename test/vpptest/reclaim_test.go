package vpptest_test

import (
	"testing"

	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/core"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// indexOf is the interface with a tag, whatever mark stands behind it.
func indexOf(t *testing.T, conn *core.Connection, tag string) index {
	t.Helper()
	stream, err := interfaces.NewServiceClient(conn).SwInterfaceDump(deadline(t), &interfaces.SwInterfaceDump{SwIfIndex: all})
	for _, d := range collect(t, stream, err) {
		if found, _ := model.ParseLabel(d.Tag); string(found) == tag {
			return d.SwIfIndex
		}
	}
	t.Fatalf("no interface has the tag %q", tag)
	return all
}

// TestReclaim: an interface that stands where a wanted one does gets its tag
// back and keeps its index, unless it may be another's.
func TestReclaim(t *testing.T) {
	v := vpptest.Start(t)
	d, stop := v.StartDriver(t)
	conn := raw(t, v)
	m := model.Memif{Tag: "vpp-cni/net1/a", Socket: v.Socket(t, "a", "net1"), Master: true, MAC: model.MAC{2, 1}}
	u := model.VhostUser{Tag: "vpp-cni/net1/b", Socket: v.Socket(t, "b", "net1"), Server: true, MAC: model.MAC{2, 2}}
	l := model.Loopback{Tag: "vpp-cni/gw/0/x", MAC: model.MAC{2, 3}}
	s := model.SubInterface{Tag: "vpp-cni/net1/a:5", Parent: m.ID(), VLAN: 5, Popped: true}
	objs := []model.Object{model.Socket{Path: m.Socket}, l, m, u, s}
	vpptest.Put(t, d, objs...)
	same(t, d, objs...)
	wanted := []model.Object{s, m, u, l}
	reclaimed := func(what string, wanted []model.Object, n int) {
		t.Helper()
		if _, err := d.Dump(deadline(t)); err != nil { // as the engine does before
			t.Fatal(err)
		}
		if got := d.Reclaim(deadline(t), wanted); len(got) != n {
			t.Errorf("%s: reclaimed %v, want %d", what, got, n)
		}
	}
	reclaimed("nothing lost", wanted, 0)
	at := map[string]index{}
	for _, o := range wanted {
		tag := o.ID().Name
		at[tag] = indexOf(t, conn, tag)
	}
	for _, tag := range []string{"", "somebody's", "vpp-cni/net1/nobody"} {
		for _, i := range at {
			if tag == "" {
				_, err := interfaces.NewServiceClient(conn).SwInterfaceTagAddDel(deadline(t), &interfaces.SwInterfaceTagAddDel{SwIfIndex: i})
				expect(t, "no tag", retval(t, err), 0)
				continue
			}
			expect(t, "tag", setTag(t, conn, i, tag), 0)
		}
		reclaimed("all with tag "+tag, wanted, len(wanted))
		same(t, d, objs...)
		for tag, i := range at {
			if now := indexOf(t, conn, tag); now != i {
				t.Errorf("%s has index %d, had %d", tag, now, i)
			}
		}
	}

	other := m
	other.Master = false
	expect(t, "tag", setTag(t, conn, at[string(m.Tag)], "somebody's"), 0)
	reclaimed("of another role", []model.Object{other}, 0)
	expect(t, "tag", setTag(t, conn, at[string(m.Tag)], "vpp-cni/net1/earlier-sandbox"), 0)
	stop()
	d = v.Driver(t)
	reclaimed("another tag of ours, by a driver that has not seen the change", []model.Object{m}, 0)
	expect(t, "tag", setTag(t, conn, at[string(m.Tag)], "somebody's"), 0)
	reclaimed("a foreign tag, by a driver that has not seen the change", []model.Object{m}, 1)
	same(t, d, objs...)
}
