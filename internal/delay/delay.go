// Package delay waits: for a time that a context may cut short, between attempts that fail, and at random so that many
// processes don't act at once.
package delay

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"
)

// Sleep waits for d, or until ctx ends. It returns the error of ctx if that has ended, nil otherwise.
func Sleep(ctx context.Context, d time.Duration) error {
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	return ctx.Err()
}

// Random returns a time from 0 to below d, 0 if d isn't positive. It comes from the kernel: two clones of one machine
// would draw the same from a generator that was cloned with them.
func Random(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	var b [8]byte
	_, _ = rand.Read(b[:])
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(d))
}

// Jitter returns d, at random up to a tenth longer or shorter.
func Jitter(d time.Duration) time.Duration { return d - d/10 + Random(d/5) }
