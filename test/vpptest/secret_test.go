package vpptest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

// TestMemifSecrets: the master asks for its secret and takes no other, and a
// slave tells its own to whoever serves the socket. So an end that is to be
// protected by the secret is the master.
func TestMemifSecrets(t *testing.T) {
	for name, tc := range map[string]struct {
		master, slave string
		links         bool
	}{
		"the same":                    {"a secret", "a secret", true},
		"23 bytes":                    {strings.Repeat("x", 23), strings.Repeat("x", 23), true},
		"none":                        {"", "", true},
		"another":                     {"a secret", "another", false},
		"the first 22 of 23 bytes":    {strings.Repeat("x", 23), strings.Repeat("x", 22), false},
		"missing at the slave":        {"a secret", "", false},
		"nobody asks for the slave's": {"", "a secret", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, pod := vpptest.Start(t), vpptest.Start(t)
			h, p := host.Driver(t), pod.Driver(t)
			sock := host.Socket(t, "p", "net1")
			master := model.Memif{Tag: tagMemif, Socket: sock, Master: true, Secret: model.NewSecret(tc.master)}
			slave := model.Memif{Tag: tagMemif, Socket: sock, Secret: model.NewSecret(tc.slave)}
			vpptest.Put(t, h, master, model.AdminUp{Interface: master.ID()})
			vpptest.Put(t, p, slave, model.AdminUp{Interface: slave.ID()})
			if tc.links {
				waitLink(t, h, true)
				waitLink(t, p, true)
			} else {
				neverLinks(t, h)
			}
		})
	}
}

// TestSecretChanges: a memif with another secret than is wanted is made anew,
// also by a driver that has not made it.
func TestSecretChanges(t *testing.T) {
	host, pod := vpptest.Start(t), vpptest.Start(t)
	h, stop := host.StartDriver(t)
	p := pod.Driver(t)
	sock := host.Socket(t, "p", "net1")
	put := func(secret string) {
		t.Helper()
		slave := model.Memif{Tag: tagMemif, Socket: sock, Secret: model.NewSecret(secret)}
		vpptest.Put(t, p, slave, model.AdminUp{Interface: slave.ID()})
	}
	was := model.Memif{Tag: tagMemif, Socket: sock, Master: true, MAC: macA, Secret: model.NewSecret("was")}
	now := was
	now.Secret = model.NewSecret("now")
	none := was
	none.Secret = model.Secret{}
	vpptest.Put(t, h, was, model.AdminUp{Interface: was.ID()})
	put("was")
	waitLink(t, h, true)
	stop()
	h = host.Driver(t)
	for _, step := range []struct {
		name   string
		want   model.Memif
		others []model.Memif
		slave  string
	}{
		{"another secret", now, []model.Memif{was, none}, "now"},
		{"none", none, []model.Memif{was, now}, ""},
		{"one again", was, []model.Memif{none, now}, "was"},
	} {
		vpptest.Put(t, h, step.want, model.AdminUp{Interface: step.want.ID()})
		have := dump(t, h)[was.ID()]
		if step.want.Compare(have) != model.Same {
			t.Errorf("%s: VPP shows %+v", step.name, have)
		}
		for _, other := range step.others {
			if other.Compare(have) != model.Replace {
				t.Errorf("%s: VPP shows %+v, which passes for %+v", step.name, have, other)
			}
		}
		put(step.slave)
		waitLink(t, p, true)
		waitLink(t, h, true)
	}
}

