package api

import (
	"fmt"
	"reflect"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/codec"
)

// The message ids that every client knows before it has seen the table
// (src/vlibmemory/vl_memory_msg_enum.h).
const (
	sockclntCreateID      = 15
	sockclntCreateReplyID = 16
	sockclntDeleteID      = 17
	sockclntDeleteReplyID = 18
	firstTableID          = 64
)

// File is one API file of VPP: its messages get ids in a row.
type File struct {
	Name     string // "memif"; VPP calls it memif.api
	Version  string // "3.1.0"
	CRC      uint32
	Messages []govpp.Message
}

// Entry is one message of the table.
type Entry struct {
	ID   uint16
	Name string
	Type govpp.MessageType
	typ  reflect.Type
}

// New makes an empty message of the entry's type.
func (e *Entry) New() govpp.Message {
	msg, _ := reflect.New(e.typ).Interface().(govpp.Message)
	return msg
}

// Table is the message table of one VPP: which id stands for which message. It
// does not change once made.
type Table struct {
	files   []File
	first   map[string]uint16 // by file name and CRC, as get_first_msg_id asks
	byID    []*Entry          // nil where no message has the id
	byName  map[string]*Entry
	listing []memclnt.MessageTableEntry
}

// NewTable gives ids to the messages of the files, in their order. Names that
// come twice are an error: VPP's names are unique.
func NewTable(files []File) (*Table, error) {
	t := &Table{
		files:  files,
		first:  make(map[string]uint16, len(files)),
		byName: make(map[string]*Entry),
	}
	fixed := map[string]uint16{
		"sockclnt_create":       sockclntCreateID,
		"sockclnt_create_reply": sockclntCreateReplyID,
		"sockclnt_delete":       sockclntDeleteID,
		"sockclnt_delete_reply": sockclntDeleteReplyID,
	}
	next := uint16(firstTableID)
	for _, f := range files {
		t.first[fmt.Sprintf("%s_%08x", f.Name, f.CRC)] = next
		for _, msg := range f.Messages {
			id, ok := fixed[msg.GetMessageName()]
			if !ok {
				id = next
				next++
			}
			if err := t.add(id, msg); err != nil {
				return nil, fmt.Errorf("message table: file %s: %w", f.Name, err)
			}
		}
	}
	return t, nil
}

func (t *Table) add(id uint16, msg govpp.Message) error {
	name := msg.GetMessageName()
	if t.byName[name] != nil {
		return fmt.Errorf("message %s comes twice", name)
	}
	e := &Entry{ID: id, Name: name, Type: msg.GetMessageType(), typ: reflect.TypeOf(msg).Elem()}
	for len(t.byID) <= int(id) {
		t.byID = append(t.byID, nil)
	}
	t.byID[id] = e
	t.byName[name] = e
	t.listing = append(t.listing, memclnt.MessageTableEntry{
		Index: id,
		Name:  name + "_" + msg.GetCrcString(),
	})
	return nil
}

// Files are the API files that the table was made of.
func (t *Table) Files() []File { return t.files }

// FirstID answers get_first_msg_id for a name like memif_a1b2c3d4.
func (t *Table) FirstID(nameAndCRC string) (uint16, bool) {
	id, ok := t.first[nameAndCRC]
	return id, ok
}

// Lookup finds a message by name; nil if there is none.
func (t *Table) Lookup(name string) *Entry { return t.byName[name] }

func (t *Table) lookupID(id uint16) *Entry {
	if int(id) >= len(t.byID) {
		return nil
	}
	return t.byID[id]
}

// encode writes msg with the table's id and the context where messages of its
// type carry one.
func (t *Table) encode(msg govpp.Message, clientIndex, context uint32) ([]byte, error) {
	e := t.byName[msg.GetMessageName()]
	if e == nil {
		return nil, fmt.Errorf("encode %s: not in the message table", msg.GetMessageName())
	}
	data, err := codec.EncodeMsg(msg, e.ID)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Name, err)
	}
	switch e.Type {
	case govpp.ReplyMessage:
		putUint32(data[2:], context)
	case govpp.RequestMessage:
		putUint32(data[2:], clientIndex)
		putUint32(data[6:], context)
	case govpp.EventMessage:
		putUint32(data[2:], clientIndex)
	case govpp.OtherMessage:
	}
	return data, nil
}
