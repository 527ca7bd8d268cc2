// Package store has the data of a vault and its rules: tenants, keys, secrets, bindings, OAuth flows, and the audit. It
// is plain SQL on a database.DB; values are encrypted with package keyring.
//
// A value is in plaintext only between a request and the row that it is encrypted into, and between that row and the
// seal of a reveal. Every change is committed together with its audit event, and a reveal that can't be audited is
// refused.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/internal/trusted"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/cache"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/database/postgres"
	"github.com/Miosa-osa/miosa-env/vault/database/sqlite"
	"github.com/Miosa-osa/miosa-env/vault/hub"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/lastuse"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/revocation"
	"github.com/Miosa-osa/miosa-env/vault/together"
)

// Config configures a store.
type Config struct {
	DataDir  string         // folder of the SQLite database, if Database is "", and of Revocations; created, 0700, unless Existing
	Database string         // URL of a PostgreSQL database; "": SQLite
	RootKey  keyring.Root   // wraps the tenants' keysets
	Existing bool           // return ErrNoVault for a folder without a database, and create nothing
	Limits   limit.Values   // of tenants
	Shared   bool           // accept files and folders that other users can change
	Watch    time.Duration  // between checks of SQLite for changes by other processes, at most 1 s; 0: 250 ms
	Log      zerolog.Logger // gets no value and no key

	Retention audit.Retention      // of each tenant's audit log; zero: everything stays
	EndedKeys revocation.Retention // of each tenant's ended keys, and of Revocations; zero: everything stays

	// Revocations is the file of package revocation; "": "revocations" in DataDir. Outside of what is restored with the
	// database, it keeps the revocations that a restored database doesn't have.
	Revocations string

	OnAltered func(table string) // called for each refusal of a row that was altered outside of the vault; nil: none

	step func(name string) error // for tests: called between the steps of a rotation and of Open; nil: none
}

// ErrNoVault is the error of Open, with Config.Existing, for a folder without a database.
var ErrNoVault = errors.New("no vault")

// Validate returns every problem at once.
func (c Config) Validate() error {
	var folder, watch error
	if c.DataDir == "" {
		folder = errors.New("data directory is required")
	}
	if c.Watch < 0 || c.Watch > time.Second {
		watch = errors.New("watch interval must be 0 to 1s")
	}
	return errors.Join(folder, c.RootKey.Validate(), watch, c.Limits.Validate())
}

func (c Config) open(ctx context.Context) (database.DB, error) {
	if c.Database == "" {
		return sqlite.Open(ctx, c.DataDir)
	}
	if err := newfile.MkdirAll(c.DataDir); err != nil { // of the revocations
		return nil, err
	}
	return postgres.Open(ctx, c.Database)
}

func (c Config) missing() error {
	if c.Database != "" {
		return fmt.Errorf("%w in the PostgreSQL database", ErrNoVault)
	}
	return fmt.Errorf("%w in %s", ErrNoVault, c.DataDir)
}

func (c Config) watch() time.Duration { return cmp.Or(c.Watch, 250*time.Millisecond) }

// checkFiles returns an error if another user can change or replace the files of the store, or the root key's.
func (c Config) checkFiles() error {
	if c.Shared {
		return nil
	}
	for _, file := range append(sqlite.Files(c.DataDir), c.revocations()) {
		if err := trusted.Check(file); err != nil {
			return fmt.Errorf("data directory %s: %w", c.DataDir, err)
		}
	}
	if c.RootKey.File == "" {
		return nil
	}
	if err := trusted.Check(c.RootKey.File); err != nil {
		return fmt.Errorf("root key %s: %w", c.RootKey.File, err)
	}
	return nil
}

func (c Config) revocations() string {
	return cmp.Or(c.Revocations, filepath.Join(c.DataDir, "revocations"))
}

