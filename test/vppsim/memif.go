package vppsim

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"path/filepath"
	"strings"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/interface_types"
	memif_api "go.fd.io/govpp/binapi/memif"

	"github.com/vpp-cni/vpp-cni/test/vppsim/memif"
)

// VPP's defaults and limits (src/plugins/memif/private.h, sys/un.h).
const (
	memifDevice         = "memif"
	memifDefaultSocket  = "memif.sock"
	memifDefaultRing    = 1024
	memifDefaultBuffer  = 2048
	memifMaxPath        = 106 // clib_socket_init wants name and its end under 108 (src/vppinfra/socket.c)
	memifSocketFieldMax = 107 // string[108] in memif_socket_filename_details
)

var errSocketPath = errors.New("socket path too long")

// memifState is VPP's memif_main.
type memifState struct {
	sockets    pool[memifSocket]
	byID       map[uint32]*memifSocket
	interfaces pool[memifInterface]
	lastDrawn  uint32
}

type memifInterface struct {
	instance uint32
	id       uint32
	socket   *memifSocket
	master   bool
	mode     memif_api.MemifMode
	zeroCopy bool
	ring     uint32 // as configured
	buffer   uint16
	iface    *swInterface
	link     *memif.Interface // nil: a master without a listener

	// What memif_dump tells: of a slave the sizes of its last connection, of a
	// master never more than this.
	runRing   uint32
	runBuffer uint16
}

func (v *vpp) initMemif() {
	v.memif.byID = make(map[uint32]*memifSocket)
	v.addMemifSocket(0, filepath.Join(v.cfg.RuntimeDir, memifDefaultSocket))
}

func (v *vpp) registerMemif() {
	onRequest(v, v.memifSocketFilenameAddDel)
	onRequest(v, v.memifSocketFilenameAddDelV2)
	onDump(v, v.memifSocketFilenameDump)
	onRequest(v, v.memifCreate)
	onRequest(v, v.memifCreateV2)
	onRequest(v, v.memifDelete)
	onDump(v, v.memifDump)
}

// closeMemif cuts every peer off. Socket files stay.
func (v *vpp) closeMemif() {
	for m := range v.memif.interfaces.all() {
		if m.link != nil {
			m.link.Close()
		}
	}
	for s := range v.memif.sockets.all() {
		if s.server != nil {
			s.server.Close()
		}
	}
}

func (v *vpp) memifCreate(q *memif_api.MemifCreate, r *memif_api.MemifCreateReply) retval {
	index, rv := v.createMemif(memif_api.MemifCreateV2{
		Role: q.Role, Mode: q.Mode, RxQueues: q.RxQueues, TxQueues: q.TxQueues,
		ID: q.ID, SocketID: q.SocketID, RingSize: q.RingSize, BufferSize: q.BufferSize,
		NoZeroCopy: q.NoZeroCopy, HwAddr: q.HwAddr, Secret: q.Secret,
	})
	r.SwIfIndex = index
	return rv
}

func (v *vpp) memifCreateV2(q *memif_api.MemifCreateV2, r *memif_api.MemifCreateV2Reply) retval {
	index, rv := v.createMemif(*q)
	r.SwIfIndex = index
	return rv
}

func (v *vpp) createMemif(q memif_api.MemifCreateV2) (interface_types.InterfaceIndex, retval) {
	if q.RingSize == 0 {
		q.RingSize = memifDefaultRing
	}
	if bits.OnesCount32(q.RingSize) != 1 {
		return 0, govpp.INVALID_ARGUMENT
	}
	if q.BufferSize == 0 {
		q.BufferSize = memifDefaultBuffer
	}
	s := v.memif.byID[q.SocketID]
	if s == nil {
		return 0, govpp.INVALID_ARGUMENT
	}
	master := q.Role == memif_api.MEMIF_ROLE_API_MASTER
	if s.refs > 0 && (s.master != master || s.ids[q.ID] != nil) {
		return 0, govpp.SUBIF_ALREADY_EXISTS
	}
	if s.refs == 0 {
		s.master = master
		clear(s.ids)
	}
	if q.Mode > memif_api.MEMIF_MODE_API_IP {
		v.crash("memif_create with mode punt-inject")
		return 0, govpp.SYSCALL_ERROR_2
	}
	m := v.newMemif(s, q, master)
	index := interface_types.InterfaceIndex(m.iface.index)
	if err := v.startMemif(m, q); err != nil {
		v.log.WithField("err", err).Error("memif listener")
		v.removeMemif(m)
		return index, govpp.SYSCALL_ERROR_4
	}
	s.refs++
	s.ids[q.ID] = m
	return index, ok
}

func (v *vpp) newMemif(s *memifSocket, q memif_api.MemifCreateV2, master bool) *memifInterface {
	m := v.memif.interfaces.put(func(instance uint32) *memifInterface {
		return &memifInterface{
			instance: instance, id: q.ID, socket: s, master: master, mode: q.Mode,
			zeroCopy: !master && !q.NoZeroCopy,
			ring:     q.RingSize, buffer: q.BufferSize, runRing: 1,
		}
	})
	m.iface = v.newInterface(func(i *swInterface) {
		i.name, i.device = fmt.Sprintf("memif%d/%d", s.id, q.ID), memifDevice
		i.setAdmin = func(up bool) { v.memifAdmin(m, up) }
		if q.Mode == memif_api.MEMIF_MODE_API_IP {
			return
		}
		i.mac = memifMAC(q.HwAddr, v.pid, i.index)
		i.linkMTU, i.mtu[0] = ethMTU, ethMTU
	})
	tx := func(pkt []byte) {
		if m.link != nil {
			m.link.Send(pkt)
		}
	}
	if m.iface.mac == nil {
		v.plane.AddIP(m.iface.index, tx)
	} else {
		v.plane.AddEthernet(m.iface.index, m.iface.mac, tx)
		v.plane.SetMTU(m.iface.index, ethMTU)
	}
	return m
}

