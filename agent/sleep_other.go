//go:build !linux

package agent

import (
	"context"
	"time"
)

// WatchSleep notices nothing here.
func WatchSleep(ctx context.Context, _ func(reason string)) error { <-ctx.Done(); return nil }

func asleep() time.Duration { return 0 }
