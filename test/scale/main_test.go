package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestScale is the short form: the counts must be flat at small sizes too.
// Memory and CPU are left to `make scale`: there is too little of them here.
func TestScale(t *testing.T) {
	t.Parallel()
	o := options{
		bin:       filepath.Join("..", "..", "bin"),
		simulated: []int{40, 80, 160}, nodes: []int{2, 4, 8}, each: 5, idle: 2 * time.Second,
	}
	if _, err := os.Stat(filepath.Join(o.bin, "vpp-agent")); err != nil {
		t.Fatal("build the programs first: make build tools")
	}
	one, err := attachments(t.Context(), o, "", o.simulated)
	if err != nil {
		t.Fatal(err)
	}
	all, err := nodes(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, tab := range []table{one, all} {
		var out strings.Builder
		tab.print(&out)
		t.Log("\n" + out.String())
		for _, r := range tab.rows {
			if r.factor == counts && !strings.HasPrefix(r.name, "idle") && !r.flat() {
				t.Errorf("%s: %.2f, grows by %.2f", r.name, r.cost, r.growth())
			}
		}
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		r    row
		want bool
	}{
		"flat":                  {row{factor: 1.1, cost: []float64{2, 2, 2}}, true},
		"less":                  {row{factor: 1.1, cost: []float64{2, 1.5, 1}}, true},
		"with the size":         {row{factor: 2, cost: []float64{1, 2, 4}}, false},
		"no bound":              {row{cost: []float64{1, 2, 4}}, true},
		"too small to tell":     {row{factor: 1.1, least: 1, cost: []float64{0, 0.5, 0.9}}, true},
		"from nothing to much":  {row{factor: 1.1, least: 1, cost: []float64{0, 0, 5}}, false},
		"from nothing at least": {row{factor: 1.1, cost: []float64{0, 0, 5}}, false},
	} {
		if got := tc.r.flat(); got != tc.want {
			t.Errorf("%s: flat %t, want %t", name, got, tc.want)
		}
	}
}