// Store is an open store. It is safe for concurrent use, and several processes may have the same store open.
//
// The errors of its methods are contexts' errors, or wrap an *api.Error for the client: ErrInvalid, ErrNotFound,
// ErrConflict, ErrDenied, ErrUnauthorized (the actor's key was revoked or has expired), ErrUnavailable (the disk or the
// database fails for now), ErrInternal (a row that doesn't open).
type Store struct {
	id      atomic.Pointer[string] // of this process, in its announcements
	conf    Config
	db      database.DB
	keys    *keyring.Keyring
	hub     *hub.Hub
	traffic *hub.Hub // of what RecordTraffic records, by tenant
	own     ownEvents
	lost    atomic.Bool // for longer than patience, changes by other processes couldn't be noticed
	log     zerolog.Logger
	sets    cache.Cache[setKey, boundSet] // of resources, verified and still encrypted
	altered alteredRows

	limits *limit.Operations

	setReads     *together.Queue[setRead]
	revealEvents *together.Queue[revealEvent]

	authenticated atomic.Pointer[authCache]
	refusals      audit.Refusals
	revocations   *revocation.List
	unsettled     sync.Map // ids of listed keys whose revocation isn't known to be committed
	uses          lastuse.Uses

	created bool // by Open

	failing atomic.Bool     // the last write failed because of the disk or the database
	open    context.Context // done after Close
	stop    context.CancelFunc
	ended   sync.WaitGroup

	rescheduled chan struct{} // holds a wake-up after a change of the schedules

	step func(name string) error // for tests: called between the steps of a rotation
}

// Actor identifies the caller of a method: its authenticated key and its request. Authenticate leaves RemoteAddr and
// RequestID empty.
type Actor struct {
	KeyID    string
	TenantID string
	Resource api.Resource // of a resource key; zero for a tenant key
	api.Restrictions
	ExpiresAt  *time.Time // of the key; nil: never
	RemoteAddr string
	RequestID  string

	mac    string // of the key's row
	broker bool   // it is a broker key, of the resources in Restrictions
	local  bool   // the operator on this machine or the vault itself: there is no key to check
}

// limited is the tenant whose limits the actor has; "": none has.
func (a Actor) limited() string {
	if a.local {
		return ""
	}
	return a.TenantID
}

func (a Actor) isTenant() bool { return !a.broker && !a.isResource() }

func (a Actor) isResource() bool { return a.Resource != api.Resource{} }

