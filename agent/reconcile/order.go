package reconcile

import (
	"cmp"
	"slices"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

// less orders IDs by kind, then by name, so that equal inputs give equal plans.
func less(a, b model.ID) bool { return compareIDs(a, b) < 0 }

func compareIDs(a, b model.ID) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

func sortIDs(ids map[model.ID]struct{}) []model.ID {
	out := make([]model.ID, 0, len(ids))
	for id := range ids {
		out = append(out, id)
	}
	slices.SortFunc(out, compareIDs)
	return out
}

// stage is an operation's place in the order: its kind, and within admin-ups
// sub-interfaces after their parents, since VPP refuses a sub-interface that is
// up on a parent that is not (src/vnet/interface.c,
// vnet_sw_interface_set_flags_helper).
func stage(o Op) int {
	n := 2 * int(o.ID.Kind)
	for _, obj := range []model.Object{o.Want, o.Have} {
		if up, ok := obj.(model.AdminUp); ok && up.Interface.Kind == model.KindSubInterface {
			return n + 1
		}
	}
	return n
}

// phases cuts a plan into the parts that may run side by side: one verb and one
// stage each. All that a part needs was done in the parts before it. This is
// also the order in which VPP is safe: at 1,000 memifs and more it dies when
// creates run beside admin-ups (memif_process walks a pool that a create moves).
func phases(p Plan) []Plan {
	var out []Plan
	for len(p) > 0 {
		n := 1
		for n < len(p) && p[n].Verb == p[0].Verb && stage(p[n]) == stage(p[0]) {
			n++
		}
		out = append(out, p[:n])
		p = p[n:]
	}
	return out
}

// sorted puts deletes first, in the reverse order of kinds, and then puts, in
// the order of kinds.
func sorted(deletes, puts Plan) Plan {
	slices.SortFunc(deletes, func(a, b Op) int {
		return cmp.Or(cmp.Compare(stage(b), stage(a)), cmp.Compare(a.ID.Name, b.ID.Name))
	})
	slices.SortFunc(puts, func(a, b Op) int {
		return cmp.Or(cmp.Compare(stage(a), stage(b)), cmp.Compare(a.ID.Name, b.ID.Name))
	})
	return append(deletes, puts...)
}
