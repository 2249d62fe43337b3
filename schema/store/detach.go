package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/schema"
)

// detachTries bounds the rounds of Detach. A round is lost only when another
// ADD or DEL of the same pod and interface came between.
const detachTries = 8

// Detach removes the host end, and the pod end with its status if it is this
// container's, in one transaction. The pod is the one that the host end names,
// else l.Pod. Missing anything is no error.
//
// With ifRev other than 0 only the host end of that revision is removed, as a
// failed ADD withdraws what it wrote; if the host end is another one, nothing is
// removed and the error is ErrConflict.
func (s *Store) Detach(ctx context.Context, l Lookup, ifRev int64) (Detached, error) {
	if err := l.validate(false); err != nil {
		return Detached{}, err
	}
	what := "detach " + l.String()
	for try := range detachTries {
		d, done, err := s.detachOnce(ctx, what, l, ifRev)
		if err != nil || done {
			return d, err
		}
		if err := pause(ctx, try); err != nil {
			return Detached{}, fmt.Errorf("%s: %w", what, err)
		}
	}
	return Detached{}, fmt.Errorf("%s: %w", what, ErrConflict)
}

// ends are the two desired values of an attachment, as read for Detach.
type ends struct {
	rev     int64
	podID   schema.PodID
	host    *Versioned[schema.HostInterface]
	pod     *Versioned[schema.PodInterface]
	podMine bool
	status  *Versioned[schema.InterfaceStatus]
}

func (s *Store) detachOnce(ctx context.Context, what string, l Lookup, ifRev int64) (Detached, bool, error) {
	e, err := s.ends(ctx, what, l)
	if err != nil {
		return Detached{}, false, err
	}
	if ifRev != 0 && revOf(e.host) != ifRev && e.host != nil {
		return Detached{}, false, fmt.Errorf("%s: the host end is of another ADD: %w", what, ErrConflict)
	}
	if e.host == nil && !e.podMine {
		return Detached{Rev: e.rev, HostStatus: e.status}, true, nil
	}
	hostKey := s.keys.Host(l.Node, l.Container, l.IfName)
	guards := []guard{atRev(hostKey, revOf(e.host), "the host end changed")}
	ops := []clientv3.Op{clientv3.OpDelete(hostKey)}
	if e.podID != "" {
		podKey := s.keys.PodInterface(l.Node, e.podID, l.IfName)
		guards = append(guards, atRev(podKey, revOf(e.pod), "the pod end changed"))
		if e.podMine {
			ops = append(ops, clientv3.OpDelete(podKey), clientv3.OpDelete(s.keys.PodStatus(l.Node, e.podID, l.IfName)))
		}
	}
	// The status as of this very revision: the agent writes no other one after.
	ops = append(ops, clientv3.OpGet(s.keys.HostStatus(l.Node, l.Container, l.IfName)))
	resp, err := s.guarded(ctx, what, guards, ops)
	if errors.Is(err, ErrConflict) {
		return Detached{}, false, nil
	}
	if err != nil {
		return Detached{}, false, err
	}
	d := e.detached(resp.Header.GetRevision())
	d.HostStatus = got[schema.InterfaceStatus](resp, len(ops)-1)
	return d, true, nil
}

func (e ends) detached(rev int64) Detached {
	d := Detached{Rev: rev, Existed: true}
	if e.host != nil && e.host.Err == nil {
		d.Host = &e.host.Value
	}
	if e.podMine && e.pod.Err == nil {
		d.Pod = &e.pod.Value
	}
	return d
}

// ends reads both ends: in one round trip where l.Pod is the pod that the host
// end names.
func (s *Store) ends(ctx context.Context, what string, l Lookup) (ends, error) {
	ops := []clientv3.Op{
		clientv3.OpGet(s.keys.Host(l.Node, l.Container, l.IfName)),
		clientv3.OpGet(s.keys.HostStatus(l.Node, l.Container, l.IfName)),
	}
	if l.Pod != "" {
		ops = append(ops, clientv3.OpGet(s.keys.PodInterface(l.Node, l.Pod, l.IfName)))
	}
	resp, err := s.txn(ctx, what, nil, ops, nil)
	if err != nil {
		return ends{}, err
	}
	e := ends{
		rev: resp.Header.GetRevision(), podID: l.Pod,
		host: got[schema.HostInterface](resp, 0), status: got[schema.InterfaceStatus](resp, 1), pod: got[schema.PodInterface](resp, 2),
	}
	if named := e.namedPod(); named != "" && named != l.Pod {
		e.podID = named
		resp, err = s.txn(ctx, what, nil, []clientv3.Op{clientv3.OpGet(s.keys.PodInterface(l.Node, named, l.IfName))}, nil)
		if err != nil {
			return ends{}, err
		}
		e.pod = got[schema.PodInterface](resp, 0)
	}
	e.podMine = e.pod != nil && owner(e.pod.Raw).Container == l.Container
	return e, nil
}

// namedPod is the pod that the host end names; empty where it does not.
func (e ends) namedPod() schema.PodID {
	if e.host == nil {
		return ""
	}
	id := owner(e.host.Raw).Pod.ID
	if id.Validate() != nil {
		return ""
	}
	return id
}

// ownership is what DEL needs of a value. It is read even where the rest is a
// newer version's: removing needs no understanding of what is removed.
type ownership struct {
	Container schema.ContainerID `json:"container"`
	Pod       struct {
		ID schema.PodID `json:"id"`
	} `json:"pod"`
}

func owner(raw []byte) ownership {
	var o ownership
	if err := json.Unmarshal(raw, &o); err != nil {
		return ownership{}
	}
	return o
}

// pause waits before a lost round is played again: a few milliseconds, growing,
// with jitter.
func pause(ctx context.Context, try int) error {
	return sleep(ctx, jitter(growing(try, 2*time.Millisecond, 100*time.Millisecond)))
}
