package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// errBounds says that a bound does not hold; the table has said which.
var errBounds = errors.New("a bound does not hold")

// quiet is the floor on two quiet cores with a real VPP 25.10, for the
// machine's part in absolute figures.
var quiet = machine{
	half: 1000*time.Microsecond + 2000*time.Microsecond,
	most: 1600*time.Microsecond + 4500*time.Microsecond,
	cpu:  750 * time.Microsecond,
	rate: 2000,
}

// machine is how fast the machine is: what an empty program and the floor's ADD
// take together, at the median and at the 99th hundredth, the empty program's
// CPU, and how many ADDs a second the floor makes with many at a time.
type machine struct {
	half, most, cpu time.Duration
	rate            float64
}

// slower is how much longer the same work took than on the quiet machine, at
// least 1.
func (m machine) slower() slowness {
	by := func(now, then time.Duration) float64 { return max(1, float64(now)/float64(then)) }
	return slowness{
		half: by(m.half, quiet.half), most: by(m.most, quiet.most), cpu: by(m.cpu, quiet.cpu),
		rate: by(m.turn(), quiet.turn()),
	}
}

// turn is what one call of many at a time takes at least: the floor's ADD, and an
// empty program's CPU on one of two processors.
func (m machine) turn() time.Duration {
	return time.Duration(float64(time.Second)/m.rate) + m.cpu/2
}

// slowdown is how much longer the empty program takes, beside calls of one kind,
// than on the quiet machine.
func slowdown(empty time.Duration) float64 { return float64(empty) / float64(quietEmpty) }

// quietEmpty is the empty program's median on the quiet machine.
const quietEmpty = time.Millisecond

type slowness struct{ half, most, cpu, rate float64 }

// measure is what a figure's bound is widened by.
type measure int

const (
	asItStands measure = iota
	byHalf
	byMost
	byCPU
	byRate
)

func (s slowness) of(m measure) float64 {
	switch m {
	case byHalf:
		return s.half
	case byMost:
		return s.most
	case byCPU:
		return s.cpu
	case byRate:
		return s.rate
	default:
		return 1
	}
}

// figure is one line of the table.
type figure struct {
	name string
	ours float64
	// floor is 0 where there is none.
	floor float64
	// bound is 0 for none, except where none are allowed; atLeast turns it round.
	bound         float64
	atLeast, none bool
	// ratio bounds ours/floor; 0: not.
	ratio float64
	by    measure
	// slow is how much slower the machine was while this figure was taken; 0 where
	// only the whole run's is known.
	slow float64
}

func (f figure) bounded() bool { return f.bound > 0 || f.none || f.ratio > 0 }

// holds says whether the figure keeps its bounds on a machine that is slower.
func (f figure) holds(s slowness) bool {
	if f.ratio > 0 && (f.floor <= 0 || f.ours/f.floor > f.ratio) {
		return false
	}
	switch {
	case f.none:
		return f.ours == 0
	case f.bound == 0:
		return true
	case f.atLeast:
		return f.ours >= f.bound/s.of(f.by)
	default:
		return f.ours <= f.bound*max(s.of(f.by), f.slow)
	}
}

// limit is the bound in words.
func (f figure) limit() string {
	var parts []string
	switch {
	case f.none:
		parts = append(parts, "0")
	case f.bound > 0 && f.atLeast:
		parts = append(parts, "at least "+number(f.bound))
	case f.bound > 0:
		parts = append(parts, number(f.bound))
	}
	if f.ratio > 0 {
		parts = append(parts, fmt.Sprintf("ratio %.1f", f.ratio))
	}
	return strings.Join(parts, ", ")
}

// number prints a count without decimals and a time with two.
func number(v float64) string {
	if v >= 100 || v == float64(int(v)) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// table is the figures of one run, in the order in which they were taken.
type table struct{ figures []figure }

func (t *table) add(f ...figure) { t.figures = append(t.figures, f...) }

// print writes the table and its last line, and says whether all bounds hold.
func (t *table) print(w io.Writer, s slowness) bool {
	line := func(cells ...string) {
		_, _ = fmt.Fprintf(w, "%-38s %9s %9s %7s  %-19s %s\n", cells[0], cells[1], cells[2], cells[3], cells[4], cells[5])
	}
	line("", "ours", "floor", "ratio", "bound", "holds")
	broken := map[bool][]string{}
	for _, f := range t.figures {
		floor, ratio, holds := "", "", ""
		if f.floor > 0 {
			floor, ratio = number(f.floor), fmt.Sprintf("%.2f", f.ours/f.floor)
		}
		if f.bounded() {
			ok := f.holds(s)
			holds = map[bool]string{true: "yes", false: "NO"}[ok]
			broken[!ok] = append(broken[!ok], f.name)
		}
		line(f.name, number(f.ours), floor, ratio, f.limit(), holds)
	}
	_, _ = fmt.Fprintf(w, "\nThe machine was %.2f times as slow as the quiet one at the median, %.2f at the 99th hundredth, %.2f in CPU, %.2f with many at a time.\n",
		s.half, s.most, s.cpu, s.rate)
	if bad := broken[true]; len(bad) > 0 {
		_, _ = fmt.Fprintf(w, "%d bounds hold, %d DO NOT: %s\n", len(broken[false]), len(bad), strings.Join(bad, "; "))
		return false
	}
	_, _ = fmt.Fprintf(w, "All %d bounds hold.\n", len(broken[false]))
	return true
}

// samples are the durations of one kind of call.
type samples []time.Duration

func (s samples) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (s samples) mean() time.Duration {
	var sum time.Duration
	for _, d := range s {
		sum += d
	}
	return sum / time.Duration(max(len(s), 1))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
