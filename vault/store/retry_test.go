package store

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// retrying is a database that undoes the first run of each transaction, as a real one does after a conflict. Between both runs it calls
// between; nil: nothing.
type retrying struct {
	database.DB
	between func()
}

var errConflict = errors.New("conflict")

func (r retrying) twice(ctx context.Context, run func(context.Context, func(database.Tx) error) error, do func(database.Tx) error) error {
	err := run(ctx, func(tx database.Tx) error {
		_ = do(tx)
		return errConflict
	})
	if !errors.Is(err, errConflict) {
		return err
	}
	if r.between != nil {
		r.between()
	}
	return run(ctx, do)
}

func (r retrying) Write(ctx context.Context, do func(database.Tx) error) error {
	return r.twice(ctx, r.DB.Write, do)
}

func (r retrying) Read(ctx context.Context, do func(database.Tx) error) error {
	return r.twice(ctx, r.DB.Read, do)
}

// replace replaces the database of a store, whose work in the background it ends first.
func replace(s *Store, db database.DB) {
	s.stop()
	s.ended.Wait()
	s.db = db
}

// A verification counts each event once, whatever was verified in a transaction that was tried again.
func TestRetry_Verification(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	fillLog(t, s, owner, 20)
	want := verified(t, s, owner, &audit.Verifier{})
	replace(s, retrying{DB: s.db})
	if got := verified(t, s, owner, &audit.Verifier{}); got != want || got.Checked < 20 {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What a transaction that is tried again has removed first isn't counted as removed.
func TestRetry_Trim(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	fillTraffic(t, s, owner, 1000)
	replace(s, retrying{DB: s.db})
	keep := audit.Retention{Bytes: 200_000}
	if err := s.AuditLogs().Trim(t.Context(), owner.TenantID, keep); err != nil {
		t.Fatal(err)
	}
	var left int64
	look(t, s, &left, `SELECT traffic_bytes FROM audit_chains WHERE tenant_id = $1`, owner.TenantID)
	if most := keep.Bytes / 2; left > most || left < most/2 {
		t.Errorf("%d bytes of requests are left, want about %d", left, most)
	}
}

// A policy keeps its name if it was made between two runs of a change that gives it none.
func TestRetry_SetPolicy(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	inner := s.db
	replace(s, retrying{DB: inner, between: func() {
		s.db = inner
		if _, err := s.CreatePolicy(t.Context(), owner, api.PolicyRequest{Name: new("of another"), Resource: box1}); err != nil {
			t.Error(err)
		}
	}})
	p, err := s.SetPolicy(t.Context(), owner, "", api.PolicyRequest{Resource: box1, Mode: new(api.ModeAuditOnly)})
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "of another" || p.Mode != api.ModeAuditOnly {
		t.Errorf("%+v", p)
	}
}

// lost is a database that loses its connection after the first run of a transaction.
type lost struct{ database.DB }

func (l lost) Read(ctx context.Context, do func(database.Tx) error) error {
	runs := 0
	return retrying{DB: l.DB}.twice(ctx, l.DB.Read, func(tx database.Tx) error {
		if runs++; runs > 1 {
			tx = broken{tx}
		}
		return do(tx)
	})
}

// broken is a transaction whose connection is lost.
type broken struct{ database.Tx }

func (broken) Query(string, ...any) (*sql.Rows, error) { return nil, errConflict }

// Sets that were read in a transaction whose further tries fail are read again.
func TestRetry_Sets(t *testing.T) {
	s := newStore(t)
	reader := agent(t, s, tenant(t, s, "acme"), box1)
	job := &setRead{actor: reader, resource: box1, do: func(*txn) error { return nil }}
	replace(s, lost{s.db})
	s.readSets([]*setRead{job})
	if job.done {
		t.Error("the read is done, though the transaction has failed")
	}
}
