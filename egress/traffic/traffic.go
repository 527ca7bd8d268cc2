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
	eventMemory  = 64                     // bytes that an event takes beside its JSON
	maxBatch     = api.MaxTrafficBody / 2 // bytes of events in a report
	firstPause   = time.Second            // after a report that failed
	longestPause = 30 * time.Second
	lastTime     = 5 * time.Second // for the events that are left at the end
)

// Recorder keeps events until the vault has them. It is safe for concurrent use.
type Recorder struct {
	conf    Config
	metrics *metrics
	wake    chan struct{} // holds a wake-up when a batch is full

	mu      sync.Mutex // guards the fields below
	events  []json.RawMessage
	bytes   int    // of events
	dropped uint64 // since the last warning
}

// New returns a Recorder. Run sends what it records.
func New(c Config) *Recorder {
	r := &Recorder{conf: c, wake: make(chan struct{}, 1)}
	r.metrics = newMetrics(r)
	if c.Metrics != nil {
		c.Metrics.MustRegister(r.metrics.events, r.metrics.failures, r.metrics.waiting)
	}
	return r
}

// Record records an event, to which it gives an id and the time unless it has them. It never blocks. If the memory is full, it
// drops the event. Events in which no secret was used and nothing was refused have half of the memory only, so that a
// resource can't hide the others behind many of them.
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
	most := r.conf.memory()
	if len(e.Swapped) == 0 && !e.Refused {
		most /= 2
	}
	r.mu.Lock()
	size := len(text) + eventMemory
	kept := r.bytes+size <= most
	if kept {
		r.events, r.bytes = append(r.events, text), r.bytes+size
	} else {
		r.dropped++
	}
	full := len(r.events) >= api.MaxTrafficEvents || r.bytes >= maxBatch
	r.mu.Unlock()
	if !kept {
		r.metrics.add(resultDropped, 1)
	} else if full {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// Waiting returns the number of events that wait, and the bytes that they take.
func (r *Recorder) Waiting() (events, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events), r.bytes
}

// Run sends events until ctx ends, and then for a moment those that are left.
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
			_ = delay.Sleep(ctx, pauses.NextRandom(api.RetryAfter(err))) // its error is ctx's
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
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

// send sends one batch. What the vault refuses for good it sends in halves, and drops what is refused alone, so that one event
// doesn't keep back the others. Errors: errNone; others if the vault took no event now.
func (r *Recorder) send(ctx context.Context) error {
	r.warn()
	batch := r.batch()
	if len(batch) == 0 {
		return errNone
	}
	err := r.report(ctx, batch)
	if err == nil {
		return nil
	}
	r.metrics.failures.Inc()
	return err
}

// report sends the first events that wait, and removes those that the vault has taken or refuses.
func (r *Recorder) report(ctx context.Context, batch []json.RawMessage) error {
	_, err := r.conf.Vault.ReportTraffic(ctx, batch)
	switch {
	case err == nil:
		r.remove(len(batch))
		r.metrics.add(resultReported, len(batch))
		return nil
	case !errors.Is(err, api.ErrInvalid) && !errors.Is(err, api.ErrTooLarge) && !errors.Is(err, api.ErrMalformed):
		return err
	case len(batch) > 1:
		if err := r.report(ctx, batch[:len(batch)/2]); err != nil {
			return err
		}
		return r.report(ctx, batch[len(batch)/2:])
	}
	r.remove(1)
	r.metrics.add(resultRefused, 1)
	r.conf.Log.Warn().Err(err).Msg("the vault refuses a traffic event: dropped")
	return nil
}

// batch returns the first events that wait, as many as go into one report.
func (r *Recorder) batch() []json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, bytes := 0, 0
	for n < len(r.events) && n < api.MaxTrafficEvents && (n == 0 || bytes+len(r.events[n]) <= maxBatch) {
		bytes += len(r.events[n])
		n++
	}
	return r.events[:n:n]
}

// remove removes the first n events.
func (r *Recorder) remove(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range r.events[:n] {
		r.bytes -= len(text) + eventMemory
	}
	clear(r.events[:n])
	r.events = r.events[n:]
	if len(r.events) == 0 {
		r.events = nil
	}
}

// warn logs how many events were dropped since it was last called.
func (r *Recorder) warn() {
	r.mu.Lock()
	dropped := r.dropped
	r.dropped = 0
	r.mu.Unlock()
	if dropped > 0 {
		r.conf.Log.Warn().Uint64("events", dropped).Msg("traffic events dropped: too many wait for the vault")
	}
}
