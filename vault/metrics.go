package vault

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/Miosa-osa/miosa-env/vault/disk"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/outgoing"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// metrics are those of /metrics. Labels are routes, statuses and limits, never an id, a name or a key.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	waiting   prometheus.Gauge
	following prometheus.Gauge
	traffic   prometheus.Counter
	unaudited prometheus.Counter
	unsent    prometheus.Counter
	altered   *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	invalid   *prometheus.CounterVec
}

func newMetrics(l *limits) *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	auto := promauto.With(registry)
	m := &metrics{
		registry: registry,
		requests: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "miosa_vault_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		latency: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name: "miosa_vault_request_seconds", Help: "Time to answer, by route; for a reveal, including its wait.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 15, 60},
		}, []string{"route"}),
		waiting: auto.NewGauge(prometheus.GaugeOpts{
			Name: "miosa_vault_waiting_reveals", Help: "Reveals that wait for a change.",
		}),
		following: auto.NewGauge(prometheus.GaugeOpts{
			Name: "miosa_vault_audit_streams", Help: "WebSockets that show the audit events of a resource.",
		}),
		traffic: auto.NewCounter(prometheus.CounterOpts{
			Name: "miosa_vault_traffic_events_total", Help: "Outgoing requests that brokers have reported, each once.",
		}),
		unaudited: auto.NewCounter(prometheus.CounterOpts{
			Name: "miosa_vault_audit_failures_total", Help: "Reveals refused because they could not be recorded.",
		}),
		invalid: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "miosa_vault_invalid_keys_total", Help: "Requests with a key that isn't valid, by reason: revoked, expired or unknown.",
		}, []string{"reason"}),
		unsent: auto.NewCounter(prometheus.CounterOpts{
			Name: "miosa_vault_outgoing_unsent_total", Help: "Requests to OAuth providers and token URLs not sent because the host doesn't answer.",
		}),
		altered: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "miosa_vault_altered_rows_total", Help: "Refusals of rows that were altered outside of the vault, by table.",
		}, []string{"table"}),
		refusals: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "miosa_vault_limit_refusals_total", Help: "Requests refused, and connections closed, because of a limit.",
		}, []string{"limit"}),
	}
	limits := auto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "miosa_vault_limit", Help: "The value of each limit.",
	}, []string{"limit"})
	for id, name := range limit.Names() {
		limits.WithLabelValues(name).Set(l.values.Of(limit.ID(id)))
		m.refusals.WithLabelValues(name)
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "miosa_vault_request_memory_bytes", Help: "Memory reserved for bodies and answers in flight.",
	}, func() float64 { return float64(l.memory.Used()) })
	connections := func(keyed bool) func() float64 {
		return func() float64 {
			listener := l.listener.Load()
			if listener == nil {
				return 0
			}
			with, without := listener.Counts()
			if keyed {
				return float64(with)
			}
			return float64(without)
		}
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "miosa_vault_connections", Help: "Open connections that have presented a valid key.",
	}, connections(true))
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "miosa_vault_keyless_connections", Help: "Open connections that have not presented a valid key.",
	}, connections(false))
	return m
}

// countOutgoing adds the number of requests of l that run.
func (m *metrics) countOutgoing(l *outgoing.Limiter) {
	promauto.With(m.registry).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "miosa_vault_outgoing_requests", Help: "Running requests to OAuth providers and token URLs.",
	}, func() float64 { return float64(l.Total()) })
}

// measureStore adds the room of the store's file system, and the size of the audit.
func (m *metrics) measureStore(s *store.Store, dir string) {
	auto := promauto.With(m.registry)
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "miosa_vault_disk_free_bytes", Help: "Free space of the file system of the data directory.",
	}, func() float64 {
		space, err := disk.Of(dir)
		if err != nil {
			return math.NaN()
		}
		return float64(space.Free)
	})
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "miosa_vault_audit_bytes", Help: "Approximate size of all audit logs.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		bytes, err := s.AuditBytes(ctx)
		if err != nil {
			return math.NaN()
		}
		return float64(bytes)
	})
}

// countRefusal counts a refusal because of a limit.
func (m *metrics) countRefusal(limit string) { m.refusals.WithLabelValues(limit).Inc() }

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true})
}
