package proxy

import (
	"cmp"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/Miosa-osa/miosa-env/api"
)

// Recorder takes the events of a proxy. Record must not block.
type Recorder interface{ Record(e api.TrafficEvent) }

// canceled is the reason of a request whose client has gone before the server answered.
const canceled = "canceled"

// eventOf is the event of a connection that isn't decrypted.
func (s *Server) eventOf(t *tunnel) api.TrafficEvent {
	return api.TrafficEvent{
		OccurredAt: time.Now(), Resource: s.Resource, Host: t.to.host,
		Effect: t.policy.Verdict, RuleID: t.policy.RuleID, PolicyID: t.policy.PolicyID,
	}
}

// reference names a binding in an event.
func reference(b api.Label) api.EventRef {
	return api.EventRef{ID: b.ID, SecretID: b.SecretID, Version: b.Version}
}

// record records a refusal.
func (s *Server) record(e api.TrafficEvent, why *Refusal) {
	e.Refused, e.Reason, e.Effect = true, string(why.Reason), cmp.Or(e.Effect, api.EffectDeny)
	e.Trim()
	s.Recorder.Record(e)
	if suppressed, ok := s.refusalLog.allow(); ok {
		line := s.Log.Info().Str("host", e.Host)
		for _, field := range [][2]string{{"method", e.Method}, {"reason", e.Reason}, {"binding", why.Binding}, {"rule", why.Rule}} {
			if field[1] != "" {
				line = line.Str(field[0], field[1])
			}
		}
		if suppressed > 0 {
			line = line.Int64("untold", suppressed)
		}
		line.Msg("request refused")
	}
}

// A logLimiter allows loggedBurst lines at first, and then one each loggedEvery, so that a client can't fill the disk.
const (
	loggedEvery = 10 * time.Second
	loggedBurst = 100
)

// logLimiter limits how often lines about one kind of events are logged.
type logLimiter struct {
	rate       *rate.Limiter
	suppressed atomic.Int64 // lines, since the last one that was allowed
}

func newLogLimiter() *logLimiter {
	return &logLimiter{rate: rate.NewLimiter(rate.Every(loggedEvery), loggedBurst)}
}

// allow reports whether a line may be logged now, and how many were not since the last one.
func (l *logLimiter) allow() (suppressed int64, ok bool) {
	if !l.rate.Allow() {
		l.suppressed.Add(1)
		return 0, false
	}
	return l.suppressed.Swap(0), true
}
