package robustness

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The invariants. Each violation wraps one of them.
var (
	// errConverges is checked at quiescence.
	errConverges = errors.New("broke Converges: left in peace, VPP, run-dir, IPAM, keys and statuses come to hold exactly what the calls that were made say")
	// errNoLeak is checked at quiescence.
	errNoLeak = errors.New("broke NoLeak: nothing stays anywhere of an attachment whose DEL or GC has succeeded, or whose sandbox was taken over from")
	// errNoForeignTouch is checked all along.
	errNoForeignTouch = errors.New("broke NoForeignTouch: what another client made in VPP is never changed")
	// errNoDoubleAddress is checked at every ADD that succeeds.
	errNoDoubleAddress = errors.New("broke NoDoubleAddress: two live attachments never have one address in a network")
	// errNoWrongDelete is checked all along.
	errNoWrongDelete = errors.New("broke NoWrongDelete: an attachment that was Ready and is not being deleted keeps its very interface unless VPP was restarted or somebody edited it")
	// errStatusTruth is checked all along with a bound, and exactly at quiescence.
	errStatusTruth = errors.New("broke StatusTruth: a status that says Ready speaks of an interface that VPP holds, or is mended in time")
	// errTrafficHolds is checked at quiescence.
	errTrafficHolds = errors.New("broke TrafficHolds: pods of one network reach each other")
	// errNoGiveUp is checked at every call.
	errNoGiveUp = errors.New("broke NoGiveUp: every call ends in its time, one that fails for what may pass says try again later (11), and the same call succeeds when everything is well")
	// errAgentZeroWrites is checked at quiescence.
	errAgentZeroWrites = errors.New("broke AgentZeroWrites: an agent that starts where nothing has changed writes nothing to VPP and no status")
	// errBadValueShown is checked while the value stands.
	errBadValueShown = errors.New("broke BadValueShown: a desired value that cannot be read makes that attachment Failed, says why, and holds up nothing else")
)

// violation is an invariant broken by the objects named.
type violation struct {
	invariant error
	what      string
	// objects are names by which the history is searched.
	objects []string
}

func (v *violation) Error() string { return v.invariant.Error() + "\n    " + v.what }

func (v *violation) Unwrap() error { return v.invariant }

func broke(invariant error, objects []string, format string, args ...any) *violation {
	return &violation{invariant: invariant, what: fmt.Sprintf(format, args...), objects: objects}
}

// broken collects violations of one look.
type broken []*violation

func (b *broken) add(invariant error, objects []string, format string, args ...any) {
	*b = append(*b, broke(invariant, objects, format, args...))
}

func (b broken) String() string {
	lines := make([]string, len(b))
	for i, v := range b {
		lines[i] = v.Error()
	}
	return strings.Join(lines, "\n")
}

func (b broken) objects() []string {
	var out []string
	for _, v := range b {
		out = append(out, v.objects...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
