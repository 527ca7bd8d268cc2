// Package lastuse collects the times at which keys were last used, and writes them in batches, at most once a minute for each key.
package lastuse

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/vault/database"
)

const (
	writeInterval = 5 * time.Second // between writes of the times that are due
	keyInterval   = time.Minute     // between writes of the time of one key
	batch         = 200             // keys whose times one transaction writes
)

// Uses collects the uses of keys. The zero Uses is empty. It is safe for concurrent use.
type Uses struct {
	mu   sync.Mutex // guards keys
	keys map[string]use
}

type use struct {
	last    time.Time
	written time.Time // the value of last that was written last; zero: none
}

// Add records a use of a key.
func (u *Uses) Add(id string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.keys == nil {
		u.keys = map[string]use{}
	}
	k := u.keys[id]
	k.last = now
	u.keys[id] = k
}

// Run writes times until ctx ends, and then those that are left. Times that can't be written are tried again.
func (u *Uses) Run(ctx context.Context, db database.DB, log zerolog.Logger) {
	tick := time.NewTicker(writeInterval)
	defer tick.Stop()
	for open := true; open; {
		select {
		case <-ctx.Done():
			open = false
		case <-tick.C:
		}
		if err := u.write(context.WithoutCancel(ctx), db, time.Now(), !open); err != nil {
			log.Debug().Err(err).Msg("last uses of keys not written")
		}
	}
}

// write writes the times that are due, or all.
func (u *Uses) write(ctx context.Context, db database.DB, now time.Time, all bool) error {
	due := u.due(now, all)
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(due)), batch) {
		err := db.Write(ctx, func(tx database.Tx) error {
			for _, id := range ids {
				err := tx.Defer(`UPDATE api_keys SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)`, due[id].UnixMicro(), id)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		u.written(ids, due)
	}
	return nil
}

// due returns the times to write, by key: those that differ from what was written, and with all false only of keys whose time wasn't
// written within keyInterval. It forgets keys that haven't been used since.
func (u *Uses) due(now time.Time, all bool) map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	due := map[string]time.Time{}
	for id, k := range u.keys {
		switch {
		case k.last.After(k.written) && (all || now.Sub(k.written) >= keyInterval):
			due[id] = k.last
		case !k.last.After(k.written) && now.Sub(k.written) >= keyInterval:
			delete(u.keys, id) // not used since
		}
	}
	return due
}

// written records that the times of ids were written.
func (u *Uses) written(ids []string, at map[string]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, id := range ids {
		k := u.keys[id]
		k.written = at[id]
		u.keys[id] = k
	}
}
