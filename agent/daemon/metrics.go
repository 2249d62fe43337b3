package daemon

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/vpp-cni/vpp-cni/agent/reconcile"
	"github.com/vpp-cni/vpp-cni/schema"
)

// Metrics are an agent's own, in a registry of their own.
type Metrics struct {
	registry *prometheus.Registry

	writes, failures, retries, eventsSeen *prometheus.CounterVec
	drift, mended, statuses               *prometheus.CounterVec
	attachments                           *prometheus.GaugeVec
	passes                                *prometheus.HistogramVec
	writeTime                             *prometheus.HistogramVec
	vppUp, etcdUp, held                   prometheus.Gauge
}

// NewMetrics makes a registry with all metrics at zero.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "vppcni", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "vppcni", Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "vppcni", Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		writes:     counter("writes_total", "Objects written to VPP or the run-dir.", "kind", "op"),
		failures:   counter("write_failures_total", "Writes of objects that failed.", "kind", "op"),
		retries:    counter("write_retries_total", "Writes of objects that had failed before.", "kind"),
		drift:      counter("drift_total", "Objects found otherwise than they had been left.", "kind"),
		mended:     counter("drift_mended_total", "Objects of drift_total that are as wanted again.", "kind"),
		eventsSeen: counter("events_total", "Events by where they came from.", "source"),
		statuses:   counter("status_writes_total", "Statuses written to etcd.", "result"),
		attachments: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "vppcni", Name: "attachments", Help: "Attachments by the state of their status.",
		}, []string{"state"}),
		passes:    histogram("pass_seconds", "Time of one pass.", prometheus.ExponentialBuckets(0.0005, 2, 16), "pass"),
		writeTime: histogram("write_seconds", "Time of one write of an object.", prometheus.ExponentialBuckets(0.0001, 2, 16), "kind", "op"),
		held:      gauge("held_attachments", "Attachments that stay in VPP though etcd does not know of them."),
		vppUp:     gauge("vpp_connected", "1 while VPP is connected."),
		etcdUp:    gauge("etcd_connected", "1 while the view of etcd is up to date."),
	}
	m.registry.MustRegister(m.writes, m.failures, m.retries, m.drift, m.mended, m.eventsSeen, m.statuses, m.attachments,
		m.passes, m.writeTime, m.vppUp, m.etcdUp, m.held,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, s := range []schema.State{schema.Pending, schema.Ready, schema.Failed} {
		m.attachments.WithLabelValues(string(s))
	}
	return m
}

// Describe lists all metrics that /metrics can tell of, those too that have no
// value yet.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) { m.registry.Describe(ch) }

// Register adds the metrics of another part of the agent.
func (m *Metrics) Register(c ...prometheus.Collector) { m.registry.MustRegister(c...) }

func (m *Metrics) pass(name string, rep reconcile.Report) {
	m.passes.WithLabelValues(name).Observe(rep.Took.Seconds())
	for _, op := range rep.Ops {
		kind, verb := op.ID.Kind.String(), string(op.Verb)
		m.writes.WithLabelValues(kind, verb).Inc()
		m.writeTime.WithLabelValues(kind, verb).Observe(op.Took.Seconds())
		if op.Err != nil {
			m.failures.WithLabelValues(kind, verb).Inc()
		}
		if op.Retry {
			m.retries.WithLabelValues(kind).Inc()
		}
	}
	for _, d := range rep.Drift {
		m.drift.WithLabelValues(d.ID.Kind.String()).Inc()
	}
}

func (m *Metrics) events(source string, n int) { m.eventsSeen.WithLabelValues(source).Add(float64(n)) }

func (m *Metrics) statusWritten() { m.statuses.WithLabelValues("ok").Inc() }

func (m *Metrics) statusFailed() { m.statuses.WithLabelValues("failed").Inc() }

// moved keeps the gauge of attachments; an empty state is none.
func (m *Metrics) moved(from, to schema.State) {
	if from != "" {
		m.attachments.WithLabelValues(string(from)).Dec()
	}
	if to != "" {
		m.attachments.WithLabelValues(string(to)).Inc()
	}
}

func (m *Metrics) connected(s State) {
	set := func(g prometheus.Gauge, up bool) {
		if up {
			g.Set(1)
			return
		}
		g.Set(0)
	}
	set(m.vppUp, s.VPP.Connected)
	set(m.etcdUp, s.Etcd == nil)
}
