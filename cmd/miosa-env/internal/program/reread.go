package program

import (
	"context"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

const (
	keyPatience = 2 * time.Second       // for a key file that is missing or holds no key: it may be about to be replaced
	keySettle   = time.Second           // after its last change a key file may still be half written
	keyRetry    = 20 * time.Millisecond // between two readings meanwhile
	KeyPoll     = 2 * time.Second       // between two readings of the file of a key that is refused
)

// Reread gives what fetch.Config.Reread is for a key: a function that reads its file again; nil where it doesn't come
// from a regular file.
//
// A file may be found in the middle of being replaced. One that can't be read, or holds no key, is read again for
// keyPatience before that is an error, and the key that was refused counts as a whole one keySettle after the
// file's last change.
func (s *Settings) Reread(found FoundKey) func(context.Context, api.Key) (api.Key, error) {
	if found.Changed.IsZero() {
		return nil
	}
	path, again := AbsolutePath(found.Where), *s
	again.Rereads = true // it may be a pipe by now
	return func(ctx context.Context, refused api.Key) (api.Key, error) {
		retry := time.NewTicker(keyRetry)
		defer retry.Stop()
		for began := time.Now(); ; {
			now, err := again.ReadKey(path)
			patience := keyPatience
			if err == nil {
				settling := keySettle - time.Since(now.Changed)
				if !now.Equal(refused.Value) || settling <= 0 || settling > keySettle {
					return now.Key, nil
				}
				patience = keySettle
			}
			if time.Since(began) > patience {
				return now.Key, err
			}
			select {
			case <-ctx.Done():
				return refused, ctx.Err()
			case <-retry.C:
			}
		}
	}
}

// Differs reports whether the file of a key holds another one by now.
func (s *Settings) Differs(found FoundKey, key api.Key) bool {
	if found.Changed.IsZero() {
		return false
	}
	again := *s
	again.Rereads = true
	now, err := again.ReadKey(AbsolutePath(found.Where))
	return err == nil && !now.Equal(key.Value)
}
