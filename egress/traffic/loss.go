package traffic

import (
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// refusedEvery is the time between warnings about the same resource.
const refusedEvery = time.Minute

// loss counts the events of a resource that will never reach the vault.
type loss struct {
	events  uint64    // dropped or refused
	refused uint64    // by the vault, since the last warning
	why     error     // of the last refusal
	warned  time.Time // when the last warning was logged
}

// Lost returns how many events of a resource will never reach the vault: those that it has refused permanently, and those that were
// dropped because too many waited.
func (r *Recorder) Lost(of api.Resource) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lost[of]; l != nil {
		return l.events
	}
	return 0
}

// Failure returns the error of the last report; nil: the vault took it.
func (r *Recorder) Failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

// lose counts lost events of a resource. r.mu is held.
func (r *Recorder) lose(of api.Resource, n int) *loss {
	l := r.lost[of]
	if l == nil {
		l = &loss{}
		r.lost[of] = l
	}
	l.events += uint64(n)
	return l
}

// refuse drops the first n events of a batch, which are of one resource, and which the vault refuses permanently.
func (r *Recorder) refuse(n int, err error) {
	r.mu.Lock()
	l := r.lose(r.sending.events[0].resource, n)
	l.refused, l.why = l.refused+uint64(n), err
	r.mu.Unlock()
	r.remove(n)
	r.metrics.add(resultRefused, n)
	r.warnRefused(refusedEvery)
}

// warnRefused logs for each resource how many of its events the vault has refused, but at most once per interval.
func (r *Recorder) warnRefused(interval time.Duration) {
	r.mu.Lock()
	warn := map[api.Resource]loss{}
	for of, l := range r.lost {
		if l.refused > 0 && time.Since(l.warned) >= interval {
			warn[of] = *l
			l.refused, l.warned = 0, time.Now()
		}
	}
	r.mu.Unlock()
	for of, l := range warn {
		r.conf.Log.Warn().Stringer("resource", of).Uint64("events", l.refused).Err(l.why).Msg("the vault refuses traffic events: dropped")
	}
}
