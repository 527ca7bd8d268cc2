package program

import (
	"context"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	keyPatience = 2 * time.Second       // for a key file that is missing or holds no key: it may be being replaced
	keySettle   = time.Second           // after its last change, a key file may be incomplete
	keyRetry    = 20 * time.Millisecond // between attempts to read a key file

	// KeyPoll is the time between checks of the file of a refused key.
	KeyPoll = 2 * time.Second
)

// Reread returns the Reread function of a client's configuration, which reads the key file again; nil if the key isn't from a
// regular file.
//
// The file may be being replaced. If it can't be read or holds no key, the function tries again for keyPatience. If it holds
// the refused key, the function waits until keySettle after the file's last change.
func (s *Settings) Reread(found FoundKey) func(context.Context, api.Key) (api.Key, error) {
	if found.Changed.IsZero() {
		return nil
	}
	read := s.reader(found)
	return func(ctx context.Context, refused api.Key) (api.Key, error) {
		for start := time.Now(); ; {
			now, err := read()
			patience := keyPatience
			if err == nil {
				settling := keySettle - time.Since(now.Changed)
				if !now.Equal(refused.Value) || settling <= 0 || settling > keySettle {
					return now.Key, nil
				}
				patience = keySettle
			}
			if time.Since(start) > patience {
				return now.Key, err
			}
			if err := delay.Sleep(ctx, keyRetry); err != nil {
				return refused, err
			}
		}
	}
}

// Differs reports whether the file of a key holds another key than key.
func (s *Settings) Differs(found FoundKey, key api.Key) bool {
	if found.Changed.IsZero() {
		return false
	}
	now, err := s.reader(found)()
	return err == nil && !now.Equal(key.Value)
}

// reader returns a function that reads the file of a key again, unless it is a pipe by now.
func (s *Settings) reader(found FoundKey) func() (FoundKey, error) {
	path, again := AbsolutePath(found.Where), *s
	again.Rereads = true
	return func() (FoundKey, error) { return again.ReadKey(path) }
}