// TestReclaimMark: a memif that loses its mark or has another one put in its place
// before the driver's eyes gets its own back, and no other's.
func TestReclaimMark(t *testing.T) {
	v := vpptest.Start(t)
	d := v.Driver(t)
	conn := raw(t, v)
	m := model.Memif{Tag: tagMemif, Socket: v.Socket(t, "p", "net1"), Master: true, MAC: macA, Secret: model.NewSecret("one")}
	vpptest.Put(t, d, m, model.AdminUp{Interface: m.ID()})
	slave := model.Memif{Tag: tagMemif, Socket: m.Socket, Secret: m.Secret}
	vpptest.Put(t, vpptest.Start(t).Driver(t), slave, model.AdminUp{Interface: slave.ID()})
	waitLink(t, d, true) // else no mark is enough to have it made anew
	at := indexOf(t, conn, string(m.Tag))
	label := model.Label(m)
	for _, lost := range []string{string(m.Tag), string(m.Tag) + "#AAAAAAAAAAA", "somebody's"} {
		for range 2 { // dumps that only look
			same(t, d, model.Socket{Path: m.Socket}, m, model.AdminUp{Interface: m.ID()})
		}
		expect(t, "tag", setTag(t, conn, at, lost), 0)
		for range 2 {
			if err := d.RefreshInterfaces(deadline(t)); err != nil {
				t.Fatal(err)
			}
			if have := dump(t, d)[m.ID()]; have != nil && m.Compare(have) != model.Replace {
				t.Errorf("with the tag %q: %+v is taken for what is wanted", lost, have)
			}
		}
		if got := d.Reclaim(deadline(t), []model.Object{m}); len(got) != 1 {
			t.Errorf("with the tag %q: reclaimed %v", lost, got)
		}
		if now := indexOf(t, conn, string(m.Tag)); now != at {
			t.Errorf("with the tag %q: made anew", lost)
		}
		same(t, d, model.Socket{Path: m.Socket}, m, model.AdminUp{Interface: m.ID()})
	}
	// A memif made anew at the same place has nothing of the one before.
	expect(t, "tag", setTag(t, conn, at, "somebody's"), 0)
	dump(t, d)
	other := m
	other.Secret = model.NewSecret("two")
	vpptest.Put(t, d, other)
	if now := indexOf(t, conn, string(m.Tag)); now != at {
		t.Logf("made anew at %d, was at %d", now, at)
	}
	dump(t, d)
	d.Reclaim(deadline(t), []model.Object{m})
	if have := dump(t, d)[m.ID()]; m.Compare(have) != model.Replace || other.Compare(have) != model.Same {
		t.Errorf("a memif with another secret got the mark %q of one that was there before: %+v", label, have)
	}
}

// TestMemifOfAnOlderAgent: a memif that bears no mark stays while it has a peer.
// Without one it stays where no secret is wanted, and is else made anew.
func TestMemifOfAnOlderAgent(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	const old = "vpp-cni/net1/0123456789ab~a8ae6e6ee929abea3afcfc5258"
	tag := model.AttachmentTag("net1", id)
	host, pod := vpptest.Start(t), vpptest.Start(t)
	first, stop := host.StartDriver(t)
	sock := host.Socket(t, "p", "net1")
	want := model.Memif{Tag: tag, Socket: sock, Master: true, MAC: macA, Secret: model.NewSecret("secret")}
	none := want
	none.Secret = model.Secret{}
	sub := model.SubInterface{Tag: model.SubTag(tag, 5), Parent: want.ID(), VLAN: 5, Popped: true}
	vpptest.Put(t, first, want, sub, model.AdminUp{Interface: want.ID()})
	conn := raw(t, host)
	at, subAt := indexOf(t, conn, string(tag)), index(0)
	if s, ok := first.Interface(sub.Tag); ok {
		subAt = index(s.SwIfIndex)
	}
	stop()
	expect(t, "old tag", setTag(t, conn, at, old), 0)
	expect(t, "old tag of the sub-interface", setTag(t, conn, subAt, old+".5"), 0)

	d := host.Driver(t)
	check := func(when string, changes map[model.Object]model.Change) {
		t.Helper()
		found := dump(t, d)
		for o, change := range changes {
			have := found[o.ID()]
			if have == nil {
				t.Fatalf("%s: %s is not found", when, o.ID())
			}
			if got := o.Compare(have); got != change {
				t.Errorf("%s: comparing %s gives %d, want %d", when, o.ID(), got, change)
			}
		}
	}
	check("without a peer", map[model.Object]model.Change{want: model.Replace, none: model.Same, sub: model.Same})
	p := pod.Driver(t)
	slave := model.Memif{Tag: tagMemif, Socket: sock, Secret: want.Secret}
	vpptest.Put(t, p, slave, model.AdminUp{Interface: slave.ID()})
	waitLink(t, p, true)
	check("with a peer", map[model.Object]model.Change{want: model.Same, none: model.Same, sub: model.Same})
	if err := p.Delete(deadline(t), slave); err != nil {
		t.Fatal(err)
	}
	vpptest.Eventually(t, linkTime, func() error {
		if err := d.RefreshInterfaces(deadline(t)); err != nil {
			return err
		}
		if s, ok := d.Interface(tag); !ok || s.LinkUp {
			return fmt.Errorf("link is %v, known %v", s.LinkUp, ok)
		}
		return nil
	})
	check("without a peer again", map[model.Object]model.Change{want: model.Replace})
}