// Open opens or creates the database, migrates it, and checks the root key.
func Open(ctx context.Context, c Config) (_ *Store, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := c.checkFiles(); err != nil {
		return nil, err
	}
	if c.Existing && c.Database == "" {
		found, err := sqlite.Exists(c.DataDir)
		if err == nil && !found {
			err = c.missing()
		}
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	keys, err := keyring.New(c.RootKey)
	if err != nil {
		return nil, err
	}
	if err := keys.Sweep(); err != nil {
		c.Log.Warn().Err(err).Msg("old root keys not removed")
	}
	db, err := c.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		conf: c, db: db, keys: keys, hub: hub.New(), traffic: hub.New(), log: c.Log, limits: limit.NewOperations(&c.Limits), rescheduled: make(chan struct{}, 1), step: c.step,
	}
	if s.step == nil {
		s.step = func(string) error { return nil }
	}
	s.renewProcessID()
	s.setReads = together.New(maxTogether, max(1, runtime.GOMAXPROCS(0)/2), s.readSets)
	s.revealEvents = together.New(maxTogether, 1, s.auditReveals)
	s.authenticated.Store(new(authCache))
	seen, err := s.prepare(ctx, c)
	if err == nil {
		err = s.revokeListed(ctx, c.revocations())
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.open, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.ended.Go(func() { s.watch(c.watch(), seen) })
	s.ended.Go(func() { s.uses.Run(s.open, db, c.Log) })
	logs := s.AuditLogs()
	s.ended.Go(func() { s.refusals.Run(s.open, logs) })
	if c.Retention != (audit.Retention{}) {
		s.ended.Go(func() { logs.Retain(s.open, c.Retention) })
	}
	if c.EndedKeys != (revocation.Retention{}) {
		s.ended.Go(func() { s.deleteEnded(c.EndedKeys) })
	}
	return s, nil
}

// prepare stores a probe of the root key in a new database, or checks the root key against it. It returns the end of
// the audit log.
func (s *Store) prepare(ctx context.Context, c Config) (end position, err error) {
	err = s.db.Write(ctx, func(tx database.Tx) error {
		var keyID int64
		var probe []byte
		err := tx.QueryRow(`SELECT key_id, probe FROM root_key WHERE id = 1`).Scan(&keyID, &probe)
		if err == nil {
			authenticated, err := s.keys.CheckProbe(probe)
			if err == nil && !authenticated {
				t := &txn{Tx: tx, store: s, actor: operator, now: now()}
				if err = t.chainAudit(); err == nil {
					err = t.authenticateAll()
				}
			}
			if err != nil {
				return err
			}
			end, err = endOfLog(tx)
			return err
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if c.Existing { // the file of a program that was killed before it stored a probe
			return c.missing()
		}
		s.created = true
		if keyID, probe, err = s.keys.NewProbe(); err != nil {
			return err
		}
		return tx.Exec(`INSERT INTO root_key (id, key_id, probe) VALUES (1, $1, $2)`, keyID, probe)
	})
	return end, err
}

// CheckRoot returns an error unless the root key is the one of a vault's database, and its rows are authenticated.
func CheckRoot(tx database.Tx, root keyring.Root) error {
	keys, err := keyring.New(root)
	if err != nil {
		return err
	}
	var probe []byte
	if err := tx.QueryRow(`SELECT probe FROM root_key WHERE id = 1`).Scan(&probe); errors.Is(err, sql.ErrNoRows) {
		return database.ErrMissing // it was created, and its first vault killed
	} else if err != nil {
		return err
	}
	authenticated, err := keys.CheckProbe(probe)
	if err == nil && !authenticated {
		err = errors.New("the rows aren't authenticated yet: run miosa-vault keys list on the database first, which does that")
	}
	return err
}

// Created reports whether Open created the database.
func (s *Store) Created() bool { return s.created }

// Close ends waiting reveals with ErrUnavailable, waits for the write under way, and closes the database. Later calls
// return ErrUnavailable. A second Close does nothing.
func (s *Store) Close() error {
	s.stop()
	s.ended.Wait()
	return s.db.Close()
}

// DB is the database, for tests that damage it.
func (s *Store) DB() database.DB { return s.db }

// Ready reports whether the store accepts writes: nil, or ErrUnavailable. After a failed write it tries a real
// one, and so notices when a full disk has room again.
func (s *Store) Ready(ctx context.Context) error {
	if !s.failing.Load() {
		return s.write(ctx, Actor{local: true}, anyKey, func(*txn) error { return nil })
	}
	if err := s.db.TryWrite(ctx); err != nil {
		return s.refusal(err, true)
	}
	s.failing.Store(false)
	return nil
}

// errUncertain is the error of a change that may have been made: only what has the same effect twice may be sent again.
var errUncertain = &api.Error{Kind: api.ErrUnavailable, Message: "the database's answer was lost: this may have been stored or not", Retryable: new(bool)}

var errRootRotated = api.NewError(api.ErrUnavailable, "the root key was rotated: this vault must be given the new one")

// refusal returns the error of a transaction as clients may see it: an *api.Error or a context's error as it is, others
// wrapped under an *api.Error without internal details.
func (s *Store) refusal(err error, writing bool) error {
	var ours *api.Error
	var large *largeSet
	s.reportAltered(err)
	switch {
	case err == nil, errors.As(err, &ours), errors.As(err, &large), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, keyring.ErrUnknownRoot):
		return errRootRotated
	case s.db.Transient(err), errors.Is(err, errUnaudited):
		if writing {
			s.failing.Store(true)
		}
		s.log.Error().Err(err).Bool("writing", writing).Msg("store unavailable")
		message := "the store can't take this now"
		switch reason := s.db.Unwritable(err); {
		case reason != "":
			message = reason + ", so nothing can be stored or revealed now"
		case errors.Is(err, errUnaudited):
			message = "this can't be audited now, so it is refused"
		case errors.Is(err, database.ErrUncertain):
			return fmt.Errorf("%w: %w", errUncertain, err)
		}
		return fmt.Errorf("%w: %w", api.NewError(api.ErrUnavailable, message), err)
	}
	s.log.Error().Err(err).Bool("writing", writing).Msg("store failed")
	return fmt.Errorf("%w: %w", api.NewError(api.ErrInternal, "the store failed"), err)
}