// memifMAC is the one given, or one of VPP's own kind: 02:fe and four bytes
// that differ from VPP to VPP and from interface to interface.
func memifMAC(given ethernet_types.MacAddress, pid, index uint32) net.HardwareAddr {
	if mac := macOf(given); mac != nil {
		return mac
	}
	x := (pid*1_000_003 + index) * 2654435761
	return net.HardwareAddr{2, 0xfe, byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)}
}

// startMemif makes the listener with the first master, and the link.
func (v *vpp) startMemif(m *memifInterface, q memif_api.MemifCreateV2) error {
	s := m.socket
	if s.master && s.refs == 0 {
		if len(s.filename) > memifMaxPath {
			return fmt.Errorf("%w: %d bytes, longest is %d", errSocketPath, len(s.filename), memifMaxPath)
		}
		server, err := memif.Listen(s.filename)
		if err != nil {
			return fmt.Errorf("memif socket %s: %w", s.filename, err)
		}
		s.server = server
	}
	cfg := memif.Config{
		Socket: s.filename, ID: q.ID, Master: m.master, Mode: memif.Mode(q.Mode), // 0 or 1
		Secret: q.Secret, AppName: "VPP " + Version, InterfaceName: m.iface.name,
		RingSize: uint16(bits.TrailingZeros32(q.RingSize)), BufferSize: q.BufferSize, // below 32
		RxQueues: q.RxQueues, TxQueues: q.TxQueues,
	}
	i := m.iface
	events := memif.Events{
		Connected:    func(string) { v.later(func() { v.memifLink(m) }) },
		Disconnected: func(string) { v.later(func() { v.memifLink(m) }) },
		Receive:      func(pkt []byte) { v.plane.Input(i.index, pkt) },
	}
	switch {
	case !m.master:
		m.link = memif.NewSlave(cfg, events)
	case s.server != nil:
		m.link = s.server.AddMaster(cfg, events)
	}
	return nil
}

// memifLink follows the link's connection, unless the interface is gone. A slave
// remembers the sizes of its last connection.
func (v *vpp) memifLink(m *memifInterface) {
	if v.memif.interfaces.get(m.instance) != m || m.link == nil {
		return
	}
	connected := m.link.Connected()
	if connected && !m.master {
		m.runRing, m.runBuffer = m.ring, m.buffer
	}
	if !connected && !m.iface.adminUp {
		m.link.SetAdminUp(false)
	}
	v.setLink(m.iface, m.iface.adminUp && connected)
}

// memifAdmin lets the link connect. Going down does not cut a connection, so
// the peer sees nothing of it; it only prevents a new one.
func (v *vpp) memifAdmin(m *memifInterface, up bool) {
	if m.link == nil {
		return
	}
	connected := m.link.Connected()
	if up || !connected {
		m.link.SetAdminUp(up)
	}
	if up && connected {
		v.setLink(m.iface, true)
	}
}

// memifDelete takes any index of the interface, a sub-interface's too.
func (v *vpp) memifDelete(q *memif_api.MemifDelete, _ *memif_api.MemifDeleteReply) retval {
	i := v.iface(q.SwIfIndex)
	if i == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	for m := range v.memif.interfaces.all() {
		if m.iface == i.sup {
			v.removeMemif(m)
			return ok
		}
	}
	return govpp.INVALID_SW_IF_INDEX
}

func (v *vpp) removeMemif(m *memifInterface) {
	v.deleteInterface(m.iface)
	if m.link != nil {
		m.link.Close()
	}
	s := m.socket
	if s.ids[m.id] == m {
		delete(s.ids, m.id)
	}
	s.refs--
	if s.refs == 0 {
		v.closeMemifListener(s)
	}
	v.memif.interfaces.del(m.instance)
}

func (v *vpp) memifDump(_ *memif_api.MemifDump, send func(govpp.Message)) {
	for m := range v.memif.interfaces.all() {
		send(m.details())
	}
}

func (m *memifInterface) details() *memif_api.MemifDetails {
	d := &memif_api.MemifDetails{
		SwIfIndex:  interface_types.InterfaceIndex(m.iface.index),
		ID:         m.id,
		Mode:       m.mode,
		ZeroCopy:   m.zeroCopy,
		SocketID:   m.socket.id,
		RingSize:   m.runRing,
		BufferSize: m.runBuffer,
		Flags:      m.iface.flags(),
		IfName:     m.iface.name,
	}
	copy(d.HwAddr[:], m.iface.mac)
	if !m.master {
		d.Role = memif_api.MEMIF_ROLE_API_SLAVE
	}
	return d
}

func (v *vpp) cliShowMemif() string {
	var b strings.Builder
	b.WriteString("sockets\n  id  listener    filename\n")
	for s := range v.memif.sockets.all() {
		listener := "no"
		if s.server != nil {
			listener = "yes"
		}
		fmt.Fprintf(&b, "  %-3d %-11s %s\n", s.id, listener, s.filename)
	}
	for m := range v.memif.interfaces.all() {
		role, mode := "slave", "ethernet"
		if m.master {
			role = "master"
		}
		if m.mode == memif_api.MEMIF_MODE_API_IP {
			mode = "ip"
		}
		fmt.Fprintf(&b, "\ninterface %s\n  socket-id %d id %d mode %s role %s link %s\n",
			m.iface.name, m.socket.id, m.id, mode, role, upDown(m.iface.linkUp))
	}
	return b.String()
}
