package main

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// trips counts the calls that etcd's servers in this process have had.
func trips(t *testing.T) map[string]int {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, f := range families {
		if f.GetName() != "grpc_server_started_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "grpc_method" {
					out[l.GetValue()] += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return out
}

// TestRoundTrips: ADD and DEL ask etcd as seldom as they can. The stand-in's share
// is one transaction for each, and one watch beside the plugin's stream.
func TestRoundTrips(t *testing.T) {
	w := newWorld(t)
	conf := w.conf(routedHost, w.hostLocal("host-local"))
	for _, tc := range []struct{ verb, want string }{
		{"ADD", "Txn 4, Watch 1"}, // look, attach, the read after the watch stands
		{"DEL", "Txn 4, Watch 1"}, // look, detach, the read after the watch stands
	} {
		before := trips(t)
		w.call(runtimeOf(tc.verb).saying(ofPod("u1")), conf).ok(t)
		after := trips(t)
		got := fmt.Sprintf("Txn %d, Watch %d", after["Txn"]-before["Txn"], after["Watch"]-before["Watch"])
		if other := after["Range"] + after["Put"] - before["Range"] - before["Put"]; got != tc.want || other != 0 {
			t.Errorf("%s: %s, %d others, want %s", tc.verb, got, other, tc.want)
		}
	}
}
