package robustness

import (
	"fmt"
	"strings"
	"time"
)

// verb is one thing that the runtime does with a pod.
type verb string

const (
	verbAdd      verb = "add"       // attach an interface that is not attached
	verbAddAgain verb = "add-again" // the same ADD once more
	verbDel      verb = "del"
	verbCheck    verb = "check"
	verbRestart  verb = "restart-pod" // the pod's containers, not its sandbox
	verbSandbox  verb = "new-sandbox" // the sandbox died: a new one of the same pod
	verbReplace  verb = "replace-pod" // force-deleted without DEL; another pod of its name
	verbFinish   verb = "finish-pod"  // DEL of all, then another pod of its name
	verbSettle   verb = "settle"      // late DELs of sandboxes that are gone
	verbGC       verb = "gc"          // of one network
	verbStatus   verb = "status"      // of one network
)

// killing is how a call of the plugin dies; the zero value lets it live.
type killing struct {
	Signal string // KILL or TERM, empty for none
	After  time.Duration
	// Failpoints is VPP_CNI_FAILPOINTS of the call, Seed its seed.
	Failpoints string
	Seed       uint64
}

func (k killing) String() string {
	switch {
	case k.Failpoints != "":
		return " failpoints " + k.Failpoints
	case k.Signal != "":
		return fmt.Sprintf(" SIG%s after %s", k.Signal, k.After)
	}
	return ""
}

// operation is one call, or a few in turn, for one pod.
type operation struct {
	Verb verb
	Pod  int
	// Slot is the interface, Network an index into networks().
	Slot, Network int
	Kill          killing
	// Afterwards is what the runtime does when an ADD has failed.
	Afterwards afterwards
}

// afterwards is what the runtime does when an ADD has failed.
type afterwards string

const (
	delNow   afterwards = "del"
	delLater afterwards = "del-later"
	addRetry afterwards = "retry" // once, then DEL
)

func (o operation) String() string {
	s := string(o.Verb)
	switch o.Verb {
	case verbGC, verbStatus:
		return s + " " + networks()[o.Network].name + o.Kill.String()
	case verbAdd, verbAddAgain:
		s += fmt.Sprintf(" pod-%d %s on %s%s", o.Pod, ifname(o.Slot), networks()[o.Network].name, o.Kill)
		if o.Verb == verbAdd {
			s += " else " + string(o.Afterwards)
		}
		return s
	case verbDel, verbCheck:
		return s + fmt.Sprintf(" pod-%d %s%s", o.Pod, ifname(o.Slot), o.Kill)
	default:
		return s + fmt.Sprintf(" pod-%d%s", o.Pod, o.Kill)
	}
}

// fault is one thing that goes wrong beside the operations.
type fault struct {
	Name string
	// Target chooses among several of a sort.
	Target uint32
	// After is when it begins, For how long it lasts.
	After, For time.Duration
}

func (f fault) String() string {
	return fmt.Sprintf("%s(%d) after %s for %s", f.Name, f.Target%1000, f.After, f.For)
}

// step is done at once: all its operations and faults side by side. Faults may
// outlast it.
type step struct {
	Operations []operation
	Faults     []fault
	// Pause is how long it lasts at least, so that faults meet what comes next.
	Pause time.Duration
}

func (s step) String() string {
	var parts []string
	for _, f := range s.Faults {
		parts = append(parts, "FAULT "+f.String())
	}
	for _, o := range s.Operations {
		parts = append(parts, o.String())
	}
	return strings.Join(parts, " | ")
}

// ending is how a round is brought to rest and what is tried then.
type ending struct {
	// ByGC lets GC remove what late DELs would.
	ByGC bool
	// Restart restarts the host's agent where nothing has changed: "kill",
	// "stop" or empty for not at all.
	Restart string
	// Disaster is what befalls the node or etcd as a whole then, empty for
	// nothing.
	Disaster disaster
}

// disaster is an end of much at once, with its own way back.
type disaster string

const (
	// wipeWord: etcd is emptied, and an operator gives the word to let go.
	wipeWord disaster = "wipe-word"
	// wipeDel: etcd is emptied, and the runtime's late DELs remove what it knows.
	wipeDel disaster = "wipe-del"
	// restore: etcd is put back to an older state.
	restore disaster = "restore"
	// reboot: the node starts anew, with an empty VPP and run-dir.
	reboot disaster = "reboot"
)

// round is a few steps, and then peace.
type round struct {
	Number int
	Steps  []step
	End    ending
}

func (r round) String() string {
	var b strings.Builder
	for i, s := range r.Steps {
		fmt.Fprintf(&b, "round %d step %d: %s\n", r.Number, i, s)
	}
	fmt.Fprintf(&b, "round %d end: %+v\n", r.Number, r.End)
	return b.String()
}
