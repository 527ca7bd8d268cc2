package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// WatchSleep calls wake, with a word on why, each time this machine comes out of suspend, its clock is
// set (which is how a resumed or cloned virtual machine learns the time), or this process is continued
// after a stop. It returns when ctx ends. It costs no wake-ups of its own.
func WatchSleep(ctx context.Context, wake func(reason string)) error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	clock, err := clockSet()
	if err != nil {
		return err
	}
	steps := make(chan struct{}, 1)
	var reader sync.WaitGroup
	reader.Go(func() {
		var b [8]byte
		for {
			_, err := clock.Read(b[:])
			if !errors.Is(err, unix.ECANCELED) && err != nil {
				return
			}
			select {
			case steps <- struct{}{}:
			default:
			}
		}
	})
	defer reader.Wait()
	defer func() { _ = clock.Close() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-continued:
			wake("continued")
		case <-steps:
			wake("clock set")
		}
	}
}

// clockSet opens a timer that never rings. A read of it blocks until the wall clock is set, or the
// machine resumes, and then fails with ECANCELED.
func clockSet() (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt32}} // in 2038 it rings once, which does no harm
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch the clock: %w", err)
	}
	return os.NewFile(uintptr(fd), "timerfd"), nil
}

// asleep is how long this machine has been suspended since it booted.
func asleep() time.Duration {
	var boot, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - awake.Nano()).Round(time.Second)
}
