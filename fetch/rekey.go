package fetch

import (
	"context"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

const (
	// maxRekeys limits how often in a row one call is repeated with another key that is refused at once.
	maxRekeys = 5
	// keyTaken is the duration of a call after which its key counts as accepted at first: during one waiting reveal, the
	// key may be replaced any number of times.
	keyTaken = time.Second
)

// Key returns the current key: that of the configuration, until Config.Reread returns another one.
func (c *Client) Key() api.Key { return *c.key.Load() }

// renew returns nil if there is a key other than the one that was refused with err: another call has read one in the
// meantime, or it reads one now. Otherwise it returns err, or the context's error if that ended first.
func (c *Client) renew(ctx context.Context, refused api.Key, err error) error {
	if c.reread == nil {
		return err
	}
	select {
	case c.rereading <- struct{}{}:
		defer func() { <-c.rereading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if now := c.Key(); !now.Equal(refused.Value) {
		return nil
	}
	key, unread := c.reread(ctx, refused)
	if unread == nil {
		unread = key.CheckSent()
	}
	switch {
	case unread == nil && key.Len() > 0 && !key.Equal(refused.Value):
		c.key.Store(&key)
		c.log.Info().Msg("key refused: retrying with the replaced key")
		return ctx.Err() // the source may have been replaced for the same reason
	case ctx.Err() != nil:
		return ctx.Err()
	case unread != nil:
		c.log.Warn().Err(unread).Msg("key refused and cannot be reread")
	}
	return err
}
