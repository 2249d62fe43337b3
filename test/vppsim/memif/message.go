package memif

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	messageSize = 128
	cookie      = 0x3E31F20
	version     = 2 << 8 // 2.0
	nameSize    = 32
	secretSize  = 24
	reasonSize  = 96
)

// The types of memif_msg_type_t.
const (
	msgAck          uint16 = 1
	msgHello        uint16 = 2
	msgInit         uint16 = 3
	msgAddRegion    uint16 = 4
	msgAddRing      uint16 = 5
	msgConnect      uint16 = 6
	msgConnected    uint16 = 7
	msgDisconnect   uint16 = 8
	ringFlagS2M     uint16 = 1
	ringFlagMaskInt uint16 = 1
	descFlagNext    uint16 = 1
)

// message is one of the fixed-size messages of the control channel, the type
// in its first two bytes, a packed struct of memif.h behind it.
type message [messageSize]byte

type hello struct {
	name                              string
	minVersion, maxVersion            uint16
	maxRegion, maxM2SRing, maxS2MRing uint16
	maxLog2RingSize                   uint8
}

type initRequest struct {
	version uint16
	id      uint32
	mode    Mode
	secret  string
	name    string
}

type addRegion struct {
	index uint16
	size  uint64
}

type addRing struct {
	flags, index, region uint16
	offset               uint32
	log2Size             uint8
	privateHeader        uint16
}

type disconnect struct {
	code   uint32
	reason string
}

func newMessage(kind uint16) message {
	var m message
	le.PutUint16(m[:], kind)
	return m
}

var le = binary.LittleEndian

func (m *message) kind() uint16 { return le.Uint16(m[:]) }

// putString writes s with a zero behind it, cut to fit.
func putString(dst []byte, s string) {
	n := copy(dst[:len(dst)-1], s)
	dst[n] = 0
}

func getString(src []byte) string {
	if n := bytes.IndexByte(src, 0); n >= 0 {
		src = src[:n]
	}
	return string(src)
}

func (h hello) encode() message {
	m := newMessage(msgHello)
	putString(m[2:2+nameSize], h.name)
	le.PutUint16(m[34:], h.minVersion)
	le.PutUint16(m[36:], h.maxVersion)
	le.PutUint16(m[38:], h.maxRegion)
	le.PutUint16(m[40:], h.maxM2SRing)
	le.PutUint16(m[42:], h.maxS2MRing)
	m[44] = h.maxLog2RingSize
	return m
}

func (m *message) hello() hello {
	return hello{
		name:            getString(m[2 : 2+nameSize]),
		minVersion:      le.Uint16(m[34:]),
		maxVersion:      le.Uint16(m[36:]),
		maxRegion:       le.Uint16(m[38:]),
		maxM2SRing:      le.Uint16(m[40:]),
		maxS2MRing:      le.Uint16(m[42:]),
		maxLog2RingSize: m[44],
	}
}

func (r initRequest) encode() message {
	m := newMessage(msgInit)
	le.PutUint16(m[2:], r.version)
	le.PutUint32(m[4:], r.id)
	m[8] = byte(r.mode)
	putString(m[9:9+secretSize], r.secret)
	putString(m[33:33+nameSize], r.name)
	return m
}

func (m *message) init() initRequest {
	return initRequest{
		version: le.Uint16(m[2:]),
		id:      le.Uint32(m[4:]),
		mode:    Mode(m[8]),
		secret:  getString(m[9 : 9+secretSize]),
		name:    getString(m[33 : 33+nameSize]),
	}
}

func (r addRegion) encode() message {
	m := newMessage(msgAddRegion)
	le.PutUint16(m[2:], r.index)
	le.PutUint64(m[4:], r.size)
	return m
}

func (m *message) addRegion() addRegion {
	return addRegion{index: le.Uint16(m[2:]), size: le.Uint64(m[4:])}
}

func (r addRing) encode() message {
	m := newMessage(msgAddRing)
	le.PutUint16(m[2:], r.flags)
	le.PutUint16(m[4:], r.index)
	le.PutUint16(m[6:], r.region)
	le.PutUint32(m[8:], r.offset)
	m[12] = r.log2Size
	le.PutUint16(m[13:], r.privateHeader)
	return m
}

func (m *message) addRing() addRing {
	return addRing{
		flags:         le.Uint16(m[2:]),
		index:         le.Uint16(m[4:]),
		region:        le.Uint16(m[6:]),
		offset:        le.Uint32(m[8:]),
		log2Size:      m[12],
		privateHeader: le.Uint16(m[13:]),
	}
}

// encodeName makes a CONNECT or a CONNECTED.
func encodeName(kind uint16, ifName string) message {
	m := newMessage(kind)
	putString(m[2:2+nameSize], ifName)
	return m
}

func (m *message) name() string { return getString(m[2 : 2+nameSize]) }

func (d disconnect) encode() message {
	m := newMessage(msgDisconnect)
	le.PutUint32(m[2:], d.code)
	putString(m[6:6+reasonSize], d.reason)
	return m
}

func (m *message) disconnect() disconnect {
	return disconnect{code: le.Uint32(m[2:]), reason: getString(m[6 : 6+reasonSize])}
}

// protocolError is a reason to disconnect, in VPP's words where VPP has some.
type protocolError string

func (e protocolError) Error() string { return string(e) }

func refuse(format string, args ...any) error {
	return protocolError(fmt.Sprintf(format, args...))
}
