package vpp

import (
	"sync"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// iface is an interface of ours in VPP.
type iface struct {
	idx  uint32
	tag  model.Tag
	mark string // the tag as it stands in VPP, see model.Label: not ours for a leftover
	id   model.ID
	name string
	mac  model.MAC
	mtu  uint32
	up   bool
	link bool
	// doubtful: VPP said that an interface of this index was deleted. It may
	// have been the one before.
	doubtful bool
}

type tableKey struct {
	vrf uint32
	v6  bool
}

// index is what is known of VPP between dumps. It is a hint: a sw_if_index goes
// to the next interface as soon as it is free.
type index struct {
	mu      sync.Mutex
	known   bool // filled since the connection came up
	byTag   map[model.Tag]*iface
	byIndex map[uint32]*iface
	// objects are the interfaces as they were dumped or made.
	objects  map[model.Tag]model.Object
	slaves   int // memifs that connect to the other side
	sockets  map[string]*socket
	ids      map[uint32]bool // memif socket ids in use, ours or not
	lowestID uint32          // no id below it is free
	bridges  map[uint32]bool // true: ours
	tables   map[tableKey]bool
	// lost are tags that interfaces had and have no more, though they are there.
	lost map[model.Tag]loss
	// vanished are indexes of interfaces that went without our having deleted
	// them, what stood on them first: routes may be left that are dead for ever.
	vanished map[uint32]bool
}

func newIndex() *index {
	x := &index{}
	x.reset()
	return x
}

func (x *index) reset() {
	x.known = false
	x.byTag = make(map[model.Tag]*iface)
	x.byIndex = make(map[uint32]*iface)
	x.objects = make(map[model.Tag]model.Object)
	x.sockets = make(map[string]*socket)
	x.slaves = 0
	x.ids = make(map[uint32]bool)
	x.lowestID = 1
	x.bridges = make(map[uint32]bool)
	x.tables = make(map[tableKey]bool)
	x.lost = nil
	x.vanished = make(map[uint32]bool)
}

func (x *index) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.reset()
}

func (x *index) state(tag model.Tag) (InterfaceState, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := x.byTag[tag]
	if i == nil {
		return InterfaceState{}, false
	}
	return InterfaceState{
		Name: i.name, SwIfIndex: i.idx, MAC: i.mac, MTU: i.mtu, AdminUp: i.up, LinkUp: i.link,
	}, true
}

// lookup is an interface of ours.
func (x *index) lookup(tag model.Tag) (iface, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := x.byTag[tag]; i != nil {
		return *i, true
	}
	return iface{}, false
}

// object is an interface of ours as it was dumped or made.
func (x *index) object(tag model.Tag) (model.Object, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	o, ok := x.objects[tag]
	return o, ok
}

// add takes in an interface that was just made.
func (x *index) add(i iface, obj model.Object) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.lost, i.tag) // what had the tag before is another interface
	x.put(i, obj)
}

func (x *index) put(i iface, obj model.Object) {
	if old := x.byIndex[i.idx]; old != nil && x.byTag[old.tag] == old {
		x.vanished[i.idx] = true
		delete(x.byTag, old.tag)
		delete(x.objects, old.tag)
	}
	x.byTag[i.tag] = &i
	x.byIndex[i.idx] = &i
	x.objects[i.tag] = obj
	if m, ok := obj.(model.Memif); ok && !m.Master {
		x.slaves++
	}
}

// doubt marks an index that VPP says was deleted. VPP sends that late, so the
// index may be another interface's by now: who uses it next looks it up.
func (x *index) doubt(idx uint32) {
	x.change(idx, func(i *iface) { i.doubtful = true })
}

// forget drops an interface that is gone.
func (x *index) forget(tag model.Tag) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := x.byTag[tag]
	if i == nil {
		return
	}
	if m, ok := x.objects[tag].(model.Memif); ok && !m.Master {
		x.slaves--
	}
	delete(x.byTag, tag)
	delete(x.objects, tag)
	if x.byIndex[i.idx] == i {
		delete(x.byIndex, i.idx)
	}
}

// change edits an interface that is still known under its index.
func (x *index) change(idx uint32, edit func(*iface)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := x.byIndex[idx]; i != nil {
		edit(i)
	}
}

func (x *index) isKnown() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.known
}

// replace takes in an interface that was changed.
func (x *index) replace(tag model.Tag, obj model.Object) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byTag[tag] != nil {
		x.objects[tag] = obj
	}
}

// deleted drops an interface that we deleted.
func (x *index) deleted(tag model.Tag) {
	obj, ok := x.object(tag)
	x.forget(tag)
	if m, isMemif := obj.(model.Memif); ok && isMemif {
		x.used(m.Socket, -1)
	}
}

// ousted drops what a dump has seen at an index, the interface of which we took out
// of another's way.
func (x *index) ousted(idx uint32) {
	x.mu.Lock()
	i := x.byIndex[idx]
	known := i != nil && x.byTag[i.tag] == i
	if known {
		x.vanished[idx] = true // what stands on it was not taken off first
	}
	x.mu.Unlock()
	if known {
		x.deleted(i.tag)
	}
}

// onSocket names the interfaces on a memif socket, for an error.
func (x *index) onSocket(path string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	for tag, o := range x.objects {
		if m, ok := o.(model.Memif); ok && m.Socket == path {
			return x.byTag[tag].name + " (" + string(tag) + ")"
		}
	}
	return "an interface that is not ours"
}

// What a walk of VPP's memif_process takes, on a slow machine: it goes past a
// master or a connected memif at once, and tries to connect a slave.
const (
	walkOne     = 2 * time.Microsecond
	walkSlave   = 200 * time.Microsecond
	longestWalk = 250 * time.Millisecond
)

// settle is how long memif_process walks after a change of an admin state.
func (x *index) settle() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return min(time.Duration(len(x.byTag))*walkOne+time.Duration(x.slaves)*walkSlave, longestWalk)
}

// bridge says whether a bridge domain is there, and whether it is ours.
func (x *index) bridge(id uint32) (ours, there bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	ours, there = x.bridges[id]
	return ours, there
}

func (x *index) setBridge(id uint32, ours bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.bridges[id] = ours
}

func (x *index) dropBridge(id uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.bridges, id)
}

// table says whether a FIB table is there, and whether it is ours.
func (x *index) table(key tableKey) (ours, there bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	ours, there = x.tables[key]
	return ours, there
}

func (x *index) setTable(key tableKey, ours bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tables[key] = ours
}

func (x *index) dropTable(key tableKey) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.tables, key)
}
