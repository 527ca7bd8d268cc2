package main

import (
	"context"
	"encoding/json"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/traffic"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

// reports report the traffic of all resources to the vault of the configuration.
type reports struct {
	*traffic.Recorder
	vault atomic.Pointer[fetch.Client]
	task  *task.Task // nil: there is no vault yet
}

func newReports(log zerolog.Logger, metrics prometheus.Registerer) *reports {
	r := &reports{}
	r.Recorder = traffic.New(traffic.Config{Vault: r, Log: log, Metrics: metrics})
	return r
}

// ReportTraffic implements traffic.Vault.
func (r *reports) ReportTraffic(ctx context.Context, events []json.RawMessage) (api.TrafficAnswer, error) {
	return r.vault.Load().ReportTraffic(ctx, events)
}

// use reports to a vault from now on.
func (r *reports) use(vault *fetch.Client) {
	r.vault.Store(vault)
	if r.task == nil {
		r.task = task.Start(context.Background(), r.Run)
	}
}

// close sends the events that are left, for some seconds at most.
func (r *reports) close() { r.task.Close() }
