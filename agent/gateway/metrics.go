package gateway

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/status"
)

// metrics are those of all pods together: a label of pods would grow with them.
type metrics struct {
	sockets, connections, watches prometheus.Gauge
	requests, limited             *prometheus.CounterVec
	compacted                     prometheus.Counter
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "vppcni", Subsystem: "gateway", Name: name, Help: help}
	}
	m := &metrics{
		sockets:     prometheus.NewGauge(prometheus.GaugeOpts(opts("sockets", "Pods' sockets that are listened on."))),
		connections: prometheus.NewGauge(prometheus.GaugeOpts(opts("connections", "Open connections of pods."))),
		watches:     prometheus.NewGauge(prometheus.GaugeOpts(opts("watches", "Watches of pods."))),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts(opts("requests_total",
			"Requests and streams of pods that ended, by method and gRPC code.")), []string{"method", "code"}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts(opts("limited_total",
			"What pods were refused for a limit, by limit.")), []string{"limit"}),
		compacted: prometheus.NewCounter(prometheus.CounterOpts(opts("watches_compacted_total",
			"Watches that were ended because history before them was not known any more."))),
	}
	for _, limit := range []string{"connections", "requests", "concurrent", "writes", "watchers", "watches", "answers", "untaken"} {
		m.limited.WithLabelValues(limit)
	}
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.sockets, m.connections, m.watches, m.requests, m.limited, m.compacted}
}

// methods are those that get a label of their own.
var methods = map[string]string{
	etcdserverpb.KV_Range_FullMethodName:       "Range",
	etcdserverpb.KV_RangeStream_FullMethodName: "RangeStream",
	etcdserverpb.KV_Put_FullMethodName:         "Put",
	etcdserverpb.KV_DeleteRange_FullMethodName: "DeleteRange",
	etcdserverpb.KV_Txn_FullMethodName:         "Txn",
	etcdserverpb.Watch_Watch_FullMethodName:    "Watch",
}

func (m *metrics) count(method string, err error) {
	name, ok := methods[method]
	if !ok {
		name = "other"
	}
	m.requests.WithLabelValues(name, status.Code(err).String()).Inc()
}
