package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// nodeFile gives the world's plugins a node's file.
func (w *world) nodeFile(text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, "node.yaml")
	writeFile(w.t, path, "networkMayOverride: true\n"+text)
	w.env = append(w.env, "VPP_CNI_CONFIG="+path)
}

// attachments counts the desired host ends.
func (w *world) attachments() int64 {
	w.t.Helper()
	resp, err := w.cli.Get(w.t.Context(), w.keys.HostPrefix(testNode), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Count
}

// nth is the call of a container of its own, with a pod of its own.
func nth(verb string, i int) runtimeCall {
	return runtimeOf(verb).with(fmt.Sprintf("c%d", i)).saying(ofPod(fmt.Sprintf("u%d", i)))
}

// TestMaxAttachments: of many ADDs at once as many succeed as the node serves,
// the others say so and leave nothing, and a DEL makes room.
func TestMaxAttachments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.timeout = "20s"
	const limit, callers = 10, 32
	w.nodeFile(fmt.Sprintf("agent: {maxAttachments: %d}\n", limit))
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	outcomes := make([]outcome, callers)
	var wg sync.WaitGroup
	for i := range outcomes {
		p := w.start(nth("ADD", i), conf)
		wg.Go(func() { outcomes[i] = p.wait() })
	}
	wg.Wait()
	in := map[int]bool{}
	for i, o := range outcomes {
		if o.exit == 0 {
			in[i] = true
			continue
		}
		o.fails(t, 11, "no room", "node node-1 has ", " and may have 10", "agent.maxAttachments")
	}
	if len(in) != limit || w.attachments() != limit || len(w.allocated()) != limit {
		t.Errorf("%d succeeded, %d are there, addresses %v", len(in), w.attachments(), w.allocated())
	}
	w.eventually("nothing is left of the refused", func() bool { return len(w.stored()) == 3*limit })

	// Full now: a look is enough, nothing is written and IPAM is not asked.
	before := w.stored()
	w.call(nth("ADD", callers), w.conf(routedHost, w.hostLocal("absent"))).fails(t, 11, "has 10 attachments and may have 10")
	if fmt.Sprint(before) != fmt.Sprint(w.stored()) {
		t.Error("an ADD that was refused changed keys")
	}
	for i := range in {
		w.call(nth("ADD", i), conf).ok(t) // repeated
		w.call(nth("ADD", i).with("new").saying(ofPod(fmt.Sprintf("u%d", i))), conf).ok(t)
		w.call(nth("DEL", i).with("new"), conf).ok(t)
		break
	}
	w.call(nth("ADD", callers), conf).ok(t)
	w.call(nth("ADD", callers+1), conf).fails(t, 11)
	w.call(runtimeCall{verb: "GC"}, w.conf(routedHost, w.hostLocal("host-local"), `"cni.dev/valid-attachments":[]`)).ok(t)
	w.eventually("the agent has removed all", func() bool { return !strings.Contains(fmt.Sprint(w.stored()), "host-status") })
	w.nothingLeft()
}

// TestLoweredLimit: what is attached stays, a new sandbox of it too.
func TestLoweredLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	for i := range 3 {
		w.call(nth("ADD", i), conf).ok(t)
	}
	w.nodeFile("agent: {maxAttachments: 2}\n")
	w.call(nth("ADD", 0), conf).ok(t)
	w.call(nth("ADD", 0).with("new"), conf).ok(t)
	w.call(nth("ADD", 3), conf).fails(t, 11, "has 3 attachments and may have 2")
	if n := w.attachments(); n != 3 {
		t.Errorf("%d attachments, want 3", n)
	}
	if a := w.allocated(); len(a) != 3 {
		t.Errorf("addresses %v, want 3", a)
	}
}

// TestNoLimit: 0 is none, and nothing is counted.
func TestNoLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.nodeFile("agent: {maxAttachments: 0}\n")
	for i := range 3 {
		w.call(nth("ADD", i), w.conf(routedHost)).ok(t)
	}
}

// TestDeviceID: it stands in the value; a repeated ADD and CHECK do not ask for it.
func TestDeviceID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	with := func(id string) string { return w.conf(routedHost, fmt.Sprintf(`"deviceID":%q`, id)) }
	w.call(runtimeOf("ADD"), with("attachment-0007")).ok(t)
	if got := w.hostValue(testContainer, "net1").DeviceID; got != "attachment-0007" {
		t.Errorf("device id %q", got)
	}
	o := w.call(runtimeOf("ADD"), with("attachment-0008")).ok(t)
	w.call(runtimeOf("CHECK"), w.conf(routedHost, `"prevResult":`+o.stdout)).ok(t)
	w.call(runtimeOf("ADD").with("other"), with("a b")).fails(t, 7, `deviceID "a b"`)
	w.call(runtimeOf("DEL"), w.conf(routedHost)).ok(t)
	w.nothingLeft()
}
