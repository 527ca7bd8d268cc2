package proxy

import (
	"cmp"
	"time"

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
	s.Recorder.Record(e)
	s.Log.Info().Str("host", e.Host).Str("method", e.Method).Str("reason", e.Reason).
		Str("binding", why.Binding).Str("rule", why.Rule).Msg("request refused")
}
