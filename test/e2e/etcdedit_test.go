package e2e

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/test/traffic"
)

// hand edits etcd as somebody at etcdctl does.
type hand struct {
	t      *testing.T
	client *clientv3.Client
}

func (c *cluster) hand(t *testing.T) hand {
	t.Helper()
	client, err := c.etcd.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return hand{t, client}
}

func (h hand) put(key, value string) {
	h.t.Helper()
	if _, err := h.client.Put(timeout(h.t), key, value); err != nil {
		h.t.Fatal(err)
	}
}

func (h hand) del(key string) {
	h.t.Helper()
	if _, err := h.client.Delete(timeout(h.t), key); err != nil {
		h.t.Fatal(err)
	}
}

func (h hand) get(key string) string {
	h.t.Helper()
	r, err := h.client.Get(timeout(h.t), key)
	if err != nil || len(r.Kvs) != 1 {
		h.t.Fatalf("get %s: %d values, %v", key, len(r.Kvs), err)
	}
	return string(r.Kvs[0].Value)
}

// awaitState waits until the host end of a pod is where it must be.
func (c *cluster) awaitState(t *testing.T, p pod, state schema.State, words ...string) schema.InterfaceStatus {
	t.Helper()
	var last schema.InterfaceStatus
	eventually(t, "host end "+string(state), func() string {
		v := c.look(t, p)
		if v.HostStatus == nil {
			return "without a status"
		}
		last = v.HostStatus.Value
		current := v.Host != nil && last.SpecRevision == v.Host.Rev
		if !current || last.State != state {
			return string(last.State) + "/" + string(last.Reason) + " " + last.Message
		}
		for _, w := range words {
			if !strings.Contains(last.Message, w) {
				return "saying " + last.Message
			}
		}
		return ""
	})
	return last
}

// TestEditedEtcd has somebody write into etcd by hand, under two streams of
// packets. A value that cannot be understood fails its attachment with the
// reason and cuts nobody, not even its own pod; one that can is followed; keys
// that are nobody's and statuses that were meddled with do no harm.
func TestEditedEtcd(t *testing.T) {
	c := startCluster(t)
	n := c.node(t)
	n.auditOften(t)
	h := c.hand(t)
	neighbor := c.flow(t, n, memifs[2], traffic.Options{})
	f := c.flow(t, n, memifs[0], traffic.Options{})
	victim := f.pods[1]
	key := c.look(t, victim).Host.Key
	status := c.look(t, victim).HostStatus.Key
	good := h.get(key)

	for name, edit := range map[string]struct {
		value, says string
	}{
		"cut short":     {good[:len(good)/2], "EOF"},
		"no JSON":       {"hello", "invalid"},
		"empty":         {"", "empty"},
		"unknown field": {strings.Replace(good, "{", `{"speed":"fast",`, 1), "speed"},
		"bad value":     {strings.Replace(good, `"ifType":"memif"`, `"ifType":"tap"`, 1), "tap"},
		"huge":          {strings.Replace(good, "{", `{"x":"`+strings.Repeat("x", 1<<20)+`",`, 1), "1048"},
	} {
		t.Run(name, func(t *testing.T) {
			by := hand{t, h.client}
			by.put(key, edit.value)
			got := c.awaitState(t, victim, schema.Failed, edit.says)
			if len(got.Message) > 4096 {
				t.Errorf("the status's message has %d bytes", len(got.Message))
			}
			by.put(key, good)
			c.awaitState(t, victim, schema.Ready)
		})
	}
	t.Run("foreign keys", func(t *testing.T) {
		by := hand{t, h.client}
		prefix := strings.SplitAfter(key, "/host/")[0]
		keys := []string{"x", "x/", "/", "x/y/z", "x/a b", "x/..", "../x/net1", "x/averylonginterfacename", "x/\x00"}
		for _, k := range keys {
			by.put(prefix+k, good)
		}
		rest(t, 2*audit)
		if log := n.Agent.LogTail(5000); strings.Count(log, "key ignored") < len(keys) {
			t.Errorf("the agent's log tells of %d keys that are nobody's, want %d", strings.Count(log, "key ignored"), len(keys))
		}
		for _, k := range keys {
			by.del(prefix + k)
		}
	})
	t.Run("status deleted", func(t *testing.T) {
		hand{t, h.client}.del(status)
		c.awaitState(t, victim, schema.Ready)
	})
	t.Run("status written over", func(t *testing.T) {
		for _, scribble := range []string{"{", `{"specRevision":1,"state":"Failed","reason":"Invalid","since":"2020-01-01T00:00:00Z"}`} {
			hand{t, h.client}.put(status, scribble)
			c.awaitState(t, victim, schema.Ready)
		}
	})
	victim.check(t, f.list)
	if r := f.Report(); r.Lost != 0 {
		t.Errorf("the pod whose value was meddled with lost packets: %s", r)
	}
	t.Run("valid change", func(t *testing.T) {
		by := hand{t, h.client}
		v := c.look(t, victim).Host.Value
		mac := strings.Replace(good, v.MAC.String(), "02:00:00:00:00:77", 1)
		by.put(key, mac)
		if s := c.awaitState(t, victim, schema.Ready); s.MAC.String() != "02:00:00:00:00:77" {
			t.Errorf("MAC %s after the change", s.MAC)
		}
		other := strings.NewReplacer(`"domainID":1048576`, `"domainID":77`, `"name":"red"`, `"name":"77"`).Replace(mac)
		if other == mac {
			t.Fatalf("no bridge domain in %s", mac)
		}
		by.put(key, other)
		c.awaitState(t, victim, schema.Ready)
		eventually(t, "VPP to follow", func() string { return n.unmended(t) })
		if !f.cut(t) {
			t.Error("the pod was moved to another bridge domain, and packets still arrive")
		}
		by.put(key, good)
		c.awaitState(t, victim, schema.Ready)
		if err := f.WaitArrival(timeout(t)); err != nil {
			t.Error(err)
		}
	})
	victim.check(t, f.list)
	f.Stop()
	requireNothingLost(t, []*flow{neighbor})
}

// cut says whether nothing arrives any more.
func (f *flow) cut(t *testing.T) bool {
	t.Helper()
	before := f.Report().Received
	rest(t, audit)
	return f.Report().Received == before
}
