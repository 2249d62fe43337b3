package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// ofItsOwn is an attachment of a pod of its own.
func ofItsOwn(i int) store.Attachment {
	a := attachment(schema.ContainerID(fmt.Sprintf("c%d", i)))
	a.Host.Pod.ID = schema.PodID(fmt.Sprintf("own%d", i))
	a.Pod.Pod.ID = a.Host.Pod.ID
	return a
}

// TestAttachWithinAtOnce: etcd's order decides who is within the limit. Nobody
// withdraws here, so exactly the first ten are.
func TestAttachWithinAtOnce(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	// What is not this node's, and what is no desired host end.
	e.put(e.store.Keys().Host("node-10", "c1", ifname), "{}")
	e.put(e.store.Keys().HostStatus(node, "c1", ifname), "{}")
	const n, limit = 32, 10
	revs, errs := make([]int64, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { revs[i], errs[i] = e.store.AttachWithin(e.ctx, ofItsOwn(i), store.View{}, limit) })
	}
	wg.Wait()
	won, last, first := 0, int64(0), int64(1<<62)
	for i, err := range errs {
		var full *store.FullError
		switch {
		case err == nil:
			won, last = won+1, max(last, revs[i])
		case errors.As(err, &full) && full.Limit == limit && full.Attachments >= limit && full.Node == node:
			first = min(first, revs[i])
		default:
			t.Errorf("attach %d: %v", i, err)
		}
	}
	if won != limit || last > first {
		t.Errorf("%d are within the limit, the last at revision %d, the first over it at %d", won, last, first)
	}
}

func TestAttachWithinTakesOver(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(e *env)
		full    bool
	}{
		{"the old sandbox's ends are there", func(*env) {}, false},
		{"the limit was lowered meanwhile", func(e *env) {
			for i := range 3 {
				_, err := e.store.Attach(e.ctx, ofItsOwn(100+i), store.View{})
				is(t, err, nil)
			}
		}, false},
		{"only the old sandbox's pod end is there", func(e *env) {
			e.remove(e.store.Keys().Host(node, "old", ifname))
			_, err := e.store.Attach(e.ctx, ofItsOwn(100), store.View{})
			is(t, err, nil)
			_, err = e.store.Attach(e.ctx, ofItsOwn(101), store.View{})
			is(t, err, nil)
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t, etcdtest.Options{})
			e.announce(node)
			e.attach("old")
			_, err := e.store.Attach(e.ctx, ofItsOwn(1), store.View{})
			is(t, err, nil)
			tt.prepare(e)
			_, err = e.store.AttachWithin(e.ctx, attachment("new"), e.look("new"), 2)
			var full *store.FullError
			if errors.As(err, &full) != tt.full {
				t.Errorf("error %v, want full: %v", err, tt.full)
			}
		})
	}
}

func TestLookCounts(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	e.announce(node)
	for i := range 3 {
		_, err := e.store.Attach(e.ctx, ofItsOwn(i), store.View{})
		is(t, err, nil)
	}
	e.put(e.store.Keys().Host("node-10", "c1", ifname), "{}")
	e.put(e.store.Keys().HostStatus(node, "c1", ifname), "{}")
	l := lookup("c9", "p9")
	l.Networks = []schema.NetworkName{"blue"}
	for count, want := range map[bool]int64{false: 0, true: 3} {
		l.Count = count
		v, err := e.store.Look(e.ctx, l)
		is(t, err, nil)
		if v.Attachments != want {
			t.Errorf("Count %v: %d attachments, want %d", count, v.Attachments, want)
		}
	}
}
