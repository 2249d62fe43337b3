package deviceplugin

import (
	"encoding/json"
	"maps"
	"sync"

	"github.com/vpp-cni/vpp-cni/schema/store"
)

// Counter counts a node's desired attachments and knows their devices. It stands
// between etcd and the reconciler, so that a node has one watch. While the view of
// etcd is lost, it goes by the last one.
type Counter struct {
	mu      sync.Mutex
	devices map[string]string // by key; empty: none
	changes int
}

// NewCounter makes one that knows of nothing.
func NewCounter() *Counter { return &Counter{devices: map[string]string{}} }

// Before counts what f is told, and tells it.
func (c *Counter) Before(f store.Follower) store.Follower { return &counting{c, f} }

// attachments are the device ids of all attachments, empty where one has none,
// and a number that changes when they do.
func (c *Counter) attachments() (devices []string, changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	devices = make([]string, 0, len(c.devices))
	for _, id := range c.devices {
		devices = append(devices, id)
	}
	return devices, c.changes
}

func (c *Counter) edit(do func(devices map[string]string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do(c.devices)
	c.changes++
}

// counting is the Follower in front of another.
type counting struct {
	counter *Counter
	next    store.Follower
}

// Snapshot implements store.Follower.
func (c *counting) Snapshot(entries map[string]store.Entry, rev int64) {
	all := make(map[string]string, len(entries))
	for key, e := range entries {
		all[key] = device(e.Value)
	}
	c.counter.edit(func(devices map[string]string) {
		clear(devices)
		maps.Copy(devices, all)
	})
	c.next.Snapshot(entries, rev)
}

// Changed implements store.Follower.
func (c *counting) Changed(key string, e *store.Entry, rev int64) {
	c.counter.edit(func(devices map[string]string) {
		if e == nil {
			delete(devices, key)
		} else {
			devices[key] = device(e.Value)
		}
	})
	c.next.Changed(key, e, rev)
}

// Lost implements store.Follower.
func (c *counting) Lost(err error) { c.next.Lost(err) }

// device is the device id of a desired host end. What cannot be read has none, and
// counts.
func device(value []byte) string {
	var host struct {
		DeviceID string `json:"deviceID"`
	}
	if json.Unmarshal(value, &host) != nil {
		return ""
	}
	return host.DeviceID
}
