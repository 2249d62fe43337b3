package deviceplugin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema/store"
)

// row is a letter for each device: h(ealthy) or u(nhealthy).
func row(limit int, attachments []string, serving bool) string {
	var b strings.Builder
	for i, d := range devices(limit, attachments, serving) {
		if d.GetID() != deviceID(i) {
			return "device " + d.GetID()
		}
		b.WriteString(strings.ToLower(d.GetHealth()[:1]))
	}
	return b.String()
}

func TestDevices(t *testing.T) {
	t.Parallel()
	last, lastButOne := deviceID(5), deviceID(4)
	for _, tc := range []struct {
		name    string
		have    []string
		away    bool
		want    string
		healthy int
	}{
		{"nothing attached", nil, false, "hhhhhh", 6},
		{"the kubelet knows of these", []string{last, deviceID(0)}, false, "hhhhhh", 6},
		{"two without a device", []string{"", ""}, false, "hhhhuu", 4},
		{"another plugin's device", []string{"0000:01:02.2"}, false, "hhhhhu", 5},
		{"a number that we do not have", []string{deviceID(6)}, false, "hhhhhu", 5},
		{"what an attachment has stays", []string{"", last}, false, "hhhhuh", 5},
		{"one device, two attachments", []string{last, last}, false, "hhhhuh", 5},
		{"more than there may be", []string{"", "", "", "", "", "", "", lastButOne}, false, "uuuuhu", 1},
		{"away", []string{"", last}, true, "uuuuuu", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := row(6, tc.have, !tc.away)
			if got != tc.want || strings.Count(got, "h") != tc.healthy {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// TestNamesSort: the largest limit's names are as long as the others.
func TestNamesSort(t *testing.T) {
	t.Parallel()
	if a, b := deviceID(9), deviceID(49999); len(a) != len(b) || a > b {
		t.Errorf("%s, %s", a, b)
	}
}

// told is a follower that notes what it is told.
type told struct{ calls []string }

func (f *told) Snapshot(e map[string]store.Entry, rev int64) {
	f.calls = append(f.calls, fmt.Sprintf("snapshot of %d at %d", len(e), rev))
}

func (f *told) Changed(key string, e *store.Entry, rev int64) {
	f.calls = append(f.calls, fmt.Sprintf("%s %t at %d", key, e != nil, rev))
}
func (f *told) Lost(err error) { f.calls = append(f.calls, err.Error()) }

func TestCounter(t *testing.T) {
	t.Parallel()
	c := NewCounter()
	next := &told{}
	f := c.Before(next)
	state := func() string {
		ids, changes := c.attachments()
		slices.Sort(ids)
		return fmt.Sprintf("%q after %d", ids, changes)
	}
	entry := func(s string) store.Entry { return store.Entry{Value: []byte(s)} }
	var got []string
	for _, step := range []func(){
		func() {},
		func() {
			f.Snapshot(map[string]store.Entry{"a": entry(`{"deviceID":"d1","new":1}`), "b": entry(`{}`), "c": entry("rubbish")}, 5)
		},
		func() { e := entry(`{"deviceID":"d2"}`); f.Changed("b", &e, 6) },
		func() { f.Changed("c", nil, 7) },
		func() { f.Lost(errors.New("lost")) },
		func() { f.Snapshot(map[string]store.Entry{"z": entry(`{"deviceID":"d9"}`)}, 9) },
		func() { f.Snapshot(nil, 10) },
	} {
		step()
		got = append(got, state())
	}
	want := []string{
		`[] after 0`, `["" "" "d1"] after 1`, `["" "d1" "d2"] after 2`, `["d1" "d2"] after 3`, `["d1" "d2"] after 3`, `["d9"] after 4`, `[] after 5`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("states:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if calls := strings.Join(next.calls, "; "); calls != "snapshot of 3 at 5; b true at 6; c false at 7; lost; snapshot of 1 at 9; snapshot of 0 at 10" {
		t.Errorf("passed on: %s", calls)
	}
}
