package traffic

import "github.com/prometheus/client_golang/prometheus"

// Values of the label result: what became of an event.
const (
	resultReported = "reported"
	resultDropped  = "dropped" // the memory was full
	resultRefused  = "refused" // by the vault
	resultInvalid  = "invalid" // a mistake of this program: Validate has failed
)

// metrics are those of a Recorder.
type metrics struct {
	events   *prometheus.CounterVec
	failures prometheus.Counter
	waiting  prometheus.GaugeFunc
}

func newMetrics(r *Recorder) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "miosa_egress_traffic_events_total", Help: "Requests for the audit log, by result: reported, dropped, refused or invalid.",
		}, []string{"result"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "miosa_egress_traffic_failures_total", Help: "Reports of traffic that failed.",
		}),
		waiting: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "miosa_egress_traffic_waiting_bytes", Help: "Memory of events that wait for the vault.",
		}, func() float64 { _, bytes := r.Waiting(); return float64(bytes) }),
	}
	for _, result := range []string{resultReported, resultDropped, resultRefused, resultInvalid} {
		m.events.WithLabelValues(result)
	}
	return m
}

func (m *metrics) add(result string, n int) { m.events.WithLabelValues(result).Add(float64(n)) }
