package agent

import (
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// wipeAfter is the time from a refusal until values that are still in use are wiped.
const wipeAfter = time.Second

// revoke removes everything after the source has refused the key: the key was revoked (401), or the resource is gone or
// belongs to another key (403). If the key was replaced in its file, fetch reads that before it returns such an error.
// These are removed:
//
//   - the set: nothing is served when revoke returns;
//   - the cache: updateCache removes it, and retries until that works;
//   - the outputs: each outlet removes its own, and retries until that works;
//   - values in locked memory that outputs or clients still use: collect wipes them after wipeAfter.
//
// A command that has values in its environment keeps them or is stopped: see Status.OnRevoke.
func (e *Engine) revoke(src Source, err error) {
	first := e.now.Load().status.State != Refused
	e.publish(func(v *view) {
		v.set = api.Snapshot{}
		v.status.State, v.status.Origin, v.status.Placeholders, v.status.Expired = Refused, "", false, nil
		v.status.Vault = src.Vault()
		v.dropped = time.Time{}
		v.status.ConfirmedAt, v.status.Age, v.refusal, v.refused = time.Time{}, 0, err, e.memory.Last()
		v.status.Counts.Asks++
		v.status.Counts.Refusals++
		v.blame(err)
	})
	e.save() // which removes the cache in this state
	e.tidy()
	if first && !e.conf.Heap {
		e.conf.Log.Error().Err(err).Msg("key refused: all values removed")
	}
}
