// Package traffic reports the requests of a broker's resources to the vault, in batches. While the vault is away it keeps them
// in memory, up to a limit.
package traffic

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// Vault takes reports: a fetch.Client is one.
type Vault interface {
	ReportTraffic(ctx context.Context, events []json.RawMessage) (api.TrafficAnswer, error)
}

// Config configures a Recorder.
type Config struct {
	Vault    Vault
	Memory   int           // bytes of events that wait, at most; 0: 16 MiB
	Interval time.Duration // how long an event waits for others; 0: 1 s
	Log      zerolog.Logger
	Metrics  prometheus.Registerer // nil: none
}

func (c *Config) memory() int             { return cmp.Or(c.Memory, 16<<20) }
func (c *Config) interval() time.Duration { return cmp.Or(c.Interval, time.Second) }

const (
	eventMemory  = 64                     // bytes that an event takes in addition to its JSON
	maxBatch     = api.MaxTrafficBody / 2 // bytes of events in a report
	firstPause   = time.Second            // after a report that failed
	longestPause = 30 * time.Second
	longestAsked = time.Hour       // that the vault may ask for, as of an agent
	finalTime    = 5 * time.Second // for sending what is left when Run ends
)

// Recorder keeps events until the vault has them. It is safe for concurrent use.
type Recorder struct {
	conf    Config
	metrics *metrics
	wake    chan struct{} // holds a wake-up when a batch is full

	mu      sync.Mutex // guards the fields below
	sending queue      // of the next report, or the one that is on its way
	used    queue      // events in which a secret was used or the request was refused
	plain   queue      // the others
	last    uint64     // the number of the newest event
	dropped uint64     // since the last warning
	failure error      // of the last report; nil: the vault took it
	lost    map[api.Resource]*loss
}

// New returns a Recorder. Run sends what it records.
func New(c Config) *Recorder {
	r := &Recorder{conf: c, wake: make(chan struct{}, 1), lost: map[api.Resource]*loss{}}
	r.metrics = newMetrics(r)
	if c.Metrics != nil {
		c.Metrics.MustRegister(r.metrics.events, r.metrics.failures, r.metrics.waiting)
	}
	return r
}

