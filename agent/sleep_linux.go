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

// WatchSleep calls wake with a reason each time this machine resumes from suspend, its clock is set (as on a virtual
// machine that was resumed or cloned), or this process is continued after a stop, until ctx ends. wake may be called by
// two goroutines at a time. WatchSleep doesn't poll.
func WatchSleep(ctx context.Context, wake func(reason string)) error {
	clock, err := clockSet()
	if err != nil {
		return err
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer func() { _ = clock.Close() }()
	reader.Go(func() {
		var b [8]byte
		for {
			if _, err := clock.Read(b[:]); err != nil && !errors.Is(err, unix.ECANCELED) {
				return
			}
			wake("clock set")
		}
	})
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-continued:
			wake("continued")
		}
	}
}

// clockSet opens a timer that doesn't expire. A read of it blocks until the wall clock is set or the machine resumes, and
// then fails with ECANCELED.
func clockSet() (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt32}} // in 2038 it expires once, which does no harm
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
