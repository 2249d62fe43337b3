package store

import (
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// podKeys reads all that there is of a pod: desired ends and statuses.
func (s *Store) podKeys(n schema.Node, p schema.PodID) clientv3.Op {
	return clientv3.OpGet(s.keys.PodPrefix(n, p), clientv3.WithPrefix())
}

// findPod takes the pod end, one neighbour, and whether there are statuses, from
// podKeys' answer.
func (s *Store) findPod(e *ends, l Lookup, resp *clientv3.TxnResponse, i int) {
	e.pod, e.neighbor, e.podStatus, e.podSpeaks = nil, "", false, false
	if i >= len(resp.Responses) {
		return
	}
	e.podRev = resp.Header.GetRevision()
	key, status := s.keys.PodInterface(l.Node, e.podID, l.IfName), s.keys.PodStatus(l.Node, e.podID, l.IfName)
	statuses := s.keys.PodPrefix(l.Node, e.podID) + schema.PodStatusPrefix
	for _, kv := range resp.Responses[i].GetResponseRange().GetKvs() {
		switch k := string(kv.Key); {
		case k == key:
			e.pod = versioned[schema.PodInterface](kv)
		case strings.HasPrefix(k, statuses):
			e.podStatus, e.podSpeaks = e.podStatus || k == status, true
		default:
			// A key that nobody of ours has written is no interface.
			if ref, err := s.keys.Parse(k); err == nil && ref.Kind == schema.KeyPodInterface {
				e.neighbor = k
			}
		}
	}
}

// podStatuses deletes the statuses of a pod with its last interface: its agent
// ends with it. While the pod has another interface, the status of the one that
// goes is the agent's to delete: an agent that was away when the end was removed
// knows by the status that it was removed, and did not just vanish. Where there
// is none yet, one is put there for a witness, if the pod has an agent: one that
// has said something of another interface.
func (s *Store) podStatuses(l Lookup, e ends, witness bool) ([]guard, []clientv3.Op, error) {
	prefix := s.keys.PodPrefix(l.Node, e.podID)
	if e.neighbor == "" {
		return []guard{unchanged(prefix+schema.PodInterfacesPrefix, e.podRev, "the pod's interfaces changed")},
			[]clientv3.Op{clientv3.OpDelete(prefix+schema.PodStatusPrefix, clientv3.WithPrefix())}, nil
	}
	guards := []guard{present(e.neighbor, "the pod's other interface went")}
	key := s.keys.PodStatus(l.Node, e.podID, l.IfName)
	switch {
	case e.podStatus:
		return append(guards, present(key, "the pod end's status went")), nil, nil
	case !witness || !e.podSpeaks:
		return guards, nil, nil
	}
	w, err := removed(e.pod.Rev)
	if err != nil {
		return nil, nil, err
	}
	return append(guards, atRev(key, 0, "the pod end's status appeared")), []clientv3.Op{clientv3.OpPut(key, string(w))}, nil
}

// unchanged holds while no key under prefix was written after rev.
func unchanged(prefix string, rev int64, why string) guard {
	return guard{
		cmp: clientv3.Compare(clientv3.ModRevision(prefix), "<", rev+1).WithPrefix(),
		why: why, key: prefix,
		broken: func(int64) bool { return true },
	}
}
