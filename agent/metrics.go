package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/Miosa-osa/miosa-env/api"
)

// asked is what somebody wanted of the socket.
type asked string

const (
	countReveal   asked = "reveal"
	countBindings asked = "bindings"
	countStatus   asked = "status"
	countRefresh  asked = "refresh"
	countMetrics  asked = "metrics"
	countHealth   asked = "healthz"
	countOther    asked = "other" // nothing that is known, or nothing that was read
)

// result is what came of it.
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

// metrics counts what was asked of one socket, and by whom it couldn't be told.
type metrics struct {
	mu       sync.Mutex // guards requests
	requests map[tally]int64
}

type tally struct {
	asked
	result
}

func (m *metrics) count(op asked, r result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.requests == nil {
		m.requests = map[tally]int64{}
	}
	m.requests[tally{op, r}]++
}

// counts gives the numbers of requests, in a stable order.
func (m *metrics) counts() (lines []tally, numbers map[tally]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	numbers = maps.Clone(m.requests)
	lines = slices.Collect(maps.Keys(numbers))
	sort.Slice(lines, func(i, j int) bool {
		a, b := lines[i], lines[j]
		return a.asked < b.asked || a.asked == b.asked && a.result < b.result
	})
	return lines, numbers
}

// page is Prometheus' text format, version 0.0.4. It contains names of metrics and states, never of a
// variable, a secret, a resource or a path. It is written here because client_golang, which the vault uses, would make
// miosa-env 1.7 MB (a fifth) larger.
type page struct{ strings.Builder }

// metric begins a metric. Its values follow.
func (p *page) metric(name, kind, help string) {
	fmt.Fprintf(p, "# HELP miosa_env_agent_%s %s\n# TYPE miosa_env_agent_%s %s\n", name, help, name, kind)
}

// value writes a value with labels, which are ready to print, if any.
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

// text is everything there is to tell.
func (s *Socket) text() string {
	_, status := s.conf.Agent.Snapshot()
	p := &page{}
	p.metric("info", "gauge", "The agent's version.")
	p.value("info", fmt.Sprintf("{version=%s}", quoted(status.Version)), 1)
	p.metric("state", "gauge", "1 for the state the agent is in.")
	for _, state := range []State{Starting, Fresh, Stale, Refused} {
		p.value("state", fmt.Sprintf("{state=%q}", state), is(status.State == state))
	}
	p.gauge("start_time_seconds", "When the agent started, in seconds since 1970.", float64(status.StartedAt.UnixMilli())/1000)
	if !status.ConfirmedAt.IsZero() {
		p.gauge("age_seconds", "Time since the vault last confirmed the set that is served.", status.Age)
	}
	p.gauge("bindings", "Values held in memory.", float64(status.Bindings))
	p.gauge("placeholders", "1 if the vault has no agent API, so that no value is a secret.", is(status.Placeholders))
	p.counter("set_changes_total", "Sets taken.", status.Counts.Changes)
	p.counter("vault_requests_total", "Requests to the vault.", status.Counts.Asks)
	p.counter("vault_failures_total", "Requests to the vault without a usable answer.", status.Counts.Failures)
	p.counter("vault_refusals_total", "Requests that the vault refused for good.", status.Counts.Refusals)
	p.gauge("vault_round_trip_seconds", "Time the vault took for the last request that it didn't hold.", status.RoundTrip/1000)
	p.counter("wakes_total", "Times this machine had slept or its clock had moved.", status.Counts.Wakes)
	p.counter("cache_saves_total", "Times the set was sealed to disk.", status.Counts.CacheSaves)
	p.metric("outputs", "gauge", "Outputs by state.")
	of := map[OutputState]int{}
	for _, o := range status.Outputs {
		of[o.State]++
	}
	for _, state := range []OutputState{Pending, Written, Failed, Unfit, Removed} {
		p.value("outputs", fmt.Sprintf("{state=%q}", state), float64(of[state]))
	}
	p.gauge("socket_connections", "Connections to the socket that are being served.", float64(s.active.count()))
	p.gauge("socket_waiting", "Connections to the socket that wait for a change.", float64(s.waiting.count()))
	if lines, numbers := s.metrics.counts(); len(lines) > 0 {
		p.metric("socket_requests_total", "counter", "Requests at the socket, by what was asked and what came of it.")
		for _, l := range lines {
			p.value("socket_requests_total", fmt.Sprintf("{op=%q,outcome=%q}", l.asked, l.result), float64(numbers[l]))
		}
	}
	return p.String()
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// quoted is a label's value: of all text, only these three are escaped.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// resultOf is what an error to a client counts as.
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
