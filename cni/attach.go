package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/failpoint"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// write makes the values and puts both ends in one transaction. What others
// change meanwhile is looked at again.
func (a *adding) write(ctx context.Context) error {
	if a.req.ends.ownSecret {
		a.req.secret = newSecret()
	}
	for try := range attachTries {
		want, err := a.req.build(a.ip)
		if err != nil {
			return a.buildError(err)
		}
		a.want = want
		if err = a.put(ctx); err == nil || a.mine {
			return err
		}
		if !errors.Is(err, store.ErrConflict) {
			a.unknown = errors.Is(err, store.ErrUnavailable)
			a.certain = errors.Is(err, store.ErrNoSpace)
			return storeError("the attachment cannot be written to etcd", errors.Join(context.Cause(ctx), err))
		}
		if err := pause(ctx, try); err != nil {
			return storeError("the attachment cannot be written to etcd", err)
		}
		if err := a.look(ctx); err != nil {
			return err
		}
		if a.view.Host != nil {
			// A concurrent ADD of the same attachment was faster. IPAM knows the
			// addresses by the same names, so they are that one's.
			a.giveBack = false
			return a.adopt()
		}
	}
	return fail(types.ErrTryAgainLater, "the attachment cannot be written to etcd: others change its network all the time", nil)
}

// put is one try at the transaction. Over the node's limit it is an error and the
// keys are there, as this call's: withdraw takes them away.
func (a *adding) put(ctx context.Context) error {
	// A transaction that is given up may still happen, so a signal does not end it;
	// the store's own deadline does.
	failpoint.Hit("add-before-attach")
	rev, err := a.store.AttachWithin(context.WithoutCancel(ctx), a.want, a.view, a.set.limit)
	failpoint.Hit("add-after-attach")
	var full *store.FullError
	switch {
	case errors.As(err, &full):
		a.rev, a.mine = rev, true
		return fullError(full)
	case err == nil:
		a.rev, a.mine = rev, true
	}
	return err
}

// buildError is a configuration that does not fit IPAM's answer, or an answer
// that is of no use.
func (a *adding) buildError(err error) error {
	var field *schema.FieldError
	if a.ip == nil || errors.As(err, &field) && field.Field == "mtu" {
		return invalid(err)
	}
	return a.ipam.error("ADD", errors.Join(errRubbish, err))
}

// join serves an ADD of an attachment that is there: IPAM is not asked again,
// and the answer is the same.
func (a *adding) join(ctx context.Context) error {
	if err := a.adopt(); err != nil {
		return err
	}
	return a.finish(ctx)
}

// adopt takes the stored attachment for this call's, if it is what this call
// would write.
func (a *adding) adopt() error {
	const msg = "the attachment is there already, with other content"
	host, pod := a.view.Host, a.view.Pod
	switch {
	case host.Err != nil:
		return fail(types.ErrInvalidNetworkConfig, msg, host.Err)
	case pod == nil:
		return fail(types.ErrInvalidNetworkConfig, msg, errors.New("the pod's end is missing: run DEL first"))
	case pod.Err != nil:
		return fail(types.ErrInvalidNetworkConfig, msg, pod.Err)
	}
	if d := differences(a.req, host.Value, pod.Value); len(d) > 0 {
		return fail(types.ErrInvalidNetworkConfig, msg, errors.New(strings.Join(d, "; ")))
	}
	a.want = store.Attachment{Node: a.set.node, Container: a.id.container, IfName: a.id.ifName, Host: host.Value, Pod: pod.Value}
	a.rev, a.mine = host.Rev, false
	a.log.WithField("rev", a.rev).Info("attachment was there already")
	return nil
}

// The times after which a failed IPAM ADD looks for a concurrent ADD of the
// same attachment: that one's transaction follows its own IPAM ADD at once.
var otherTimes = []time.Duration{0, 20 * time.Millisecond, 80 * time.Millisecond, 300 * time.Millisecond}

// lookForOther says whether a concurrent ADD of the same attachment has written
// it meanwhile. If etcd does not answer, what IPAM said is the error that
// counts.
func (a *adding) lookForOther(ctx context.Context) bool {
	for _, d := range otherTimes {
		if sleep(ctx, d) != nil {
			return false
		}
		view, err := a.store.Look(ctx, a.lookup(a.id, a.networks(a.req.ends)...))
		if err == nil && view.Host != nil {
			a.view = view
			return true
		}
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// withdraw removes what this call made and returns e with what went wrong
// meanwhile. Addresses are given back only when it is certain that no key says
// or will say that a pod has them: otherwise another pod could get them too. The
// DEL that follows a failed ADD gives them back then.
func (a *adding) withdraw(ctx context.Context, e *types.Error) *types.Error {
	if a.described && a.mine {
		e = withCleanup(e, a.removeInfo(a.want.Pod.Pod.ID))
	}
	if !a.mine && !a.unknown && !a.giveBack {
		return e
	}
	ctx = context.WithoutCancel(ctx)
	err := a.detach(ctx)
	if err == nil && a.unknown && !a.certain {
		err = errors.New("it is not known whether etcd has taken the attachment, or will")
	}
	if err != nil {
		if a.giveBack {
			err = errors.Join(err, errors.New("the addresses stay allocated until DEL"))
		}
		return withCleanup(e, err)
	}
	if !a.giveBack {
		return e
	}
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	failpoint.Hit("withdraw-before-ipam")
	if err := a.ipam.del(ctx); err != nil {
		return withCleanup(e, a.ipam.error("DEL", err))
	}
	return e
}

// The pauses between two tries to ask an etcd that is not available or is changed
// by others: they double, with jitter, so that a thousand calls do not ask it in
// step.
const (
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second
)

func pause(ctx context.Context, try int) error { return sleep(ctx, pauseOf(try)) }

func pauseOf(try int) time.Duration {
	d := min(maxPause, firstPause<<min(try, 10))
	return d/2 + rand.N(d/2) //nolint:gosec // spreading load needs no secrecy
}

// detach removes this call's keys, and waits for the agent to say that VPP's
// part is gone. An etcd that is not available is asked again.
func (a *adding) detach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	for try := 0; ; try++ {
		err := a.detachOnce(ctx)
		if !errors.Is(err, store.ErrUnavailable) || pause(ctx, try) != nil {
			return err
		}
	}
}

func (a *adding) detachOnce(ctx context.Context) error {
	rev := a.rev
	if !a.mine {
		view, err := a.store.Look(ctx, a.lookup(a.id))
		if err != nil || view.Host == nil {
			return err
		}
		if !a.unknown || !a.same(view.Host) {
			a.giveBack = false // it is another call's attachment, with its addresses
			return nil
		}
		a.rev, a.mine, a.unknown = view.Host.Rev, true, false
		rev = a.rev
	}
	d, err := a.store.Detach(ctx, a.lookup(a.id), rev)
	if errors.Is(err, store.ErrConflict) {
		a.giveBack = false // another call made the attachment anew
		return nil
	}
	if err != nil {
		return err
	}
	failpoint.Hit("withdraw-after-detach")
	a.log.WithFields(logrus.Fields{"rev": d.Rev}).Info("attachment withdrawn")
	if d.Awaited {
		a.awaitGone(ctx, a.id)
	}
	return nil
}

// same says whether the host end is the one of a transaction of this call whose
// outcome is not known.
func (a *adding) same(host *store.Versioned[schema.HostInterface]) bool {
	want, err := schema.Encode(a.want.Host)
	return err == nil && bytes.Equal(want, host.Raw)
}
