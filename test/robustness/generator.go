package robustness

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// generator makes rounds from a seed. It knows what it has asked for and never
// what came of it, so that a seed gives the same rounds whatever happens.
type generator struct {
	rng    *rand.Rand
	pods   int
	rounds int
	// asked is the network that each interface was last asked to be in, none for
	// not attached.
	asked [][slots]int
	// faults are the names to choose from.
	faults []weighted
	// failpoints are the places in the plugin where it can be told to die.
	failpoints []string
}

const none = -1

// weighted is a name with its share.
type weighted struct {
	name  string
	share int
}

// stepsInRound is how many steps a round has before everything is left in peace.
const stepsInRound = 8

func newGenerator(seed uint64, pods int, faults []weighted, failpoints []string) *generator {
	g := &generator{rng: rand.New(rand.NewPCG(seed, 0x76707063)), pods: pods, faults: faults, failpoints: failpoints, asked: make([][slots]int, pods)}
	for p := range g.asked {
		g.asked[p] = [slots]int{none, none, none}
	}
	return g
}

// next is the next round.
func (g *generator) next() round {
	r := round{Number: g.rounds}
	g.rounds++
	// Some rounds have no faults at all: then every call must succeed.
	calm := g.chance(8)
	for range stepsInRound {
		r.Steps = append(r.Steps, g.step(calm))
	}
	r.End.ByGC = g.chance(4)
	switch g.rng.IntN(6) {
	case 0:
		r.End.Restart = "kill"
	case 1:
		r.End.Restart = "stop"
	}
	if g.chance(3) {
		r.End.Disaster = []disaster{wipeWord, wipeDel, restore, reboot}[g.rng.IntN(4)]
	}
	return r
}

// chance is true in one of n cases.
func (g *generator) chance(n int) bool { return g.rng.IntN(n) == 0 }

func (g *generator) step(calm bool) step {
	var s step
	if !calm {
		for range g.pick([]int{35, 50, 15}) {
			s.Faults = append(s.Faults, g.fault())
		}
		s.Pause = g.between(0, 1200*time.Millisecond)
	}
	busy := map[int]bool{}
	for range 1 + g.rng.IntN(4) {
		p := g.rng.IntN(g.pods)
		if busy[p] {
			continue
		}
		busy[p] = true
		s.Operations = append(s.Operations, g.operations(p)...)
	}
	if g.chance(5) {
		s.Operations = append(s.Operations, operation{Verb: verbSettle, Pod: g.rng.IntN(g.pods)})
	}
	if g.chance(8) {
		s.Operations = append(s.Operations, operation{Verb: verbGC, Network: g.rng.IntN(len(networks())), Kill: g.killing("gc", 3)})
	}
	if calm {
		for i := range s.Operations {
			s.Operations[i].Kill = killing{}
		}
	}
	return s
}

// operations are what is done with one pod in a step, in turn.
func (g *generator) operations(p int) []operation {
	if g.chance(6) {
		v := []verb{verbRestart, verbSandbox, verbSandbox, verbReplace, verbFinish}[g.rng.IntN(5)]
		if v == verbReplace || v == verbFinish {
			g.asked[p] = [slots]int{none, none, none}
		}
		call := "add"
		if v == verbFinish {
			call = "del"
		}
		return []operation{{Verb: v, Pod: p, Kill: g.killing(call, 3), Afterwards: g.afterwards()}}
	}
	var out []operation
	for range 1 + g.rng.IntN(3) {
		out = append(out, g.slotOperation(p, g.rng.IntN(slots)))
	}
	return out
}

func (g *generator) slotOperation(p, slot int) operation {
	o := operation{Pod: p, Slot: slot, Network: g.asked[p][slot], Afterwards: g.afterwards()}
	if o.Network == none {
		choice := networksOf(slot)
		o.Verb, o.Network, o.Kill = verbAdd, choice[g.rng.IntN(len(choice))], g.killing("add", 5)
		g.asked[p][slot] = o.Network
		return o
	}
	switch g.rng.IntN(10) {
	case 0, 1:
		o.Verb, o.Kill = verbAddAgain, g.killing("add", 4)
	case 2, 3:
		o.Verb = verbCheck
	case 4:
		return operation{Verb: verbStatus, Network: o.Network, Pod: p}
	default:
		o.Verb, o.Kill = verbDel, g.killing("del", 5)
		g.asked[p][slot] = none
	}
	return o
}

func (g *generator) afterwards() afterwards {
	return []afterwards{delNow, delLater, addRetry}[g.rng.IntN(3)]
}

// diesIn says whether a failpoint is on the way of a call.
func diesIn(failpoint, call string) bool {
	return strings.HasPrefix(failpoint, call) || call == "add" && strings.HasPrefix(failpoint, "withdraw")
}

// killing is how one call in n dies.
func (g *generator) killing(call string, n int) killing {
	if !g.chance(n) {
		return killing{}
	}
	if len(g.failpoints) > 0 && g.chance(2) {
		points := slices.DeleteFunc(slices.Clone(g.failpoints), func(name string) bool { return !diesIn(name, call) })
		return killing{Failpoints: points[g.rng.IntN(len(points))] + "=kill", Seed: g.rng.Uint64()}
	}
	k := killing{Signal: "KILL", After: g.between(time.Millisecond, 120*time.Millisecond)}
	if g.chance(3) {
		k.Signal = "TERM"
	}
	return k
}

func (g *generator) fault() fault {
	shares := make([]int, len(g.faults))
	for i, f := range g.faults {
		shares[i] = f.share
	}
	return fault{
		Name: g.faults[g.pick(shares)].name, Target: g.rng.Uint32(),
		After: g.between(0, 200*time.Millisecond), For: g.between(20*time.Millisecond, 3*time.Second),
	}
}

// pick chooses an index by its share.
func (g *generator) pick(shares []int) int {
	sum := 0
	for _, s := range shares {
		sum += s
	}
	n := g.rng.IntN(sum)
	for i, s := range shares {
		if n < s {
			return i
		}
		n -= s
	}
	return 0
}

// between is a time from a to b with more short ones than long ones.
func (g *generator) between(a, b time.Duration) time.Duration {
	f := g.rng.Float64()
	return (a + time.Duration(f*f*float64(b-a))).Round(time.Millisecond)
}
