package main

import (
	"strings"
	"testing"
	"time"
)

func TestHolds(t *testing.T) {
	t.Parallel()
	slow := slowness{half: 2, most: 3, cpu: 1.5, rate: 2}
	for name, tc := range map[string]struct {
		f    figure
		want bool
	}{
		"under the bound":                    {figure{ours: 11, bound: 12}, true},
		"over the bound":                     {figure{ours: 13, bound: 12}, false},
		"over the bound on a slow machine":   {figure{ours: 23, bound: 12, by: byHalf}, true},
		"slower than the machine":            {figure{ours: 25, bound: 12, by: byHalf}, false},
		"slow while it was taken":            {figure{ours: 30, bound: 12, by: byHalf, slow: 2.6}, true},
		"99th hundredth":                     {figure{ours: 74, bound: 25, by: byMost}, true},
		"CPU":                                {figure{ours: 16, bound: 10, by: byCPU}, false},
		"ratio is not widened":               {figure{ours: 3, floor: 1, bound: 4, ratio: 2.5, by: byHalf}, false},
		"ratio without a floor":              {figure{ours: 1, ratio: 1.3}, false},
		"a rate":                             {figure{ours: 60, bound: 100, atLeast: true, by: byRate}, true},
		"a rate that is too low":             {figure{ours: 40, bound: 100, atLeast: true, by: byRate}, false},
		"a count that is not widened":        {figure{ours: 999, bound: 1000, atLeast: true}, false},
		"none":                               {figure{ours: 0, none: true}, true},
		"one where none is allowed":          {figure{ours: 1, none: true}, false},
		"a figure without a bound":           {figure{ours: 1e6}, true},
		"a ratio that holds, bound does not": {figure{ours: 5, floor: 4, bound: 4, ratio: 2.5}, false},
	} {
		if got := tc.f.holds(slow); got != tc.want {
			t.Errorf("%s: holds %t, want %t", name, got, tc.want)
		}
	}
}

func TestLastLine(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	good := table{figures: []figure{{name: "a", ours: 1, bound: 2}, {name: "b", ours: 7}}}
	if !good.print(&out, slowness{1, 1, 1, 1}) || !strings.HasSuffix(out.String(), "All 1 bounds hold.\n") {
		t.Errorf("printed\n%s", out.String())
	}
	out.Reset()
	bad := table{figures: append(good.figures, figure{name: "c", ours: 1, none: true})}
	if bad.print(&out, slowness{1, 1, 1, 1}) || !strings.HasSuffix(out.String(), "1 bounds hold, 1 DO NOT: c\n") {
		t.Errorf("printed\n%s", out.String())
	}
}

func TestMachineNeverNarrows(t *testing.T) {
	t.Parallel()
	if got := (machine{half: time.Microsecond, most: time.Microsecond, cpu: time.Microsecond, rate: 1e6}).slower(); got != (slowness{1, 1, 1, 1}) {
		t.Errorf("a fast machine is %v", got)
	}
	if got := (machine{half: 2 * quiet.half, most: quiet.most, cpu: 2 * quiet.cpu, rate: quiet.rate / 2}).slower(); got != (slowness{2, 1, 2, 2}) {
		t.Errorf("got %v", got)
	}
	// 375 us of CPU beside 500 us of the floor's are 4/7 of the time.
	if got := (machine{cpu: 8 * quiet.cpu, rate: quiet.rate}).slower().rate; got < 3.9 || got > 4.1 {
		t.Errorf("processes that take 8 times as long slow a rate down by %v, want 4", got)
	}
}
