package delay

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Backoff returns the pauses between failed attempts. It uses cenkalti/backoff, with Random instead of its generator. It isn't
// safe for concurrent use.
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

// NextRandom returns a random pause of at least half of Next, so that clients which failed together do not retry together. If
// asked is positive, as from a Retry-After header, it returns asked plus a random time: up to a second at first, since servers ask
// many clients for the same number of seconds.
func (b *Backoff) NextRandom(asked time.Duration) time.Duration {
	d := b.Next()
	d = d/2 + Random(d/2)
	if asked > 0 {
		return asked + max(d/2, Random(time.Second))
	}
	return d
}

// Reset starts again with the first pause. Call it after a successful attempt.
func (b *Backoff) Reset() { b.growing.Reset() }
