// Package disk watches how much room the file system of the data directory has.
package disk

import (
	"context"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// Space is the room of a file system, in bytes.
type Space struct{ Free, Total uint64 }

// Of returns the room of the file system of dir, for a process that isn't root.
func Of(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Space{}, err
	}
	return Space{Free: s.Bavail * uint64(s.Bsize), Total: s.Blocks * uint64(s.Bsize)}, nil
}

// maxReserve limits the free room below which a large file system is nearly full.
const maxReserve = 5e9

// Low reports whether the file system is nearly full: a tenth of it is free, or on a large one 5 GB.
func (s Space) Low() bool { return s.Free < min(s.Total/10, maxReserve) }

// interval is between two checks.
const interval = 30 * time.Second

// Watch logs when the file system of dir becomes nearly full, and when it has room again, until ctx ends.
func Watch(ctx context.Context, dir string, log zerolog.Logger) {
	watch(ctx, log, func() (Space, error) { return Of(dir) })
}

func watch(ctx context.Context, log zerolog.Logger, space func() (Space, error)) {
	low := false
	for ctx.Err() == nil {
		if s, err := space(); err == nil && s.Low() != low {
			low = !low
			if low {
				log.Warn().Uint64("free_bytes", s.Free).Uint64("total_bytes", s.Total).Msg("disk is nearly full")
			} else {
				log.Info().Uint64("free_bytes", s.Free).Msg("disk has room again")
			}
		}
		_ = delay.Sleep(ctx, interval) // its error is ctx's
	}
}
