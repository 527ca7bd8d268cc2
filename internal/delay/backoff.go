package delay

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Backoff gives the pauses between attempts that fail one after the other. It is cenkalti/backoff's, except that what is
// random comes from Random. It isn't safe for concurrent use.
type Backoff struct{ growing *backoff.ExponentialBackOff }

// NewBackoff returns a Backoff whose pauses double from first to longest.
func NewBackoff(first, longest time.Duration) *Backoff {
	return &Backoff{backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first),
		backoff.WithMaxInterval(longest),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0),
		backoff.WithMaxElapsedTime(0),
	)}
}

// Next returns the pause before the next attempt.
func (b *Backoff) Next() time.Duration { return b.growing.NextBackOff() }

// NextRandom returns the pause before the next attempt at a server, which others attempt too: at least half of the pause
// that Next would return, so that clients that failed together come back apart. A positive asked is how long the server
// wants to be left alone (Retry-After): a random time is added to it, and it is never cut short.
func (b *Backoff) NextRandom(asked time.Duration) time.Duration {
	d := b.Next()
	d = d/2 + Random(d/2)
	if asked > 0 {
		return asked + d/2
	}
	return d
}

// Reset starts again with the first pause, after an attempt that succeeded.
func (b *Backoff) Reset() { b.growing.Reset() }
