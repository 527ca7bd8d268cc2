package keyfile

import (
	"context"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	patience = 2 * time.Second       // for a key file that is missing or holds no key: it may be being replaced
	settle   = time.Second           // after its last change, a key file may be incomplete
	retry    = 20 * time.Millisecond // between attempts to read a key file

	// Poll is the time between checks of the file of a refused key.
	Poll = 2 * time.Second
)

// Reread returns the Reread function of a client's configuration, which reads the key file again; nil if the key isn't from a
// regular file.
//
// The file may be being replaced. If it can't be read or holds no key, the function tries again for patience. If it holds
// the refused key, the function waits until settle after the file's last change.
func (k Key) Reread() func(context.Context, api.Key) (api.Key, error) {
	if k.Changed.IsZero() {
		return nil
	}
	read := k.reader()
	return func(ctx context.Context, refused api.Key) (api.Key, error) {
		for start := time.Now(); ; {
			now, err := read()
			longest := patience
			if err == nil {
				settling := settle - time.Since(now.Changed)
				if !now.Equal(refused.Value) || settling <= 0 || settling > settle {
					return now.Key, nil
				}
				longest = settle
			}
			if time.Since(start) > longest {
				return now.Key, err
			}
			if err := delay.Sleep(ctx, retry); err != nil {
				return refused, err
			}
		}
	}
}

// Differs reports whether the file of a key holds another key than key.
func (k Key) Differs(key api.Key) bool {
	if k.Changed.IsZero() {
		return false
	}
	now, err := k.reader()()
	return err == nil && !now.Equal(key.Value)
}

// reader returns a function that reads the file of a key again, unless it is a pipe by now.
func (k Key) reader() func() (Key, error) {
	path := cli.AbsolutePath(k.Where)
	return func() (Key, error) { return Read(path, true, k.check) }
}
