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
// The host end's status stays until the agent has removed the attachment. Where
// there is none yet, a Removed one is put in the same transaction, so that an
// agent that did not see the removal finds a witness of it. In the usual case
// the transaction has deletes only, which an etcd that is out of space still
// takes; where such a one refuses the Removed status, the ends go without it.
//
// Where there is no host end to remove, there is no witness, unless the node's
// agent holds attachments that etcd knows nothing of (AgentInfo.Held): this may be
// one.
//
// With ifRev other than 0 only the host end of that revision is removed, as a
// failed ADD withdraws what it wrote; if the host end is another one, nothing is
// removed and the error is ErrConflict.
func (s *Store) Detach(ctx context.Context, l Lookup, ifRev int64) (Detached, error) {
	return s.detach(ctx, removal{what: "detach " + l.String(), l: l, ifRev: ifRev})
}

// DetachHost is Detach of the host end alone. The pod end stays as the claim on
// the attachment's addresses, until they are given back and Detach removes it: who
// ends in between leaves what says that they are still to be given back.
func (s *Store) DetachHost(ctx context.Context, l Lookup, ifRev int64) (Detached, error) {
	return s.detach(ctx, removal{what: "detach the host end of " + l.String(), l: l, ifRev: ifRev, keepPod: true})
}

// removal is one Detach or DetachHost.
type removal struct {
	what    string
	l       Lookup
	ifRev   int64
	keepPod bool
	// silent leaves the witness out.
	silent bool
}

func (s *Store) detach(ctx context.Context, r removal) (Detached, error) {
	if err := r.l.validate(false); err != nil {
		return Detached{}, err
	}
	for try := range detachTries {
		d, done, err := s.detachOnce(ctx, r)
		if errors.Is(err, ErrNoSpace) && d.Existed && !r.silent {
			r.silent = true
			continue
		}
		if err != nil || done {
			return d, err
		}
		if err := pause(ctx, try); err != nil {
			return Detached{}, fmt.Errorf("%s: %w", r.what, err)
		}
	}
	return Detached{}, fmt.Errorf("%s: %w", r.what, ErrConflict)
}

// ends are the two desired values of an attachment, as read for Detach, its
// status, and how many attachments the agent holds.
type ends struct {
	rev     int64
	podID   schema.PodID
	host    *Versioned[schema.HostInterface]
	pod     *Versioned[schema.PodInterface]
	podMine bool
	// neighbor is the key of another interface of the pod, empty where it has
	// none.
	neighbor string
	// podStatus says whether the pod end has a status, podSpeaks whether any of
	// the pod's ends has.
	podStatus, podSpeaks bool
	// podRev is the revision at which the pod's interfaces were read.
	podRev int64
	status *Versioned[schema.InterfaceStatus]
	held   int
}

func (s *Store) detachOnce(ctx context.Context, r removal) (Detached, bool, error) {
	e, err := s.ends(ctx, r.what, r.l)
	if err != nil {
		return Detached{}, false, err
	}
	if r.ifRev != 0 && revOf(e.host) != r.ifRev && e.host != nil {
		return Detached{}, false, fmt.Errorf("%s: the host end is of another ADD: %w", r.what, ErrConflict)
	}
	e.podMine = e.podMine && !r.keepPod
	d := e.detached()
	if !d.Existed && (e.status != nil || e.held == 0) {
		return d, true, nil
	}
	guards, ops, err := s.removal(r.l, e, !r.silent)
	if err != nil {
		return Detached{}, false, fmt.Errorf("%s: %w", r.what, err)
	}
	statusKey := s.keys.HostStatus(r.l.Node, r.l.Container, r.l.IfName)
	switch {
	case e.status != nil:
		guards = append(guards, present(statusKey, "the host end's status went"))
	case (e.host != nil || e.held > 0) && !r.silent:
		w, werr := removed(e.removedRev())
		if werr != nil {
			return Detached{}, false, fmt.Errorf("%s: %w", r.what, werr)
		}
		guards = append(guards, atRev(statusKey, 0, "the host end's status appeared"))
		ops = append(ops, clientv3.OpPut(statusKey, string(w)))
		d.Awaited = true
	}
	resp, err := s.guarded(ctx, r.what, guards, ops)
	if errors.Is(err, ErrConflict) {
		return Detached{}, false, nil
	}
	if err != nil {
		return d, false, err
	}
	d.Rev = resp.Header.GetRevision()
	return d, true, nil
}

// removal deletes what there is of both ends while they are as read.
func (s *Store) removal(l Lookup, e ends, witness bool) ([]guard, []clientv3.Op, error) {
	hostKey := s.keys.Host(l.Node, l.Container, l.IfName)
	guards := []guard{atRev(hostKey, revOf(e.host), "the host end changed")}
	ops := []clientv3.Op{clientv3.OpDelete(hostKey)}
	if e.podID == "" {
		return guards, ops, nil
	}
	podKey := s.keys.PodInterface(l.Node, e.podID, l.IfName)
	guards = append(guards, atRev(podKey, revOf(e.pod), "the pod end changed"))
	if e.podMine {
		ops = append(ops, clientv3.OpDelete(podKey))
		g, rest, err := s.podStatuses(l, e, witness)
		if err != nil {
			return nil, nil, err
		}
		guards, ops = append(guards, g...), append(ops, rest...)
	}
	return guards, ops, nil
}

// detached is what removing e will have removed.
func (e ends) detached() Detached {
	d := Detached{Rev: e.rev, Existed: e.host != nil || e.podMine, Awaited: e.status != nil}
	if e.host != nil && e.host.Err == nil {
		d.Host = &e.host.Value
	}
	if e.podMine && e.pod.Err == nil {
		d.Pod = &e.pod.Value
	}
	return d
}

// removedRev is the revision that the witness of e's removal speaks of.
func (e ends) removedRev() int64 {
	if e.host != nil {
		return e.host.Rev
	}
	return e.rev
}

// removed is the witness of a removal, for the place of a status that is not
// there.
func removed(rev int64) ([]byte, error) {
	return schema.Encode(schema.InterfaceStatus{
		SpecRevision: rev, State: schema.Removed, Reason: schema.ReasonDetached, Since: time.Now().UTC().Truncate(time.Millisecond),
	})
}

// ends reads both ends: in one round trip where l.Pod is the pod that the host
// end names.
func (s *Store) ends(ctx context.Context, what string, l Lookup) (ends, error) {
	ops := []clientv3.Op{
		clientv3.OpGet(s.keys.Host(l.Node, l.Container, l.IfName)),
		clientv3.OpGet(s.keys.HostStatus(l.Node, l.Container, l.IfName)),
	}
	ops = append(ops, clientv3.OpGet(s.keys.Agent(l.Node)))
	if l.Pod != "" {
		ops = append(ops, s.podKeys(l.Node, l.Pod))
	}
	resp, err := s.txn(ctx, what, nil, ops, nil)
	if err != nil {
		return ends{}, err
	}
	e := ends{
		rev: resp.Header.GetRevision(), podID: l.Pod,
		host: got[schema.HostInterface](resp, 0), status: got[schema.InterfaceStatus](resp, 1),
	}
	s.findPod(&e, l, resp, 3)
	if agent := got[schema.AgentInfo](resp, 2); agent != nil {
		e.held = agent.Value.Held
	}
	if named := e.namedPod(); named != "" && named != l.Pod {
		e.podID = named
		resp, err = s.txn(ctx, what, nil, []clientv3.Op{s.podKeys(l.Node, named)}, nil)
		if err != nil {
			return ends{}, err
		}
		s.findPod(&e, l, resp, 0)
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
