package vppsim_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.fd.io/govpp/api"
	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
)

const (
	anyIndex = ^uint32(0)
	anyIface = interface_types.InterfaceIndex(anyIndex)
	admin    = interface_types.IF_STATUS_API_FLAG_ADMIN_UP
	link     = interface_types.IF_STATUS_API_FLAG_LINK_UP
)

// step is one request and the retval that VPP 25.10 gives to it.
type step struct {
	what string
	req  api.Message
	want int32
}

// run sends the steps in order.
func (c *client) run(steps []step) {
	c.t.Helper()
	for _, s := range steps {
		if got := c.call(s.req, replyTo(c.t, s.req)); got != s.want {
			c.t.Errorf("%s: retval %d, want %d", s.what, got, s.want)
		}
	}
}

// socket adds a memif socket id.
func (c *client) socket(id uint32, path string) {
	c.t.Helper()
	c.must(&memif.MemifSocketFilenameAddDelV2{IsAdd: true, SocketID: id, SocketFilename: path},
		&memif.MemifSocketFilenameAddDelV2Reply{})
}

// memif creates an interface.
func (c *client) memif(q *memif.MemifCreateV2) interface_types.InterfaceIndex {
	c.t.Helper()
	var r memif.MemifCreateV2Reply
	c.must(q, &r)
	return r.SwIfIndex
}

func (c *client) admin(i interface_types.InterfaceIndex, up bool) {
	c.t.Helper()
	var flags interface_types.IfStatusFlags
	if up {
		flags = admin
	}
	c.must(&interfaces_api.SwInterfaceSetFlags{SwIfIndex: i, Flags: flags}, &interfaces_api.SwInterfaceSetFlagsReply{})
}

// iface dumps one interface.
func (c *client) iface(i interface_types.InterfaceIndex) interfaces_api.SwInterfaceDetails {
	c.t.Helper()
	got := dump[interfaces_api.SwInterfaceDetails](c, &interfaces_api.SwInterfaceDump{SwIfIndex: i})
	if len(got) != 1 {
		c.t.Fatalf("dump of interface %d gave %d", i, len(got))
	}
	return got[0]
}

