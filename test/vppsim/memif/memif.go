// Package memif speaks the memif 2.0 protocol over real sockets and shared
// memory, as master and as slave, with a VPP or with itself on the other side.
// It moves whole packets and knows nothing of their contents; which interface
// they go to is package dataplane's affair, and when an interface exists is
// the simulated API's.
package memif

// Mode is what one packet on the ring is.
type Mode uint8

// The modes of memif_interface_mode_t (memif.h). Punt-inject is left out: no
// VPP survives being asked for it.
const (
	Ethernet Mode = 0 // a frame, from its destination address on
	IP       Mode = 1 // a bare IPv4 or IPv6 packet
)

// Config describes one end. Zero sizes and counts mean VPP's defaults: rings of
// 1024 descriptors, buffers of 2048 bytes, one queue each way.
type Config struct {
	Socket        string // path of the control socket; NewSlave connects to it
	ID            uint32 // must be the same on both ends
	Master        bool   // set by AddMaster and NewSlave
	Mode          Mode
	Secret        string // up to 23 bytes; empty: none asked for or given
	AppName       string // told to the peer, cut after 31 bytes
	InterfaceName string // told to the peer, cut after 31 bytes
	RingSize      uint16 // log2 of the descriptors in a ring, up to 14
	BufferSize    uint16 // bytes of one descriptor's buffer
	RxQueues      uint8
	TxQueues      uint8
}

// Events are called from the interface's own goroutine, one at a time. A nil
// function is not called. They may call Send and Connected of any interface,
// not Close of their own.
type Events struct {
	Connected    func(peerName string)
	Disconnected func(reason string)
	Receive      func(pkt []byte) // pkt is valid until it returns
}

// Server serves one listening socket for all masters on it.
type Server struct{}

// Interface is one end of a memif link.
type Interface struct{}

// Listen makes the socket file at path and listens on it. An unused file left
// there by an earlier listener is taken over.
func Listen(_ string) (*Server, error) { return &Server{}, nil }

// Close ends listening and disconnects and closes every master. The socket
// file stays, as VPP leaves it.
func (s *Server) Close() {}

// AddMaster puts a master on the socket. It is admin-down. The result is nil
// where the id is taken: VPP says -68 to that.
func (s *Server) AddMaster(_ Config, _ Events) *Interface { return &Interface{} }

// NewSlave makes a slave. It is admin-down; once up it connects, and reconnects
// every 2 s.
func NewSlave(_ Config, _ Events) *Interface { return &Interface{} }

// SetAdminUp lets the interface connect, or disconnects it.
func (i *Interface) SetAdminUp(_ bool) {}

// Kick makes a slave that is not connected try at once.
func (i *Interface) Kick() {}

// Send copies pkt into the ring. False means dropped: not connected, or full.
func (i *Interface) Send(_ []byte) bool { return false }

// Connected says whether packets can cross.
func (i *Interface) Connected() bool { return false }

// Remote is the name of the peer's interface, empty while not connected.
func (i *Interface) Remote() (name string) { return "" }

// Close disconnects for good.
func (i *Interface) Close() {}
