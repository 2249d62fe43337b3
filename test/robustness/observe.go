package robustness

import (
	"context"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

const (
	// watchEvery is how often the world is looked at all along.
	watchEvery = 250 * time.Millisecond
	// truthBound is how long a status may say Ready of an interface that is not
	// there, while agent, VPP and etcd all work. The agents' audit runs every 2 s;
	// that etcd was restored is seen after three silent intervals of 5 s, and
	// believed after one more.
	truthBound = 60 * time.Second
)

// observer checks what must hold at any time.
type observer struct {
	w *world
	// untrue are the statuses that say Ready of what is not there, since when.
	untrue map[string]time.Time
}

// watch looks at the world until ctx ends.
func (w *world) watch(ctx context.Context) {
	o := &observer{w: w, untrue: map[string]time.Time{}}
	for ctx.Err() == nil {
		for _, v := range o.look(ctx) {
			w.fail(v)
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchEvery):
		}
	}
}

func (o *observer) look(ctx context.Context) (b broken) {
	stranger := o.w.strangerLife.Load()
	before := o.w.model.steady()
	v, err := o.w.eye.interfaces(ctx)
	if err != nil {
		return nil // VPP is down or hangs
	}
	b = o.w.model.compare(before, v)
	if stranger != 0 && stranger == o.w.strangerLife.Load() && int(stranger) == o.w.model.lives() {
		b = append(b, o.w.stranger.quick(v)...)
	}
	return append(b, o.statuses(ctx)...)
}

// steadiness is the attachments that must not move, in one life of VPP.
type steadiness struct {
	life        int
	attachments []*attachment
}

// steady lists the attachments that must be in VPP, or come back into it.
func (m *model) steady() steadiness {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := steadiness{life: m.life}
	for _, a := range m.attachments {
		if a.state == attached && !a.edited {
			s.attachments = append(s.attachments, a)
		}
	}
	return s
}

// compare says which attachments that were steady before v and are so after it
// lost their interface.
func (m *model) compare(before steadiness, v view) (b broken) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.life != before.life {
		return nil
	}
	for _, a := range before.attachments {
		if m.attachments[a.key] != a || a.state != attached || a.edited {
			continue
		}
		found := v.tagged(a.tag())
		switch {
		case len(found) == 0 && (a.seen.life == m.life || a.life == m.life):
			b.add(errNoWrongDelete, []string{a.owner.name}, "%s of %s (%s) has no interface any more, it was %d", a.key, a.owner.name, a.network.name, a.seen.index)
		case len(found) > 0 && a.seen.life == m.life && found[0].index != a.seen.index:
			b.add(errNoWrongDelete, []string{a.owner.name}, "%s of %s (%s) has interface %d, it was %d", a.key, a.owner.name, a.network.name, found[0].index, a.seen.index)
		case len(found) > 0:
			a.seen = sighting{life: m.life, index: found[0].index}
		}
	}
	return b
}

// statuses looks for statuses that say Ready of what VPP does not hold for too
// long. Time counts only while nothing is down.
func (o *observer) statuses(ctx context.Context) (b broken) {
	if o.w.down.Load() > 0 {
		clear(o.untrue)
		return nil
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	resp, err := o.w.client.Get(ctx, o.w.keys.HostStatusPrefix(nodeName), clientv3.WithPrefix())
	if err != nil {
		return nil
	}
	v, err := o.w.eye.interfaces(ctx)
	if err != nil {
		return nil
	}
	untrue := map[string]time.Time{}
	for _, kv := range resp.Kvs {
		st, err := schema.Decode[schema.InterfaceStatus](kv.Value)
		if err != nil || st.State != schema.Ready || st.SwIfIndex == nil {
			continue
		}
		key := string(kv.Key)
		if i, ok := v.index(*st.SwIfIndex); ok && strings.HasPrefix(i.tag, ours) && i.name == st.Interface {
			continue
		}
		untrue[key] = begin
		if since, ok := o.untrue[key]; ok {
			untrue[key] = since
		}
		if time.Since(untrue[key]) > truthBound && o.w.down.Load() == 0 {
			b.add(errStatusTruth, nil, "%s says Ready of %s (%d) for %s, VPP holds no such interface:\n%s", key, st.Interface, *st.SwIfIndex, truthBound, v.text())
		}
	}
	o.untrue = untrue
	return b
}
