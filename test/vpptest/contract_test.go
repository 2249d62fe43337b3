package vpptest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.fd.io/govpp/binapi/ethernet_types"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/core"
	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// The contract of VPP with the agents: what VPP 25.10 does, held on the
// simulator and on a real one. Each test is a line or two of what the agents
// rely on.

const anySocketID = ^uint32(0)

func addSocket(t *testing.T, conn *core.Connection, id uint32, path string) (uint32, int32) {
	t.Helper()
	r, err := memif.NewServiceClient(conn).MemifSocketFilenameAddDelV2(deadline(t), &memif.MemifSocketFilenameAddDelV2{
		IsAdd: true, SocketID: id, SocketFilename: path,
	})
	if code := retval(t, err); code != 0 {
		return 0, code
	}
	return r.SocketID, 0
}

// delSocket deletes socket id 1.
func delSocket(t *testing.T, conn *core.Connection) int32 {
	t.Helper()
	_, err := memif.NewServiceClient(conn).MemifSocketFilenameAddDelV2(deadline(t), &memif.MemifSocketFilenameAddDelV2{SocketID: 1})
	return retval(t, err)
}

func addMemif(t *testing.T, conn *core.Connection, req memif.MemifCreateV2) (index, int32) {
	t.Helper()
	r, err := memif.NewServiceClient(conn).MemifCreateV2(deadline(t), &req)
	if code := retval(t, err); code != 0 {
		return all, code
	}
	return r.SwIfIndex, 0
}

func master(id uint32) memif.MemifCreateV2 {
	return memif.MemifCreateV2{Role: memif.MEMIF_ROLE_API_MASTER, SocketID: id}
}

func slave(id uint32) memif.MemifCreateV2 {
	return memif.MemifCreateV2{Role: memif.MEMIF_ROLE_API_SLAVE, SocketID: id}
}

func delMemif(t *testing.T, conn *core.Connection, i index) int32 {
	t.Helper()
	_, err := memif.NewServiceClient(conn).MemifDelete(deadline(t), &memif.MemifDelete{SwIfIndex: i})
	return retval(t, err)
}

func setTag(t *testing.T, conn *core.Connection, i index, tag string) int32 {
	t.Helper()
	_, err := interfaces.NewServiceClient(conn).SwInterfaceTagAddDel(deadline(t), &interfaces.SwInterfaceTagAddDel{
		IsAdd: true, SwIfIndex: i, Tag: tag,
	})
	return retval(t, err)
}

func memifsOf(t *testing.T, conn *core.Connection) []*memif.MemifDetails {
	t.Helper()
	stream, err := memif.NewServiceClient(conn).MemifDump(deadline(t), &memif.MemifDump{})
	return collect(t, stream, err)
}

// listens says whether somebody serves a memif socket.
func listens(t *testing.T, path string) bool {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if err != nil && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ENOENT) {
		t.Fatal(err)
	}
	return err == nil
}

func expect(t *testing.T, what string, got, want int32) {
	t.Helper()
	if got != want {
		t.Errorf("%s: retval %d, want %d", what, got, want)
	}
}

func TestMemifNames(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	sock := v.Socket(t, "p", "net1")

	id, code := addSocket(t, conn, 7, sock)
	expect(t, "socket 7", code, 0)
	if id != 7 {
		t.Errorf("socket id %d, want 7", id)
	}
	i, code := addMemif(t, conn, master(7))
	expect(t, "memif", code, 0)
	if d := named(t, conn, "memif7/0"); d == nil || d.SwIfIndex != i || d.InterfaceDevType != "memif" {
		t.Errorf("memif7/0 is %+v", d)
	}

	id, code = addSocket(t, conn, anySocketID, sock+".any")
	expect(t, "socket ~0", code, 0)
	_, code = addMemif(t, conn, master(id))
	expect(t, "memif on it", code, 0)
	if id < 1000 || named(t, conn, fmt.Sprintf("memif%d/0", id)) == nil {
		t.Errorf("socket id ~0 gave %d, want one that nobody can read, with an interface of that name", id)
	}

	_, code = addSocket(t, conn, 0, sock+".zero")
	if code == 0 {
		t.Error("socket id 0 was taken, it is VPP's own")
	}
	_, code = addSocket(t, conn, 7, sock)
	expect(t, "the same id and filename again", code, 0)
	_, code = addSocket(t, conn, 7, sock+".other")
	if code == 0 {
		t.Error("an id in use took another filename")
	}
}

