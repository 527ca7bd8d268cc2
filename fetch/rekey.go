package fetch

import (
	"context"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

const (
	// maxRekeys is how often in a row one call is made again with another key that is refused at once.
	maxRekeys = 5
	// keyTaken is how long a call takes whose key counts as taken at first, whatever became of it then: a reveal may
	// wait through any number of rotations.
	keyTaken = time.Second
)

// Key is the key that calls are made with now: that of the configuration, until Config.Reread has given
// another one.
func (c *Client) Key() api.Key { return *c.key.Load() }

// refusesKey reports whether an error may go away with another key.
func refusesKey(err error) bool {
	return errors.Is(err, api.ErrUnauthorized) || errors.Is(err, api.ErrDenied)
}

// renew returns nil where there is another key than the one that was refused with err: one that another call has
// read meanwhile, or one that is read now. Else it returns err, or the context's error if that ended before it was
// known.
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
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case unread != nil:
		c.log.Warn().Err(unread).Msg("the vault refuses the key, and it can't be read again")
		return err
	case key.Len() == 0 || key.Equal(refused.Value):
		return err
	}
	c.key.Store(&key)
	c.log.Info().Msg("the vault refused the key, and there is another one by now: asking with that")
	return nil
}
