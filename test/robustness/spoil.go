package robustness

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// etcdTimeout bounds one call of the run's own.
const etcdTimeout = 5 * time.Second

// spoilt is a desired value that was made unreadable.
type spoilt struct {
	a         *attachment
	key       string
	statusKey string
	// before is what stood there, after what stands there now.
	before, after string
	// rev is the spoilt value's revision.
	rev  int64
	want schema.Reason
	// pods is true where the pod's own end is spoilt, which the pod's agent alone
	// can call Failed.
	pods bool
}

// spoil makes the desired value of a host end, or of the end of a pod with an
// agent, unreadable: it is no JSON any more, or has a field of a newer version.
func spoil(w *world, f fault) error {
	a := w.victim(f, func(a *attachment) bool { return !a.unreadable })
	if a == nil {
		return nil
	}
	node := schema.Node(nodeName)
	s := &spoilt{
		a: a, want: schema.ReasonUnknownField,
		key:       w.keys.Host(node, schema.ContainerID(a.key.container), schema.IfName(a.key.ifname)),
		statusKey: w.keys.HostStatus(node, schema.ContainerID(a.key.container), schema.IfName(a.key.ifname)),
	}
	junk := f.Target/7%2 == 0
	if a.owner.heavy && f.Target/14%3 == 0 {
		junk, s.pods = false, true
		s.key = w.keys.PodInterface(node, schema.PodID(a.uid), schema.IfName(a.key.ifname))
		s.statusKey = w.keys.PodStatus(node, schema.PodID(a.uid), schema.IfName(a.key.ifname))
	}
	ctx, cancel := context.WithTimeout(w.ctx, etcdTimeout)
	defer cancel()
	resp, err := w.client.Get(ctx, s.key)
	if err != nil || len(resp.Kvs) == 0 {
		return nil // etcd is down, or it is just being removed: no edit
	}
	s.before = string(resp.Kvs[0].Value)
	s.after = strings.TrimSuffix(strings.TrimSpace(s.before), "}") + `,"newer":1}`
	if junk {
		s.after, s.want = s.before[:len(s.before)/2], schema.ReasonInvalid
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.model.spoil(a, true)
	put, err := w.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(s.key), "=", resp.Kvs[0].ModRevision)).
		Then(clientv3.OpPut(s.key, s.after)).Commit()
	w.history.add(a.owner.name, "FAULT %s %s (%s): %s", f.Name, s.key, s.want, outcome(err))
	if err != nil || !put.Succeeded {
		// Not known, or not done: what stands is what was written there.
		if err == nil {
			w.model.spoil(a, false)
			return nil
		}
	} else {
		s.rev = put.Header.GetRevision()
	}
	w.spoilt[s.key] = s
	return nil
}

// shown waits until the statuses of the values that are spoilt say so.
func (w *world) shown() broken {
	w.mu.Lock()
	defer w.mu.Unlock()
	deadline := time.Now().Add(convergeBound)
	for {
		var b broken
		for _, key := range slices.Sorted(maps.Keys(w.spoilt)) {
			s := w.spoilt[key]
			if s.pods && s.a.owner.sandbox.UID != s.a.uid {
				continue // the pod has ended: no agent is left to call the value Failed
			}
			if got := w.statusOf(s); got != "" {
				b.add(errBadValueShown, []string{s.a.owner.name}, "%s: %s, not %s (%s)", key, got, schema.Failed, s.want)
			}
		}
		if len(b) == 0 || time.Now().After(deadline) || w.ctx.Err() != nil {
			return b
		}
		w.sleep(100 * time.Millisecond)
	}
}

// statusOf says what the status of a spoilt value says instead of that; empty
// where all is well, or the value does not stand.
func (w *world) statusOf(s *spoilt) string {
	ctx, cancel := context.WithTimeout(w.ctx, etcdTimeout)
	defer cancel()
	resp, err := w.client.Txn(ctx).Then(clientv3.OpGet(s.key), clientv3.OpGet(s.statusKey)).Commit()
	if err != nil {
		return err.Error()
	}
	values := resp.Responses[0].GetResponseRange().GetKvs()
	if len(values) == 0 || values[0].ModRevision != s.rev {
		return ""
	}
	statuses := resp.Responses[1].GetResponseRange().GetKvs()
	if len(statuses) == 0 {
		return "no status"
	}
	st, err := schema.Decode[schema.InterfaceStatus](statuses[0].Value)
	switch {
	case err != nil:
		return err.Error()
	case st.State != schema.Failed || st.Reason != s.want || st.SpecRevision != s.rev || st.Message == "":
		return fmt.Sprintf("%s (%s) %q of revision %d", st.State, st.Reason, st.Message, st.SpecRevision)
	}
	return ""
}

// mend puts the spoilt values back as they were, where they still stand, as the
// operator does who has seen the statuses.
func (w *world) mend() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, s := range w.spoilt {
		ctx, cancel := context.WithTimeout(w.ctx, etcdTimeout)
		resp, err := w.client.Get(ctx, key)
		if err == nil && len(resp.Kvs) > 0 && string(resp.Kvs[0].Value) == s.after {
			_, err = w.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", resp.Kvs[0].ModRevision)).
				Then(clientv3.OpPut(key, s.before)).Commit()
			w.history.add(s.a.owner.name, "mended %s: %s", key, outcome(err))
		}
		cancel()
		if err != nil {
			return fmt.Errorf("mend %s: %w", key, err)
		}
		w.model.spoil(s.a, false)
		delete(w.spoilt, key)
	}
	for key := range w.planted {
		ctx, cancel := context.WithTimeout(w.ctx, etcdTimeout)
		_, err := w.client.Delete(ctx, key)
		cancel()
		if err != nil {
			return fmt.Errorf("remove %s: %w", key, err)
		}
		delete(w.planted, key)
	}
	return nil
}

// deleteStatus deletes the status of a host end.
func deleteStatus(w *world, f fault) error {
	a := w.victim(f, anyAttachment)
	if a == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.ctx, etcdTimeout)
	defer cancel()
	_, err := w.client.Delete(ctx, w.keys.HostStatus(nodeName, schema.ContainerID(a.key.container), schema.IfName(a.key.ifname)))
	w.history.add(a.owner.name, "FAULT %s %s: %s", f.Name, a.key, outcome(err))
	return nil
}

// plant puts keys that nobody of ours has written under the prefixes that the
// agents read: names that cannot be, and a node whose name begins with ours.
func plant(w *world, f fault) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	pod := w.pods[int(f.Target)%len(w.pods)]
	ctx, cancel := context.WithTimeout(w.ctx, etcdTimeout)
	defer cancel()
	root := w.keys.NodePrefix(nodeName)
	for _, key := range []string{
		root + "host/garbage", root + "host/" + pod.sandbox.Container + "/net1/more", root + "host//", root + "other",
		root + "pods/" + pod.sandbox.UID + "/interfaces/no such name", w.keys.Host(nodeName+"0", "other-node", "net1"),
		w.keys.Root() + "unheard/of",
	} {
		w.planted[key] = true
		if _, err := w.client.Put(ctx, key, "what is this"); err != nil {
			break
		}
	}
	w.history.add(everything, "FAULT %s", f.Name)
	return nil
}
