package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// traffic is what etcd has counted since the program began.
type traffic struct {
	// writes are keys put and deleted, events what watches were sent.
	writes, events float64
	// requests are the messages that clients sent, one-way ones too.
	requests float64
	// sent and received are bytes, as etcd sees it.
	sent, received float64
}

// readTraffic takes etcd's counters: it runs in this process, and keeps them in
// Prometheus's default registry.
func readTraffic() (traffic, error) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return traffic{}, fmt.Errorf("etcd's counters: %w", err)
	}
	var t traffic
	into := map[string]*float64{
		"etcd_mvcc_put_total":                           &t.writes,
		"etcd_mvcc_delete_total":                        &t.writes,
		"etcd_debugging_mvcc_events_total":              &t.events,
		"grpc_server_msg_received_total":                &t.requests,
		"etcd_network_client_grpc_sent_bytes_total":     &t.sent,
		"etcd_network_client_grpc_received_bytes_total": &t.received,
	}
	for _, f := range families {
		if sum := into[f.GetName()]; sum != nil {
			for _, m := range f.GetMetric() {
				*sum += m.GetCounter().GetValue()
			}
		}
	}
	return t, nil
}

func (t traffic) since(before traffic) traffic {
	return traffic{
		writes: t.writes - before.writes, events: t.events - before.events, requests: t.requests - before.requests,
		sent: t.sent - before.sent, received: t.received - before.received,
	}
}

// usage is what processes have used so far.
type usage struct {
	cpu time.Duration
	rss float64 // bytes
}

// readUsage adds up what the kernel says of processes.
func readUsage(pids ...int) (usage, error) {
	var u usage
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return u, err
		}
		// The fields are counted from behind the name, which may hold anything:
		// utime and stime are the 14th and 15th of all, rss the 24th (proc(5)).
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		var n [3]int64
		for i, at := range []int{14, 15, 24} {
			if n[i], err = strconv.ParseInt(fields[at-3], 10, 64); err != nil {
				return u, fmt.Errorf("process %d: %w", pid, err)
			}
		}
		u.cpu += time.Duration(n[0]+n[1]) * (time.Second / 100) // USER_HZ is 100 on Linux
		u.rss += float64(n[2] * int64(os.Getpagesize()))
	}
	return u, nil
}