// Record records an event, with a new id and the current time unless it has them. It never blocks. If the memory is full, it drops
// the oldest event that isn't being sent. Events without a secret and without a refusal may take half of the memory, and are dropped
// before others, so that a resource can't push out the events that matter with requests that don't.
func (r *Recorder) Record(e api.TrafficEvent) {
	e.ID = cmp.Or(e.ID, strings.ToLower(rand.Text()))
	if e.OccurredAt.IsZero() {
		e.OccurredAt = time.Now()
	}
	e.OccurredAt = e.OccurredAt.UTC()
	e.Trim()
	if e.Validate() != nil {
		r.metrics.add(resultInvalid, 1)
		return
	}
	text, err := json.Marshal(e)
	if err != nil {
		r.metrics.add(resultInvalid, 1)
		return
	}
	r.mu.Lock()
	dropped := r.keep(e.Resource, text, len(e.Swapped) == 0 && !e.Refused)
	r.dropped += uint64(dropped)
	events, bytes := r.waiting()
	full := events >= api.MaxTrafficEvents || bytes >= maxBatch
	r.mu.Unlock()
	if dropped > 0 {
		r.metrics.add(resultDropped, dropped)
	}
	if full {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// keep adds an event, and returns how many events it has dropped for it. r.mu is held.
func (r *Recorder) keep(of api.Resource, text json.RawMessage, plain bool) (dropped int) {
	r.last++
	q := &r.used
	if plain {
		q = &r.plain
	}
	q.push(waiting{r.last, of, text})
	for most := r.conf.memory(); ; dropped++ {
		_, bytes := r.waiting()
		switch {
		case r.plain.bytes > most/2 || bytes > most && r.plain.bytes > 0:
			r.lose(r.plain.pop(), 1)
		case bytes > most && r.used.bytes > 0:
			r.lose(r.used.pop(), 1)
		default:
			return dropped
		}
	}
}

// Waiting returns the number of events that wait, and the bytes that they take.
func (r *Recorder) Waiting() (events, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting()
}

// waiting is Waiting. r.mu is held.
func (r *Recorder) waiting() (events, bytes int) {
	for _, q := range []*queue{&r.sending, &r.used, &r.plain} {
		events, bytes = events+len(q.events), bytes+q.bytes
	}
	return events, bytes
}

// Run sends events until ctx ends, and then for at most finalTime those that are left.
func (r *Recorder) Run(ctx context.Context) {
	pauses := delay.NewBackoff(firstPause, longestPause)
	for ctx.Err() == nil {
		select {
		case <-r.wake:
		case <-time.After(r.conf.interval()):
		case <-ctx.Done():
		}
		for ctx.Err() == nil {
			err := r.send(ctx)
			if errors.Is(err, errNone) {
				break
			}
			if err == nil {
				pauses.Reset()
				continue
			}
			if ctx.Err() == nil {
				events, bytes := r.Waiting()
				r.conf.Log.Warn().Err(err).Int("events", events).Int("bytes", bytes).Msg("traffic not reported: it waits")
			}
			_ = delay.Sleep(ctx, pauses.NextRandom(min(api.RetryAfter(err), longestAsked))) // its error is ctx's
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalTime)
	defer cancel()
	defer r.warnRefused(0)
	for {
		if err := r.send(last); err != nil {
			if events, _ := r.Waiting(); events > 0 {
				r.conf.Log.Warn().Err(err).Int("events", events).Msg("traffic not reported before the end")
			}
			return
		}
	}
}

// errNone is the error of send if no event waits.
var errNone = errors.New("no events wait")

// send sends one batch. Errors: errNone; others if the vault took no event now.
func (r *Recorder) send(ctx context.Context) error {
	r.warnDropped()
	r.warnRefused(refusedEvery)
	batch := r.batch()
	if len(batch) == 0 {
		return errNone
	}
	err := r.report(ctx, batch)
	r.mu.Lock()
	r.failure = err
	r.mu.Unlock()
	if err != nil {
		r.metrics.failures.Inc()
	}
	return err
}

// report sends a batch, and removes the events that the vault has accepted or refuses permanently.
//
// It bisects, so that refused events don't hold back others. If the key isn't for all resources, it sends the events of half of the
// resources at a time, and drops those of a single resource that is refused. If an event is invalid, it sends half of the events at a
// time, and drops a single event that is refused.
func (r *Recorder) report(ctx context.Context, batch []json.RawMessage) error {
	_, err := r.conf.Vault.ReportTraffic(ctx, batch)
	part := len(batch)
	switch {
	case err == nil:
		r.remove(part)
		r.metrics.add(resultReported, part)
		return nil
	case refusesResource(err):
		batch, part = r.group(part)
	case refusesEvent(err):
		part = max(part/2, 1)
	default:
		return err
	}
	if part < len(batch) {
		if err := r.report(ctx, batch[:part]); err != nil {
			return err
		}
		return r.report(ctx, batch[part:])
	}
	r.refuse(part, err)
	return nil
}

// refusesResource reports whether the vault says that the key isn't for an event's resource.
func refusesResource(err error) bool { return byVault(err) && errors.Is(err, api.ErrDenied) }

// refusesEvent reports whether the vault would refuse the report again.
func refusesEvent(err error) bool {
	return byVault(err) && (errors.Is(err, api.ErrInvalid) || errors.Is(err, api.ErrMalformed)) || errors.Is(err, api.ErrTooLarge)
}

// byVault reports whether an error is the vault's answer. A 4xx of another server, such as a proxy, says nothing about the events.
func byVault(err error) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && e.Code == e.Kind.Code
}

// batch returns what is to be sent next: what was not taken last time, or the oldest events, as many as go into one report.
func (r *Recorder) batch() []json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sending.events) == 0 {
		bytes := 0
		for len(r.sending.events) < api.MaxTrafficEvents {
			from := older(&r.used, &r.plain)
			if len(from.events) == 0 {
				break
			}
			next := from.events[0]
			if bytes += len(next.text); bytes > maxBatch && bytes > len(next.text) {
				break
			}
			from.pop()
			r.sending.push(next)
		}
	}
	return r.sending.texts(len(r.sending.events))
}

// group is queue.group for the first n events of a batch, which it returns in their new order.
func (r *Recorder) group(n int) (batch []json.RawMessage, part int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	part = r.sending.group(n)
	return r.sending.texts(n), part
}

// remove removes the first n events of a batch.
func (r *Recorder) remove(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range n {
		r.sending.pop()
	}
}

// warnDropped logs how many events were dropped since it was last called.
func (r *Recorder) warnDropped() {
	r.mu.Lock()
	dropped := r.dropped
	r.dropped = 0
	r.mu.Unlock()
	if dropped > 0 {
		r.conf.Log.Warn().Uint64("events", dropped).Msg("traffic events dropped: too many wait for the vault")
	}
}
