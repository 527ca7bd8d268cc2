package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/database/sqlite"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// StoreConfig says where the store keeps its data and what opens it.
type StoreConfig struct {
	DataDir string       // folder of the database; made, 0700, when it's missing, unless Existing
	RootKey keyring.Root // what all tenants' keysets are wrapped with
	// Existing refuses a folder without a database, with ErrNoVault, and makes nothing.
	Existing bool
	Readers  int            // connections that read at the same time, at most 64; 0: 4
	Watch    time.Duration  // how often to look for changes made by other processes, at most 1 s; 0: 250 ms
	Log      zerolog.Logger // never given a value or a key
}

// ErrNoVault is the error of opening, with StoreConfig.Existing, a folder that holds no database.
var ErrNoVault = errors.New("no vault")

// Validate returns every problem at once.
func (c StoreConfig) Validate() error {
	var problems []error
	if c.DataDir == "" {
		problems = append(problems, errors.New("data folder is required"))
	}
	if err := c.RootKey.Validate(); err != nil {
		problems = append(problems, err)
	}
	if c.Readers < 0 || c.Readers > 64 {
		problems = append(problems, errors.New("readers must be 0 to 64"))
	}
	if c.Watch < 0 || c.Watch > time.Second {
		problems = append(problems, errors.New("watch interval must be 0 to 1s"))
	}
	return errors.Join(problems...)
}

func (c StoreConfig) missing() error { return fmt.Errorf("%w in %s", ErrNoVault, c.DataDir) }

func (c StoreConfig) readers() int {
	if c.Readers == 0 {
		return 4
	}
	return c.Readers
}

func (c StoreConfig) watch() time.Duration {
	if c.Watch == 0 {
		return 250 * time.Millisecond
	}
	return c.Watch
}

// Store holds tenants, keys, secrets, bindings and their audit. All methods may be called at the
// same time, and several processes may have the same store open.
//
// Errors of its methods are *api.Error (or wrap one), ready to be answered: ErrInvalid, ErrNotFound,
// ErrConflict, ErrDenied, ErrUnauthorized (the actor's key was revoked meanwhile), ErrUnavailable
// (the disk or the database can't take it now), ErrInternal (a row that doesn't open). Or they are
// the context's.
type Store struct {
	db    database.DB
	keys  *keyring.Keyring
	hub   *hub
	known known
	log   zerolog.Logger

	made bool // by OpenStore: there was none

	sick   atomic.Bool // the last write failed for the disk's sake
	closed chan struct{}
	once   sync.Once
	stop   context.CancelFunc
	ended  sync.WaitGroup

	renewals chan struct{} // holds a nudge when the schedule of renewals has changed

	step func(name string) error // tests only: called between the steps of a rotation, and of a renewal
}

// Actor is who asks: an authenticated key, and where the request came from. The HTTP layer sets
// RemoteAddr and RequestID on what Authenticate returned.
type Actor struct {
	KeyID      string
	TenantID   string
	Resource   *api.Resource // the one resource of a resource key; nil for a tenant key
	ExpiresAt  *time.Time    // when the key ends by itself
	RemoteAddr string
	RequestID  string

	local bool // the operator on this machine, through the command line: no key to check
}

// OpenStore opens or makes the database, brings its schema up to date and checks that the root key
// is the one it was made with.
func OpenStore(ctx context.Context, c StoreConfig) (_ *Store, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	root := c.RootKey
	found, err := sqlite.Exists(c.DataDir)
	switch {
	case err == nil && found:
		root = root.WithoutCreate() // a new key wouldn't open the data
	case c.Existing && err == nil:
		return nil, fmt.Errorf("open store: %w", c.missing())
	case c.Existing:
		return nil, fmt.Errorf("open store: %w", err)
	}
	keys, err := keyring.New(root)
	if err != nil {
		return nil, err
	}
	db, err := sqlite.Open(ctx, c.DataDir, c.readers())
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		db: db, keys: keys, hub: newHub(), log: c.Log,
		closed: make(chan struct{}), renewals: make(chan struct{}, 1), step: func(string) error { return nil },
	}
	newest, err := s.prepare(ctx, c)
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.ended.Go(func() { s.watch(watching, c.watch(), newest) })
	return s, nil
}

// prepare stores a probe of the root key in a new database, or checks the root key against it. It returns the newest
// audit event's number.
func (s *Store) prepare(ctx context.Context, c StoreConfig) (newest int64, err error) {
	err = s.db.Write(ctx, func(tx database.Tx) error {
		var keyID int64
		var probe []byte
		err := tx.QueryRow(`SELECT key_id, probe FROM root_key WHERE id = 1`).Scan(&keyID, &probe)
		if err == nil {
			if err = s.keys.CheckProbe(probe); err != nil {
				return err
			}
			return tx.QueryRow(`SELECT COALESCE(MAX(seq), 0) FROM audit`).Scan(&newest)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if c.Existing { // the file of a program that was killed before it stored a probe
			return c.missing()
		}
		s.made = true
		if keyID, probe, err = s.keys.NewProbe(); err != nil {
			return err
		}
		return tx.Exec(`INSERT INTO root_key (id, key_id, probe) VALUES (1, $1, $2)`, keyID, probe)
	})
	return newest, err
}

// Made reports whether there was no database and OpenStore created it.
func (s *Store) Made() bool { return s.made }

// Close ends waiting reveals with ErrUnavailable, lets the write under way finish, and closes the
// database. Calls after it fail with ErrUnavailable; closing twice is harmless.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		s.stop()
		s.ended.Wait()
		err = s.db.Close()
	})
	return err
}

// Ready reports whether the store accepts writes: nil, or ErrUnavailable. After a failed write it tries a real
// one, and so notices when a full disk has room again.
func (s *Store) Ready(ctx context.Context) error {
	if !s.sick.Load() {
		return s.write(ctx, Actor{local: true}, func(*txn) error { return nil })
	}
	if err := s.db.TryWrite(ctx); err != nil {
		return s.refusal(err, true)
	}
	s.sick.Store(false)
	return nil
}
