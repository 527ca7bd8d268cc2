package audit

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// Logs are the audit logs of all tenants of a store.
type Logs struct {
	Tenants func(context.Context) ([]string, error) // their ids
	Read    Transaction
	Write   Transaction
	Log     zerolog.Logger

	Step func(name string) error // for tests: called between the transactions of Prune; nil: none
}

// Transaction runs do on the log of a tenant in a transaction. The tenant "" is the vault itself, whose log has the uses of
// unknown keys.
type Transaction func(ctx context.Context, tenant string, do func(*Log) error) error

// Export calls each with every event of a tenant, oldest first, up to the newest one at the start.
func (s *Logs) Export(ctx context.Context, tenant string, each func(ExportedEvent) error) error {
	var head api.AuditHead
	err := s.Read(ctx, tenant, func(l *Log) (err error) {
		head, err = l.Head()
		return err
	})
	for last := (ExportedEvent{}); err == nil && last.Seq < head.Seq; {
		var page []ExportedEvent
		err = s.Read(ctx, tenant, func(l *Log) (err error) {
			page, err = l.Export(last, batchEvents)
			return err
		})
		if len(page) == 0 {
			return err
		}
		for _, last = range page {
			if last.Seq > head.Seq {
				return nil
			}
			if err := each(last); err != nil {
				return err
			}
		}
	}
	return err
}

// Prune removes the events of a tenant up to a number, in small transactions while others write, and returns how many it has
// removed. keyID is who asked for it. If it is stopped at any point, the log is whole, and another call continues.
// Errors: api.ErrInvalid for a number that no event has yet; api.ErrConflict for events that were changed outside of the vault.
func (s *Logs) Prune(ctx context.Context, tenant, keyID string, through int64) (events int64, err error) {
	return s.prune(ctx, tenant, keyID, "events up to number "+itoa(through), func(l *Log, _ int64) (removed int, _ int64, err error) {
		removed, err = l.Prune(through, batchEvents)
		return removed, 0, err
	})
}

// prune calls remove until it removes nothing. The event of the first removal has detail. remove gets the number of bytes that were freed by
// transactions before its own, which may run again, and returns how many events it has removed, and their bytes.
func (s *Logs) prune(ctx context.Context, tenant, keyID, detail string, remove func(l *Log, freed int64) (removed int, more int64, err error)) (events int64, err error) {
	freed := int64(0)
	for announced := false; ; announced = true {
		began := time.Now()
		var removed int
		var more int64
		err := s.Write(ctx, tenant, func(l *Log) (err error) {
			if removed, more, err = remove(l, freed); err != nil || announced || removed == 0 {
				return err
			}
			return l.Append(&api.Event{Action: actPrune, Outcome: api.OutcomeOK, KeyID: keyID, Detail: detail})
		})
		if err != nil {
			return events, err
		}
		freed += more
		if events += int64(removed); removed == 0 {
			return events, nil
		}
		if s.Step != nil {
			if err := s.Step("pruned"); err != nil {
				return events, err
			}
		}
		// Leave the lock to others for as long as it was held: SQLite has no queue for it.
		if err := delay.Sleep(ctx, time.Since(began)); err != nil {
			return events, err
		}
	}
}

// pruneInterval is how often events are removed that are too old or too many.
const pruneInterval = time.Hour

// Retain removes events that r doesn't keep, until ctx ends.
func (s *Logs) Retain(ctx context.Context, r Retention) {
	for ctx.Err() == nil {
		if err := s.pruneAll(ctx, r); err != nil && ctx.Err() == nil {
			s.Log.Warn().Err(err).Msg("old audit events not removed")
		}
		_ = delay.Sleep(ctx, pruneInterval) // its error is ctx's
	}
}

func (s *Logs) pruneAll(ctx context.Context, r Retention) error {
	tenants, err := s.Tenants(ctx)
	if err != nil {
		return err
	}
	var problems []error
	for _, tenant := range tenants {
		problems = append(problems, s.Trim(ctx, tenant, r))
	}
	return errors.Join(problems...)
}

// Trim removes events of a tenant that r doesn't keep. Errors: as Prune.
func (s *Logs) Trim(ctx context.Context, tenant string, r Retention) error {
	var surplus, through int64
	err := s.Read(ctx, tenant, func(l *Log) (err error) {
		surplus, err = l.surplusTraffic(r)
		return err
	})
	if err == nil && surplus > 0 {
		var events int64
		detail := "the oldest outgoing requests: more than " + itoa(r.traffic()) + " bytes"
		events, err = s.prune(ctx, tenant, KeyID, detail, func(l *Log, freed int64) (int, int64, error) {
			return l.pruneTraffic(surplus-freed, batchEvents)
		})
		if events > 0 {
			s.Log.Info().Str("tenant_id", tenant).Int64("events", events).Msg("old audit events of traffic removed")
		}
	}
	if err != nil {
		return err
	}
	err = s.Read(ctx, tenant, func(l *Log) (err error) {
		through, err = l.Expired(r)
		return err
	})
	if err != nil || through == 0 {
		return err
	}
	events, err := s.Prune(ctx, tenant, KeyID, through)
	if events > 0 {
		s.Log.Info().Str("tenant_id", tenant).Int64("events", events).Int64("through", through).Msg("old audit events removed")
	}
	return err
}
