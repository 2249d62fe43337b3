package reconcile

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	const bridged = `
		directory /d
		bridge-domain 5
		socket /d/a.memif
		memif a /d/a.memif
		bridge-member a 5
		admin-up a`
	for _, tc := range []struct {
		name, have, wanted, want string
		stale                    bool
		keep                     []model.ID
	}{
		{
			name:   "an attachment in an empty VPP",
			wanted: bridged,
			want: `put directory /d
put bridge-domain 5
put socket /d/a.memif
put memif a
put bridge-member a
put admin-up a`,
		},
		{name: "nothing to do", have: bridged, wanted: bridged},
		{
			name: "what falls with its interface has no delete of its own",
			have: bridged,
			want: `del memif a
del socket /d/a.memif
del bridge-domain 5
del directory /d`,
		},
		{name: "nothing is deleted before all wishes are known", have: bridged, stale: true},
		{
			name:   "puts go on meanwhile",
			have:   "memif b /d/b.memif",
			wanted: "socket /d/a.memif",
			stale:  true,
			want:   "put socket /d/a.memif",
		},
		{
			name: "address moves to the new memif",
			have: `socket /s
				memif a /s
				address a 10.0.0.2/32`,
			wanted: `socket /s
				memif b /s
				address b 10.0.0.2/32`,
			want: `del address a 10.0.0.2/32
del memif a
put memif b
put address b 10.0.0.2/32`,
		},
		{
			name: "another mode: the memif is made anew with all that stands on it",
			have: `socket /s
				memif a /s
				mtu a 1500
				route 10.0.0.9/32 a
				admin-up a`,
			wanted: `socket /s
				memif a /s ip
				mtu a 1500
				route 10.0.0.9/32 a
				admin-up a`,
			want: `del route 0 10.0.0.9/32
del memif a
put memif a
put mtu a
put admin-up a
put route 0 10.0.0.9/32`,
		},
		{
			name: "another bridge",
			have: `memif a /s
				bridge-domain 5
				bridge-member a 5`,
			wanted: `memif a /s
				bridge-domain 6
				bridge-member a 6`,
			want: `del bridge-member a
del bridge-domain 5
put bridge-domain 6
put bridge-member a`,
		},
		{
			name:   "an MTU is put over",
			have:   "memif a /s\nmtu a 1500",
			wanted: "memif a /s\nmtu a 9000",
			want:   "put mtu a",
		},
		{
			name: "all creates before all admin-ups, sub-interfaces up after their parents",
			wanted: `socket /b
				memif b /b
				admin-up b
				socket /a
				memif a /a
				sub-interface a.7
				admin-up a.7
				admin-up a`,
			want: `put socket /a
put socket /b
put memif a
put memif b
put sub-interface a.7
put admin-up a
put admin-up b
put admin-up a.7`,
		},
		{
			name: "what is kept stays with all that it stands on",
			have: bridged + "\nmemif b /d/b.memif",
			keep: []model.ID{iface("a")},
			want: "del memif b",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := planner{wanted: newWanted(), actual: newActual(), mayDelete: !tc.stale}
			ids := map[model.ID]struct{}{}
			for _, o := range withDirs(objects(t, tc.have)) {
				p.actual.put(o, true)
				ids[o.ID()] = struct{}{}
			}
			for _, o := range withDirs(objects(t, tc.wanted)) {
				p.wanted.add(claim{key: "k", object: o})
				ids[o.ID()] = struct{}{}
			}
			p.keep = kept(p.actual, tc.keep)
			for range 3 { // equal inputs give equal plans
				if diff := cmp.Diff(tc.want, p.plan(ids).String()); diff != "" {
					t.Fatalf("plan (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func withDirs(objects []model.Object) []model.Object { return inDirectories(objects) }

func TestPhases(t *testing.T) {
	t.Parallel()
	p := planner{wanted: newWanted(), actual: newActual(), mayDelete: true}
	ids := map[model.ID]struct{}{}
	for _, o := range objects(t, "memif a /s\nmemif b /s\nadmin-up a\nadmin-up b\nsub-interface a.7\nadmin-up a.7") {
		p.wanted.add(claim{key: "k", object: o})
		ids[o.ID()] = struct{}{}
	}
	var sizes []int
	for _, phase := range phases(p.plan(ids)) {
		sizes = append(sizes, len(phase))
	}
	if diff := cmp.Diff([]int{2, 1, 2, 1}, sizes); diff != "" {
		t.Errorf("operations a phase (-want +got):\n%s", diff)
	}
}
