package socket

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
)

// result is the result of a request.
type result string

const (
	resultOK          result = "ok"
	resultSame        result = "same"      // a reveal: the client has the set already
	resultDenied      result = "denied"    // this user may not ask
	resultOther       result = "other"     // another resource or vault is served
	resultRefused     result = "refused"   // the vault refuses
	resultUnavailable result = "not_ready" // no set yet, or stopping
	resultBusy        result = "busy"      // too many at once
	resultMalformed   result = "malformed"
	resultDropped     result = "dropped" // the client hung up, or didn't read
	resultFailed      result = "failed"
)

// resultOf returns the result of a request that was refused with err.
func resultOf(err error) result {
	if _, ok := errors.AsType[*OtherVault](err); ok {
		return resultOther
	}
	for _, k := range []struct {
		is error
		result
	}{
		{ErrOtherResource, resultOther}, {api.ErrDenied, resultDenied}, {api.ErrUnauthorized, resultRefused},
		{api.ErrRateLimited, resultBusy}, {api.ErrUnavailable, resultUnavailable}, {api.ErrMalformed, resultMalformed},
		{api.ErrTooLarge, resultMalformed}, {api.ErrInvalid, resultMalformed},
	} {
		if errors.Is(err, k.is) {
			return k.result
		}
	}
	return resultFailed
}

// counters counts requests.
type counters struct {
	mu       sync.Mutex // guards requests
	requests map[counter]int64
}

type counter struct {
	op
	result
}

func (c *counters) count(op op, r result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = map[counter]int64{}
	}
	c.requests[counter{op, r}]++
}

// page is a text in Prometheus' format, version 0.0.4. It doesn't name any variable, secret, resource or path. It is
// written here because client_golang, which the vault uses, would make miosa-env 1.7 MB (a fifth) larger.
type page struct{ strings.Builder }

// metric begins a metric. Its values follow.
func (p *page) metric(name, kind, help string) {
	fmt.Fprintf(p, "# HELP miosa_env_agent_%s %s\n# TYPE miosa_env_agent_%s %s\n", name, help, name, kind)
}

// value writes a value with its labels, if any.
func (p *page) value(name, labels string, v float64) {
	p.WriteString("miosa_env_agent_" + name + labels + " " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

func (p *page) gauge(name, help string, v float64) {
	p.metric(name, "gauge", help)
	p.value(name, "", v)
}

func (p *page) counter(name, help string, v int64) {
	p.metric(name, "counter", help)
	p.value(name, "", float64(v))
}

// metrics returns the page at /metrics.
func (s *Server) metrics() string {
	_, status := s.conf.Engine.Snapshot()
	p := &page{}
	p.metric("info", "gauge", "The agent's version.")
	escapes := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`) // all that the format knows
	p.value("info", fmt.Sprintf(`{version="%s"}`, escapes.Replace(status.Version)), 1)
	p.metric("state", "gauge", "1 for the state the agent is in.")
	for _, state := range []agent.State{agent.Starting, agent.Fresh, agent.Stale, agent.Refused} {
		p.value("state", fmt.Sprintf("{state=%q}", state), gaugeOf(status.State == state))
	}
	p.gauge("start_time_seconds", "When the agent started, in seconds since 1970.", float64(status.StartedAt.UnixMilli())/1000)
	if !status.ConfirmedAt.IsZero() {
		p.gauge("age_seconds", "Time since the vault last confirmed the set that is served.", status.Age)
	}
	p.gauge("bindings", "Values held in memory.", float64(status.Bindings))
	p.gauge("placeholders", "1 if the vault has no agent API, so that no value is a secret.", gaugeOf(status.Placeholders))
	p.counter("set_changes_total", "Changes of the set.", status.Counts.Changes)
	p.counter("vault_requests_total", "Requests to the vault.", status.Counts.Asks)
	p.counter("vault_failures_total", "Requests to the vault without a usable answer.", status.Counts.Failures)
	p.counter("vault_refusals_total", "Requests that the vault refused permanently.", status.Counts.Refusals)
	p.gauge("vault_round_trip_seconds", "Duration of the last request that the vault answered without waiting.", status.RoundTrip/1000)
	p.counter("wakes_total", "Times the machine was suspended or its clock was set.", status.Counts.Wakes)
	p.counter("cache_saves_total", "Times the set was written to the cache.", status.Counts.CacheSaves)
	p.metric("outputs", "gauge", "Outputs by state.")
	outputs := map[agent.OutputState]int{}
	for _, o := range status.Outputs {
		outputs[o.State]++
	}
	for _, state := range []agent.OutputState{agent.Pending, agent.Written, agent.Failed, agent.Unfit, agent.Removed} {
		p.value("outputs", fmt.Sprintf("{state=%q}", state), float64(outputs[state]))
	}
	p.gauge("socket_connections", "Connections to the socket that are being served.", float64(s.active.count()))
	p.gauge("socket_waiting", "Connections to the socket that wait for a change.", float64(s.waiting.count()))
	s.counters.mu.Lock()
	requests := map[string]float64{} // by labels
	for c, n := range s.counters.requests {
		requests[fmt.Sprintf("{op=%q,outcome=%q}", c.op, c.result)] = float64(n)
	}
	s.counters.mu.Unlock()
	if len(requests) > 0 {
		p.metric("socket_requests_total", "counter", "Requests at the socket, by op and outcome.")
	}
	for _, labels := range slices.Sorted(maps.Keys(requests)) {
		p.value("socket_requests_total", labels, requests[labels])
	}
	return p.String()
}

func gaugeOf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
