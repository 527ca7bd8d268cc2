package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// txn is one transaction on behalf of an actor.
type txn struct {
	conn *connection
	// ctx outlives the caller's: a statement that was begun ends by itself, and a client that hangs up
	// can't interrupt the one connection everybody writes on. Statements are short and never wait for
	// longer than the lock timeout.
	ctx   context.Context
	store *Store
	actor Actor
	now   time.Time // in the resolution of the store, microseconds, UTC
	wakes map[topic]struct{}

	renews bool // the schedule of renewals has changed
}

// read runs do on one snapshot of the database, after making sure the actor's key still stands.
func (s *Store) read(ctx context.Context, a Actor, do func(*txn) error) error {
	const tries = 3
	for try := 1; ; try++ {
		err := s.readOnce(ctx, a, do)
		if errors.Is(err, keyring.ErrUnknownRoot) && try < tries {
			continue
		}
		return s.refusal(err, false)
	}
}

func (s *Store) readOnce(ctx context.Context, a Actor, do func(*txn) error) error {
	var conn *connection
	select {
	case conn = <-s.db.readers:
	case <-s.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.db.readers <- conn }()
	select {
	case <-s.closed:
		return errClosed // the connection may be closed as well
	default:
	}
	ctx = context.WithoutCancel(ctx)
	begun, err := conn.begin(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = begun.Rollback() }()
	t := &txn{conn: conn, ctx: ctx, store: s, actor: a, now: now()}
	if err := t.checkKey(); err != nil {
		return err
	}
	return do(t)
}

func (t *txn) exec(query string, args ...any) error {
	_, err := t.conn.exec(t.ctx, query, args...)
	return err
}

func (t *txn) query(query string, args ...any) (*sql.Rows, error) {
	return t.conn.query(t.ctx, query, args...)
}

func (t *txn) queryRow(query string, args ...any) row { return t.conn.queryRow(t.ctx, query, args...) }

// takeTurn waits until nobody else in this process writes. Other processes are SQLite's to keep out.
func (s *Store) takeTurn(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.closed:
		s.giveTurn()
		return errClosed
	default:
		return nil
	}
}

func (s *Store) giveTurn() { <-s.turn }

var errRootRotated = api.NewError(api.ErrUnavailable, "the root key was rotated: this vault must be given the new one")

var errClosed = api.NewError(api.ErrUnavailable, "the vault is stopping")

// refusal turns what a transaction ended with into what may be answered: our own refusals and the
// context's end as they are, the rest wrapped under a sentence that tells nothing of the inside.
func (s *Store) refusal(err error, writing bool) error {
	var ours *api.Error
	switch {
	case err == nil, errors.As(err, &ours), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, keyring.ErrUnknownRoot):
		return errRootRotated
	case passing(err), errors.As(err, new(*unaudited)):
		if writing {
			s.sick.Store(true)
		}
		s.log.Error().Err(err).Bool("writing", writing).Msg("store unavailable")
		return fmt.Errorf("%w: %w", api.NewError(api.ErrUnavailable, excuse(err)), err)
	default:
		return fmt.Errorf("%w: %w", api.NewError(api.ErrInternal, "the store failed"), err)
	}
}

// excuse is what those are told whom the store can't serve now.
func excuse(err error) string {
	switch {
	case diskFull(err):
		return "the vault's disk is full, so nothing can be stored or revealed until there is room"
	case errors.As(err, new(*unaudited)):
		return "this can't be audited now, so it is refused"
	}
	return "the store can't take this now"
}

// checkKey makes sure that the actor's key hasn't been revoked and hasn't expired since it was
// authenticated: a request that waited doesn't outlive its key.
func (t *txn) checkKey() error {
	if t.actor.local {
		return nil
	}
	var expires, revoked sql.NullInt64
	err := t.queryRow(`SELECT expires_at, revoked_at FROM api_keys WHERE id = $1 AND tenant_id = $2`,
		t.actor.KeyID, t.actor.TenantID).Scan(&expires, &revoked)
	if errors.Is(err, sql.ErrNoRows) || err == nil && ended(expires, revoked, t.now) {
		return errKey
	}
	return err
}

// wake marks a resource whose waiting reveals are to look again after the commit.
func (t *txn) wake(r api.Resource) { t.wakes[topic{t.actor.TenantID, r}] = struct{}{} }

// now is the time in the store's resolution.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// micros is a time as the store keeps it; nil is NULL.
func micros(t *time.Time) sql.NullInt64 {
	if t == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: true}
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

func fromNullMicros(n sql.NullInt64) *time.Time {
	if !n.Valid {
		return nil
	}
	t := fromMicros(n.Int64)
	return &t
}
