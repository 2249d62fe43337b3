package store

import (
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// podInterfaces reads all desired ends of a pod.
func (s *Store) podInterfaces(n schema.Node, p schema.PodID) clientv3.Op {
	return clientv3.OpGet(s.keys.PodPrefix(n, p)+schema.PodInterfacesPrefix, clientv3.WithPrefix())
}

// findPod takes the pod end and one neighbour from podInterfaces' answer.
func (s *Store) findPod(e *ends, l Lookup, resp *clientv3.TxnResponse, i int) {
	e.pod, e.neighbor = nil, ""
	if i >= len(resp.Responses) {
		return
	}
	e.podRev = resp.Header.GetRevision()
	key := s.keys.PodInterface(l.Node, e.podID, l.IfName)
	for _, kv := range resp.Responses[i].GetResponseRange().GetKvs() {
		if string(kv.Key) == key {
			e.pod = versioned[schema.PodInterface](kv)
		} else {
			e.neighbor = string(kv.Key)
		}
	}
}

// podStatuses deletes the statuses of a pod with its last interface: its agent
// ends with it. While the pod has another interface, the status of the one that
// goes is the agent's to delete: an agent that was away when the end was removed
// knows by the status that it was removed, and did not just vanish.
func (s *Store) podStatuses(n schema.Node, e ends) (guard, []clientv3.Op) {
	if e.neighbor != "" {
		return present(e.neighbor, "the pod's other interface went"), nil
	}
	prefix := s.keys.PodPrefix(n, e.podID)
	return unchanged(prefix+schema.PodInterfacesPrefix, e.podRev, "the pod's interfaces changed"),
		[]clientv3.Op{clientv3.OpDelete(prefix+schema.PodStatusPrefix, clientv3.WithPrefix())}
}

// unchanged holds while no key under prefix was written after rev.
func unchanged(prefix string, rev int64, why string) guard {
	return guard{
		cmp: clientv3.Compare(clientv3.ModRevision(prefix), "<", rev+1).WithPrefix(),
		why: why, key: prefix,
		broken: func(int64) bool { return true },
	}
}
