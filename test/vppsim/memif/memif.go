// Package memif speaks the memif 2.0 protocol over real sockets and shared
// memory, as master and as slave, with a VPP or with itself on the other side.
// It moves whole packets and knows nothing of their contents; which interface
// they go to is package dataplane's affair, and when an interface exists is
// the simulated API's.
//
// Messages, rings and descriptors are laid out as in VPP's memif.h, in the
// byte order of a little-endian machine. Whatever a peer writes to shared
// memory is read once and checked before it is used, and regions that the peer
// could still shrink are refused, so a hostile peer costs a connection and
// nothing else.
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
	RingSize      uint16 // log2 of the descriptors in a ring, up to 14; the slave's counts
	BufferSize    uint16 // bytes of one descriptor's buffer; the slave's counts
	RxQueues      uint8  // the slave's counts
	TxQueues      uint8  // the slave's counts; Send uses the first
}

// Events are called from the interface's own goroutines: Connected before the
// first Receive, Disconnected after the last. Receive may run for several
// queues at once. A nil function is not called. They may call any method.
type Events struct {
	// Connected gets the name that the peer gave its interface.
	Connected func(peerName string)
	// Disconnected gets the reason, the peer's where it gave one.
	Disconnected func(reason string)
	// Receive gets a packet of up to 65,535 bytes, valid until it returns.
	Receive func(pkt []byte)
}

// The limits that VPP tells its peers (memif's private.h) and its defaults.
const (
	maxRegion       = 256
	maxRing         = 256
	maxLog2RingSize = 14
	defaultLog2Ring = 10
	defaultBuffer   = 2048
	maxPacket       = 1<<16 - 1
)

func (c Config) withDefaults() Config {
	if c.RingSize == 0 {
		c.RingSize = defaultLog2Ring
	}
	c.RingSize = min(c.RingSize, maxLog2RingSize)
	if c.BufferSize == 0 {
		c.BufferSize = defaultBuffer
	}
	c.RxQueues = max(c.RxQueues, 1)
	c.TxQueues = max(c.TxQueues, 1)
	if c.AppName == "" {
		c.AppName = "vppsim"
	}
	return c
}