func TestMemifSocketTwice(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	sock := v.Socket(t, "p", "net1")
	for _, id := range []uint32{1, 2} {
		_, code := addSocket(t, conn, id, sock)
		expect(t, "one filename under two ids", code, 0)
	}
	stream, err := memif.NewServiceClient(conn).MemifSocketFilenameDump(deadline(t), &memif.MemifSocketFilenameDump{})
	ids := map[uint32]bool{}
	for _, s := range collect(t, stream, err) {
		if s.SocketFilename == sock {
			ids[s.SocketID] = true
		}
	}
	if !ids[1] || !ids[2] || len(ids) != 2 {
		t.Errorf("the dump has the filename under %v, want 1 and 2", ids)
	}
}

// A create that failed leaves a socket id on which the next one says 0 and
// listens nowhere.
func TestMemifZombieListener(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	dir := filepath.Join(v.Dir, "later")
	sock := filepath.Join(dir, "s.sock")
	_, code := addSocket(t, conn, 1, sock)
	expect(t, "socket in a missing directory", code, 0)
	_, code = addMemif(t, conn, master(1))
	expect(t, "master in a missing directory", code, -14)
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	i, code := addMemif(t, conn, master(1))
	expect(t, "master on the same id once the directory is there", code, 0)
	if listens(t, sock) {
		t.Error("it listens: the fact is no longer one")
	}
	expect(t, "delete it", delMemif(t, conn, i), 0)
	expect(t, "delete the socket id", delSocket(t, conn), 0)
	_, code = addSocket(t, conn, 1, sock)
	expect(t, "socket id added anew", code, 0)
	_, code = addMemif(t, conn, master(1))
	expect(t, "master on the new id", code, 0)
	if !listens(t, sock) {
		t.Error("it does not listen on an id added anew")
	}
}

func TestMemifLongPath(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	for id, length := range map[uint32]int{1: 106, 2: 107, 3: 108} {
		sock := filepath.Join(v.Dir, "x")
		sock += strings.Repeat("x", length-len(sock))
		_, code := addSocket(t, conn, id, sock)
		expect(t, fmt.Sprintf("socket of %d characters", length), code, 0)
		_, code = addMemif(t, conn, master(id))
		want := map[int]int32{106: 0, 107: -14, 108: -14}[length]
		expect(t, fmt.Sprintf("master on a path of %d characters", length), code, want)
	}
}

func TestMemifRetvals(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	_, code := addSocket(t, conn, 1, v.Socket(t, "p", "net1"))
	expect(t, "socket", code, 0)
	i, code := addMemif(t, conn, master(1))
	expect(t, "master", code, 0)
	_, code = addMemif(t, conn, master(1))
	expect(t, "second master, same socket and id", code, -68)
	_, code = addMemif(t, conn, slave(1))
	expect(t, "slave on a master's socket", code, -68)
	_, code = addMemif(t, conn, master(99))
	expect(t, "memif on an unknown socket id", code, -73)
	expect(t, "delete a socket in use", delSocket(t, conn), -74)
	expect(t, "delete the interface", delMemif(t, conn, i), 0)
	expect(t, "delete it twice", delMemif(t, conn, i), -2)
	expect(t, "delete the socket", delSocket(t, conn), 0)
	expect(t, "delete it twice", delSocket(t, conn), -73)
}

func TestMemifSocketFile(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	sock := v.Socket(t, "p", "net1")
	addSocket(t, conn, 1, sock)
	if _, err := os.Lstat(sock); !os.IsNotExist(err) {
		t.Errorf("the file is there before its first master: %v", err)
	}
	i, _ := addMemif(t, conn, master(1))
	info, err := os.Lstat(sock)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o775 {
		t.Errorf("mode %o, want 775", got)
	}
	delMemif(t, conn, i)
	delSocket(t, conn)
	if _, err := os.Lstat(sock); err != nil {
		t.Errorf("the file went with the socket, VPP is known to leave it: %v", err)
	}
	if listens(t, sock) {
		t.Error("somebody still listens on the file")
	}
}

