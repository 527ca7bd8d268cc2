package main

import (
	"context"
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/proxy"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

// metrics are those of /metrics, and the counts of status. A label is a state, an effect, a reason or a resource: never a host, a path
// or a name.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
	swapped  *prometheus.CounterVec

	mu       sync.Mutex // guards recorded
	recorded map[api.Resource]counts
}

// counts are numbers of requests, and of connections that weren't decrypted.
type counts struct{ requests, swapped, refused int64 }

func newMetrics(b *broker) *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	auto := promauto.With(registry)
	m := &metrics{
		registry: registry, recorded: map[api.Resource]counts{},
		requests: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "miosa_egress_requests_total", Help: "Requests, and connections that are not decrypted, by the policy's effect.",
		}, []string{"effect"}),
		refused: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "miosa_egress_refused_total", Help: "Requests, and connections that are not decrypted, that the broker refused, by reason.",
		}, []string{"reason"}),
		swapped: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "miosa_egress_swapped_total", Help: "Requests that were sent with at least one value, by resource.",
		}, []string{"resource"}),
	}
	registry.MustRegister(&resourceMetrics{b, [...]*prometheus.Desc{
		prometheus.NewDesc("miosa_egress_resources", "Resources by the state of their set.", []string{"state"}, nil),
		prometheus.NewDesc("miosa_egress_connections", "Open connections of clients, by resource.", []string{"resource"}, nil),
		prometheus.NewDesc("miosa_egress_bindings", "Values held in memory, by resource.", []string{"resource"}, nil),
		prometheus.NewDesc("miosa_egress_age_seconds", "Time since the vault last confirmed the set, by resource.", []string{"resource"}, nil),
	}})
	return m
}

// resourceMetrics are metrics that are read from the resources.
type resourceMetrics struct {
	*broker
	about [4]*prometheus.Desc
}

// Describe implements prometheus.Collector.
func (r *resourceMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range r.about {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (r *resourceMetrics) Collect(to chan<- prometheus.Metric) {
	gauge := func(d int, v float64, label string) {
		to <- prometheus.MustNewConstMetric(r.about[d], prometheus.GaugeValue, v, label)
	}
	states := map[agent.State]int{agent.Starting: 0, agent.Fresh: 0, agent.Stale: 0, agent.Refused: 0}
	for _, one := range r.list() {
		s := one.engine.Status()
		states[s.State]++
		gauge(1, float64(one.server.Connections()), one.String())
		gauge(2, float64(s.Bindings), one.String())
		if !s.ConfirmedAt.IsZero() {
			gauge(3, s.Age, one.String())
		}
	}
	for state, n := range states {
		gauge(0, float64(n), string(state))
	}
}

// listen serves the metrics on the address of a configuration. It returns nil if there is none.
func (m *metrics) listen(ctx context.Context, s *settings) (*task.Task, error) {
	if s.MetricsAddr == "" {
		return nil, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.MetricsAddr)
	if err != nil {
		return nil, s.Problem("metrics_addr", addressProblem("metrics_addr", err))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return serveHTTP(l, mux), nil
}

// recorder records the traffic of a resource.
type recorder struct {
	*broker
	resource api.Resource
}

func (b *broker) recorder(r api.Resource) proxy.Recorder { return &recorder{b, r} }

// Record implements proxy.Recorder.
func (r *recorder) Record(e api.TrafficEvent) {
	r.metrics.count(r.resource, &e)
	r.reports.Record(e)
}

func (m *metrics) count(r api.Resource, e *api.TrafficEvent) {
	m.requests.WithLabelValues(e.Effect).Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.recorded[r]
	c.requests++
	if e.Refused {
		c.refused++
		m.refused.WithLabelValues(e.Reason).Inc()
	}
	if len(e.Swapped) > 0 {
		c.swapped++
		m.swapped.WithLabelValues(r.String()).Inc()
	}
	m.recorded[r] = c
}

// counts returns the counts of a resource since the start.
func (m *metrics) counts(r api.Resource) counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recorded[r]
}
