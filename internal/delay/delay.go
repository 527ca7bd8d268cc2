// Package delay has sleeping with a context, pauses between attempts, and random delays, so that many processes do not act at
// the same time.
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

// Random returns a duration from 0 to below d, or 0 if d isn't positive. It uses the kernel's generator: clones of a virtual
// machine would get the same numbers from one in the process.
func Random(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	var b [8]byte
	_, _ = rand.Read(b[:])
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(d))
}

// Jitter returns a random duration up to a tenth longer or shorter than d.
func Jitter(d time.Duration) time.Duration { return d - d/10 + Random(d/5) }
