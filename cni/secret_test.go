package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema"
)

// secretHost is routedHost with a memif section.
func secretHost(memif string) string {
	return `"host":{"iftype":"memif","netType":"interface","memif":{` + memif + `}}`
}

// secretOf is the secret of both ends, which must be one.
func (w *world) secretOf(container, pod string) schema.Secret {
	w.t.Helper()
	host, end := w.hostValue(container, "net1").Memif.Secret, w.podValue(pod, "net1").Memif.Secret
	if host != end {
		w.t.Error("the two ends have different secrets")
	}
	return host
}

func TestNewSecret(t *testing.T) {
	t.Parallel()
	plain := regexp.MustCompile(`^[A-Za-z0-9_.]{23}$`)
	seen := map[schema.Secret]bool{}
	letters := map[rune]bool{}
	for range 1000 {
		s := newSecret()
		if seen[s] || !plain.MatchString(s.Reveal()) || schema.CheckSecret("secret", s) != nil {
			t.Fatalf("secret of %d bytes, twice: %v", len(s.Reveal()), seen[s])
		}
		seen[s] = true
		for _, r := range s.Reveal() {
			letters[r] = true
		}
	}
	if len(letters) != 64 {
		t.Errorf("%d letters come up, want 64", len(letters))
	}
}

// TestOwnSecret: an attachment has a secret of its own, the same at both ends,
// for as long as it lives.
func TestOwnSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"), `"logLevel":"trace"`)
	first := w.call(runtimeOf("ADD").saying(ofPod("u1")), conf).ok(t)
	before, own := w.stored(), w.secretOf(testContainer, "u1")
	if len(own.Reveal()) != schema.MaxSecret {
		t.Errorf("the secret has %d bytes", len(own.Reveal()))
	}
	again := w.call(runtimeOf("ADD").saying(ofPod("u1")), conf).ok(t)
	if d := cmp.Diff(before, w.stored()); d != "" {
		t.Error("a repeated ADD changed keys")
	}
	check := w.call(runtimeOf("CHECK").saying(ofPod("u1")), w.conf(routedHost, w.hostLocal("host-local"), `"prevResult":`+first.stdout)).ok(t)

	w.call(runtimeOf("ADD").with("other").saying(ofPod("u2")), conf).ok(t)
	other := w.secretOf("other", "u2")
	w.call(runtimeOf("ADD").with("renewed").saying(ofPod("u1")), conf).ok(t)
	renewed := w.secretOf("renewed", "u1")
	w.call(runtimeOf("DEL").with("other").saying(ofPod("u2")), conf).ok(t)
	w.call(runtimeOf("ADD").with("other").saying(ofPod("u2")), conf).ok(t)
	anew := w.secretOf("other", "u2")
	seen := map[schema.Secret]bool{own: true, other: true, renewed: true, anew: true}
	if len(seen) != 4 {
		t.Errorf("%d different secrets of 4 attachments", len(seen))
	}
	for s := range seen {
		for _, o := range []outcome{first, again, check} {
			if strings.Contains(o.stdout+o.stderr, s.Reveal()) {
				t.Error("an answer or a log holds a secret")
			}
		}
	}
	w.call(runtimeOf("DEL").with("other").saying(ofPod("u2")), conf).ok(t)
	w.call(runtimeOf("DEL").with("renewed").saying(ofPod("u1")), conf).ok(t)
	w.nothingLeft()
}

// TestGivenSecret: a secret that the configuration gives is used, at either end,
// and "none" is none. An attachment keeps the one that it has.
func TestGivenSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n, tc := range []struct{ conf, want string }{
		{secretHost(`"secret":"givenAtTheHost"`), "givenAtTheHost"},
		{secretHost("") + `,"container":{"memif":{"secret":"givenAtThePod"}}`, "givenAtThePod"},
		{secretHost(`"secret":"none"`), ""},
		{secretHost("") + `,"container":{"memif":{"secret":"none"}}`, ""},
	} {
		container, pod := fmt.Sprint("c", n), fmt.Sprint("u", n)
		run := func(verb string) runtimeCall { return runtimeOf(verb).with(container).saying(ofPod(pod)) }
		o := w.call(run("ADD"), w.conf(tc.conf)).ok(t)
		if w.secretOf(container, pod).Reveal() != tc.want {
			t.Errorf("%s: another secret is stored", tc.conf)
		}
		w.call(run("ADD"), w.conf(tc.conf)).ok(t)
		w.call(run("CHECK"), w.conf(tc.conf, `"prevResult":`+o.stdout)).ok(t)
		other := w.conf(secretHost(`"secret":"anotherOne"`), `"prevResult":`+o.stdout)
		for _, verb := range []string{"ADD", "CHECK"} {
			o := w.call(run(verb), other).fails(t, 7, "host.memif.secret differs", "pod.memif.secret differs")
			if text := o.stdout + o.stderr; strings.Contains(text, "anotherOne") || tc.want != "" && strings.Contains(text, tc.want) {
				t.Errorf("the error shows a secret:\n%s", text)
			}
		}
		w.call(run("DEL"), w.conf(tc.conf)).ok(t)
	}
	w.nothingLeft()
}

// TestSecretChangedByHand: CHECK and ADD want one secret at both ends, and take
// an attachment that an older version made without one.
func TestSecretChangedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.call(runtimeOf("ADD").saying(ofPod("u1")), w.conf(routedHost)).ok(t)
	good := w.conf(routedHost, `"prevResult":`+o.stdout)
	host, pod := "nodes/node-1/host/"+testContainer+"/net1", "nodes/node-1/pods/u1/interfaces/net1"
	own := w.secretOf(testContainer, "u1").Reveal()
	edit := func(key, secret string) {
		w.put(key, strings.Replace(w.stored()[key], `"secret":"`+own+`"`, secret, 1))
	}
	edit(pod, `"secret":"elsewhere"`)
	for _, verb := range []string{"ADD", "CHECK"} {
		out := w.call(runtimeOf(verb).saying(ofPod("u1")), good).fails(t, 7, "pod.memif.secret differs")
		if strings.Contains(out.stdout+out.stderr, own) || strings.Contains(out.stdout+out.stderr, "elsewhere") {
			t.Error("the error shows a secret")
		}
	}
	own = "elsewhere"
	edit(pod, `"secret":""`) // as if it was absent
	own = w.hostValue(testContainer, "net1").Memif.Secret.Reveal()
	edit(host, `"secret":""`)
	w.eventually("the status speaks of the edited value", func() bool {
		return w.call(runtimeOf("CHECK").saying(ofPod("u1")), good).exit == 0
	})
	w.call(runtimeOf("ADD").saying(ofPod("u1")), good).ok(t)
	w.call(runtimeOf("DEL").saying(ofPod("u1")), w.conf(routedHost)).ok(t)
	w.nothingLeft()
}
