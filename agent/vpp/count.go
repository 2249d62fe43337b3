package vpp

import (
	"encoding/binary"
	"reflect"
	"sync"

	"go.fd.io/govpp/api"
	"go.fd.io/govpp/codec"
)

// count is where a message says in 32 bits how many elements its last field
// has. GoVPP allocates them all before it looks for the first one, and a process
// that asks for 50 GB ends.
type count struct {
	at      int // of the count, in the message
	element int // the size in bytes of one element
}

// fits says whether the message is as long as its count says.
func (c count) fits(msg []byte) bool {
	if len(msg) < c.at+4 {
		return true // too short for a count: decoding it is an error
	}
	n := uint64(binary.BigEndian.Uint32(msg[c.at:]))
	return n*uint64(c.element) <= uint64(len(msg)-c.at-4) // #nosec G115 -- both are positive
}

// counted are the messages with such a count, of all that this program could
// decode, by name and CRC.
var counted = sync.OnceValue(func() map[string]count {
	found := map[string]count{}
	for _, messages := range api.GetRegisteredMessages() {
		for _, m := range messages {
			if c, ok := countIn(m); ok {
				found[m.GetMessageName()+"_"+m.GetCrcString()] = c
			}
		}
	}
	return found
})

// countsOf is counted by the ids of one VPP.
func countsOf(ids map[string]uint16) map[uint16]count {
	out := map[uint16]count{}
	for name, c := range counted() {
		if id, ok := ids[name]; ok {
			out[id] = c
		}
	}
	return out
}

// countIn finds a count of 32 bits before the list that ends the message, or the
// structure that ends it.
func countIn(m api.Message) (count, bool) {
	msg := reflect.New(reflect.TypeOf(m).Elem())
	list, ok := lastList(msg.Elem())
	if !ok {
		return count{}, false
	}
	empty := encoded(msg)
	list.Set(reflect.MakeSlice(list.Type(), 1, 1))
	one := encoded(msg)
	return count{at: empty - 4, element: one - empty}, one > empty
}

// lastList is the field that is a list with a count of 32 bits before it.
func lastList(v reflect.Value) (reflect.Value, bool) {
	n := v.NumField()
	if n == 0 {
		return reflect.Value{}, false
	}
	last := v.Field(n - 1)
	switch {
	case last.Kind() == reflect.Struct:
		return lastList(last)
	case last.Kind() == reflect.Slice && n > 1 && v.Field(n-2).Kind() == reflect.Uint32:
		return last, true
	default:
		return reflect.Value{}, false
	}
}

// encoded is how long a message is on the wire.
func encoded(msg reflect.Value) int {
	m, ok := msg.Interface().(api.Message)
	if !ok {
		return 0
	}
	data, err := codec.EncodeMsg(m, 0)
	if err != nil {
		return 0
	}
	return len(data)
}