func TestMemifRetvals(t *testing.T) {
	dir := t.TempDir()
	sock := func(add bool, id uint32, name string) *memif.MemifSocketFilenameAddDelV2 {
		if name != "" {
			name = filepath.Join(dir, name)
		}
		return &memif.MemifSocketFilenameAddDelV2{IsAdd: add, SocketID: id, SocketFilename: name}
	}
	create := func(socket, id uint32, role memif.MemifRole) *memif.MemifCreateV2 {
		return &memif.MemifCreateV2{SocketID: socket, ID: id, Role: role}
	}
	const master, slave = memif.MEMIF_ROLE_API_MASTER, memif.MEMIF_ROLE_API_SLAVE
	long := strings.Repeat("x", 108)

	tests := []struct {
		name  string
		steps []step
	}{
		{"sockets", []step{
			{"add", sock(true, 1, "a"), 0},
			{"add again, the same", sock(true, 1, "a"), 0},
			{"add again, another name", sock(true, 1, "b"), -116},
			{"the same name under another id", sock(true, 2, "a"), 0},
			{"id 0", sock(true, 0, "a"), -73},
			{"no name", sock(true, 3, ""), -73},
			{"delete", sock(false, 1, ""), 0},
			{"delete again", sock(false, 1, ""), -73},
			{"delete ~0", sock(false, anyIndex, ""), -73},
		}},
		{"interfaces on a socket", []step{
			{"socket", sock(true, 1, "m"), 0},
			{"master", create(1, 0, master), 0},
			{"second master, same id", create(1, 0, master), -68},
			{"slave on the master's socket", create(1, 1, slave), -68},
			{"second master, another id", create(1, 1, master), 0},
			{"unknown socket", create(77, 0, master), -73},
			{"ring size no power of two", &memif.MemifCreateV2{SocketID: 1, ID: 5, RingSize: 1000}, -73},
			{"delete the socket in use", sock(false, 1, ""), -74},
			{"delete one", &memif.MemifDelete{SwIfIndex: 1}, 0},
			{"delete it again", &memif.MemifDelete{SwIfIndex: 1}, -2},
			{"delete local0", &memif.MemifDelete{SwIfIndex: 0}, -2},
			{"delete the other", &memif.MemifDelete{SwIfIndex: 2}, 0},
			{"delete the socket", sock(false, 1, ""), 0},
		}},
		{"master without a directory", []step{
			{"socket", sock(true, 1, "missing/s"), 0},
			{"create", create(1, 0, master), -14},
			{"second create says yes and does not listen", create(1, 0, master), 0},
			{"third", create(1, 1, master), -14},
			{"the id can be deleted", sock(false, 1, ""), 0},
		}},
		{"slave without a directory", []step{
			{"socket", sock(true, 1, "missing/s"), 0},
			{"create", create(1, 0, slave), 0},
		}},
		{"long path", []step{
			{"socket", sock(true, 1, long), 0},
			{"create", create(1, 0, master), -14},
		}},
		{"path that somebody listens on", []step{
			{"socket", sock(true, 1, "s"), 0},
			{"another id for it", sock(true, 2, "s"), 0},
			{"master", create(1, 0, master), 0},
			{"master of the other id", create(2, 0, master), -14},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { dial(t, start(t)).run(test.steps) })
	}
}

// The zombie that VPP leaves after a failed create has no listener.
func TestMemifZombie(t *testing.T) {
	dir := t.TempDir()
	c := dial(t, start(t))
	c.socket(1, filepath.Join(dir, "missing", "s"))
	if rv := c.call(&memif.MemifCreateV2{SocketID: 1}, &memif.MemifCreateV2Reply{}); rv != -14 {
		t.Fatalf("first create: %d", rv)
	}
	if err := os.Mkdir(filepath.Join(dir, "missing"), 0o750); err != nil {
		t.Fatal(err)
	}
	i := c.memif(&memif.MemifCreateV2{SocketID: 1})
	c.admin(i, true)
	if _, err := os.Stat(filepath.Join(dir, "missing", "s")); !os.IsNotExist(err) {
		t.Errorf("the zombie listens: %v", err)
	}
}

func TestMemifDefaults(t *testing.T) {
	dir := t.TempDir()
	c := dial(t, start(t))
	c.socket(7, filepath.Join(dir, "s"))
	eth := c.memif(&memif.MemifCreateV2{SocketID: 7, ID: 3, Secret: "hush"})
	ip := c.memif(&memif.MemifCreateV2{SocketID: 7, ID: 4, Mode: memif.MEMIF_MODE_API_IP})

	got := c.iface(eth)
	if got.InterfaceName != "memif7/3" || got.InterfaceDevType != "memif" || got.LinkMtu != 9000 ||
		got.Mtu[0] != 9000 || got.Flags != 0 || got.L2Address[0] != 2 || got.L2Address[1] != 0xfe {
		t.Errorf("ethernet memif: %+v", got)
	}
	got = c.iface(ip)
	if got.LinkMtu != 0 || got.Mtu[0] != 0 || got.L2Address != [6]byte{} {
		t.Errorf("ip memif: %+v", got)
	}
	d := dump[memif.MemifDetails](c, &memif.MemifDump{})
	if len(d) != 2 || d[0].ID != 3 || d[0].SocketID != 7 || d[0].RingSize != 1 || d[0].BufferSize != 0 || d[0].ZeroCopy {
		t.Errorf("memif_dump: %+v", d)
	}
	info, err := os.Stat(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o775 {
		t.Errorf("socket file mode %o, want 775", mode)
	}
	c.run([]step{
		{"delete", &memif.MemifDelete{SwIfIndex: eth}, 0},
		{"delete", &memif.MemifDelete{SwIfIndex: ip}, 0},
		{"delete socket", &memif.MemifSocketFilenameAddDelV2{SocketID: 7}, 0},
	})
	if _, err := os.Stat(filepath.Join(dir, "s")); err != nil {
		t.Errorf("the socket file went with its id: %v", err)
	}
}

// An index is no identity: the one freed last is given next. The tag and the
// place in a bridge domain do not come with it.
func TestFreedIndexIsReused(t *testing.T) {
	c := dial(t, start(t))
	c.socket(1, filepath.Join(t.TempDir(), "s"))
	var made []interface_types.InterfaceIndex
	for id := range uint32(4) {
		made = append(made, c.memif(&memif.MemifCreateV2{SocketID: 1, ID: id}))
	}
	c.run([]step{
		{"tag", &interfaces_api.SwInterfaceTagAddDel{IsAdd: true, SwIfIndex: made[1], Tag: "mine"}, 0},
		{"bridge", &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: made[1], BdID: 9, Enable: true}, 0},
		{"delete third", &memif.MemifDelete{SwIfIndex: made[2]}, 0},
		{"delete second", &memif.MemifDelete{SwIfIndex: made[1]}, 0},
	})
	for _, want := range []interface_types.InterfaceIndex{made[1], made[2], 5} {
		if got := c.memif(&memif.MemifCreateV2{SocketID: 1, ID: 10 + uint32(want)}); got != want {
			t.Errorf("next index %d, want %d", got, want)
		}
	}
	if got := c.iface(made[1]); got.Tag != "" {
		t.Errorf("tag %q outlived its interface", got.Tag)
	}
	bds := dump[l2.BridgeDomainDetails](c, &l2.BridgeDomainDump{BdID: anyIndex, SwIfIndex: anyIface})
	if len(bds) != 1 || len(bds[0].SwIfDetails) != 0 {
		t.Errorf("bridge domains: %+v", bds)
	}
}

func TestPuntInjectKills(t *testing.T) {
	sim := start(t)
	c := dial(t, sim)
	c.socket(1, filepath.Join(t.TempDir(), "s"))
	c.ch.SetReplyTimeout(300 * time.Millisecond)
	err := c.ch.SendRequest(&memif.MemifCreateV2{SocketID: 1, Mode: memif.MEMIF_MODE_API_PUNT_INJECT}).
		ReceiveReply(&memif.MemifCreateV2Reply{})
	if err == nil {
		t.Error("punt-inject was answered")
	}
	<-sim.Done()
	if sim.Alive() {
		t.Error("alive after punt-inject")
	}
}
