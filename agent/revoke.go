package agent

import (
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// wipeAfter is how long after a refusal values that are still in use stay readable.
const wipeAfter = time.Second

// refuses reports whether an error means that the source refuses for good: the key was revoked (401), or the resource
// is gone or another key's (403). A key that was replaced in its file isn't refused: fetch reads it again first.
func refuses(err error) bool {
	return errors.Is(err, api.ErrUnauthorized) || errors.Is(err, api.ErrDenied)
}

// revoke wipes what a refusal has to wipe, and OnRevoke is called the first time:
//
//   - the set: nothing is served any more when revoke returns;
//   - the cache: updateCache removes it, at once and until that has worked;
//   - the outputs: each outlet removes its own, at once and until that has worked;
//   - values in locked memory that outputs or clients still use: collect zeroes them after wipeAfter.
//
// A command that has values in its environment keeps them or is stopped: see OnRevoke in Status.
func (e *Engine) revoke(src Source, err error) {
	first := e.now.Load().status.State != Refused
	e.publish(func(v *view) {
		v.set = api.Snapshot{}
		v.status.State, v.status.Origin, v.status.Placeholders, v.status.Expired = Refused, "", false, nil
		v.status.Vault = src.Vault()
		v.dropped = time.Time{}
		v.status.ConfirmedAt, v.status.Age, v.refusal = time.Time{}, 0, err
		v.status.Counts.Asks++
		v.status.Counts.Refusals++
		v.blame(err)
	})
	e.save() // the cache isn't saved in this state, but removed
	e.tidy()
	if !first {
		return
	}
	if e.conf.OnRevoke != nil {
		e.conf.OnRevoke(err)
		return
	}
	e.conf.Log.Error().Err(err).Msg("key refused: values, cache and outputs removed")
}