func TestMemifDump(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	addSocket(t, conn, 1, v.Socket(t, "p", "net1"))
	addSocket(t, conn, 2, v.Socket(t, "p", "net2"))
	req := master(1)
	req.HwAddr = ethernet_types.MacAddress{2, 1, 2, 3, 4, 5}
	req.Secret = strings.Repeat("s", 23)
	eth, code := addMemif(t, conn, req)
	expect(t, "ethernet master with a secret of 23 bytes", code, 0)
	ipReq := slave(2)
	ipReq.Mode = memif.MEMIF_MODE_API_IP
	ip, code := addMemif(t, conn, ipReq)
	expect(t, "ip slave", code, 0)

	for _, m := range memifsOf(t, conn) {
		switch m.SwIfIndex {
		case eth:
			if m.Role != memif.MEMIF_ROLE_API_MASTER || m.Mode != memif.MEMIF_MODE_API_ETHERNET ||
				m.HwAddr != req.HwAddr || m.SocketID != 1 || m.ID != 0 {
				t.Errorf("master is dumped as %+v", m)
			}
		case ip:
			if m.Role != memif.MEMIF_ROLE_API_SLAVE || m.Mode != memif.MEMIF_MODE_API_IP || m.SocketID != 2 {
				t.Errorf("slave is dumped as %+v", m)
			}
		default:
			t.Errorf("unknown memif %+v", m)
		}
	}
	mtus := map[string]uint32{"memif1/0": 9000, "memif2/0": 0}
	for name, want := range mtus {
		if d := named(t, conn, name); d == nil || d.Mtu[0] != want {
			t.Errorf("%s comes as %+v, want an L3 MTU of %d", name, d, want)
		}
	}
	if d := named(t, conn, "memif1/0"); d.L2Address != req.HwAddr || d.Flags != 0 {
		t.Errorf("memif1/0 is %+v, want its MAC, and down", d)
	}
}

// An index is no identity.
func TestMemifIndexReuse(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	addSocket(t, conn, 1, v.Socket(t, "p", "net1"))
	addSocket(t, conn, 2, v.Socket(t, "p", "net2"))
	first, _ := addMemif(t, conn, master(1))
	expect(t, "tag", setTag(t, conn, first, "vpp-cni/one"), 0)
	must(l2.NewServiceClient(conn).BridgeDomainAddDelV2(deadline(t), &l2.BridgeDomainAddDelV2{BdID: 5, IsAdd: true}))(t)
	must(l2.NewServiceClient(conn).SwInterfaceSetL2Bridge(deadline(t), &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: first, BdID: 5, Enable: true}))(t)
	expect(t, "delete", delMemif(t, conn, first), 0)
	second, _ := addMemif(t, conn, master(2))
	if first != second {
		t.Errorf("the next interface got index %d, want the freed %d", second, first)
	}
	if d := named(t, conn, "memif2/0"); d == nil || d.Tag != "" {
		t.Errorf("the next interface has the old one's tag: %+v", d)
	}
	if n := bridge(t, conn, 5).NSwIfs; n != 0 {
		t.Errorf("the bridge domain has %d members, want 0", n)
	}
}

func TestTags(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	addSocket(t, conn, 1, v.Socket(t, "p", "net1"))
	i, _ := addMemif(t, conn, master(1))
	long := strings.Repeat("t", 63)
	expect(t, "tag of 63", setTag(t, conn, i, long), 0)
	if d := named(t, conn, "memif1/0"); d.Tag != long {
		t.Errorf("the tag came back as %q", d.Tag)
	}
	expect(t, "another tag over it", setTag(t, conn, i, "short"), 0)
	if d := named(t, conn, "memif1/0"); d.Tag != "short" {
		t.Errorf("the tag came back as %q", d.Tag)
	}
	expect(t, "tag of no interface", setTag(t, conn, 999, "x"), -2)
}

func TestInterfaceNames(t *testing.T) {
	v := vpptest.Start(t)
	conn := raw(t, v)
	addSocket(t, conn, 3, v.Socket(t, "p", "net1"))
	i, _ := addMemif(t, conn, master(3))
	lo := must(interfaces.NewServiceClient(conn).CreateLoopbackInstance(deadline(t), &interfaces.CreateLoopbackInstance{}))(t)
	sub := must(interfaces.NewServiceClient(conn).CreateVlanSubif(deadline(t), &interfaces.CreateVlanSubif{SwIfIndex: i, VlanID: 100}))(t)
	for name, want := range map[string]index{"memif3/0": i, "loop0": lo.SwIfIndex, "memif3/0.100": sub.SwIfIndex} {
		if d := named(t, conn, name); d == nil || d.SwIfIndex != want {
			t.Errorf("%s is %+v, want index %d", name, d, want)
		}
	}
	d := named(t, conn, "memif3/0.100")
	if d == nil || d.Type != interface_types.IF_API_TYPE_SUB || d.SupSwIfIndex != uint32(i) ||
		d.SubOuterVlanID != 100 || d.VtrOp != 0 || d.Mtu[0] != 0 {
		t.Errorf("sub-interface is dumped as %+v", d)
	}
	_, err := interfaces.NewServiceClient(conn).CreateVlanSubif(deadline(t), &interfaces.CreateVlanSubif{SwIfIndex: i, VlanID: 100})
	expect(t, "the same VLAN twice", retval(t, err), -56)
	if lo := named(t, conn, "loop0"); lo != nil && !regexp.MustCompile(`^de:ad:`).MatchString(lo.L2Address.String()) {
		t.Errorf("a loopback without a MAC has %s, want VPP's de:ad:…", lo.L2Address)
	}
}
