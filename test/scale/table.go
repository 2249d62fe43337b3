package main

import (
	"fmt"
	"io"
)

// The factors by which a unit's cost may grow from the smallest size to the
// largest.
const (
	counts = 1.1
	bytes  = 1.25
	memory = 1.5
	cpu    = 2.0
)

// row is the cost of one unit at each size. A factor of 0 is no bound.
type row struct {
	name   string
	factor float64
	// least is a cost that is too small to speak of growth.
	least float64
	cost  []float64
}

// growth is the cost at the largest size in terms of that at the smallest.
func (r row) growth() float64 {
	first, last := r.cost[0], r.cost[len(r.cost)-1]
	if last <= r.least {
		return 0
	}
	return last / max(first, r.least, 1e-9)
}

func (r row) flat() bool { return r.factor == 0 || r.growth() <= r.factor }

// table is the costs of one kind of unit.
type table struct {
	title string
	sizes []int
	rows  []row
}

// add puts the costs of the next size behind those before; rows come in the same
// order each time.
func (t *table) add(size int, rows ...row) {
	t.sizes = append(t.sizes, size)
	if t.rows == nil {
		t.rows = rows
		return
	}
	for i, r := range rows {
		t.rows[i].cost = append(t.rows[i].cost, r.cost...)
	}
}

// print writes the table and says whether all costs are flat.
func (t *table) print(w io.Writer) bool {
	_, _ = fmt.Fprintf(w, "%-44s", t.title)
	for _, s := range t.sizes {
		_, _ = fmt.Fprintf(w, " %10d", s)
	}
	_, _ = fmt.Fprintf(w, " %8s %7s  %s\n", "growth", "at most", "flat")
	flat := true
	for _, r := range t.rows {
		_, _ = fmt.Fprintf(w, "%-44s", r.name)
		for _, c := range r.cost {
			_, _ = fmt.Fprintf(w, " %10.2f", c)
		}
		if r.factor > 0 {
			word := map[bool]string{true: "yes", false: "NO"}[r.flat()]
			_, _ = fmt.Fprintf(w, " %8.2f %7.2f  %s", r.growth(), r.factor, word)
			flat = flat && r.flat()
		}
		_, _ = fmt.Fprintln(w)
	}
	_, _ = fmt.Fprintln(w)
	return flat
}
