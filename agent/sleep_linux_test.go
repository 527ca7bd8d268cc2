package agent_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"golang.org/x/sys/unix"
)

// woken runs WatchSleep until the end of a test, and returns its reasons.
func woken(t *testing.T) <-chan string {
	t.Helper()
	reasons, ended := make(chan string, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- agent.WatchSleep(ctx, func(reason string) { reasons <- reason }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return reasons
}

// wantReason repeats do until the watcher reports the reason: it may not be watching at first.
func wantReason(t *testing.T, reasons <-chan string, want string, do func()) {
	t.Helper()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(20 * time.Second)
	for {
		do()
		select {
		case got := <-reasons:
			if got == want {
				return
			}
		case <-again.C:
		case <-deadline:
			t.Fatalf("no wake with the reason %q", want)
		}
	}
}

func TestWatchSleepNoticesSIGCONT(t *testing.T) {
	wantReason(t, woken(t), "continued", func() { must(t, unix.Kill(os.Getpid(), unix.SIGCONT)) })
}

// The clock is set to its own time, which moves it by microseconds and counts as a change.
func TestWatchSleepNoticesTheClock(t *testing.T) {
	wantReason(t, woken(t), "clock set", func() {
		var now unix.Timespec
		must(t, unix.ClockGettime(unix.CLOCK_REALTIME, &now))
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); errors.Is(err, unix.EPERM) {
			needs.Granted(t, err, "setting the clock")
		} else if err != nil {
			t.Fatal(err)
		}
	})
}

// Without events WatchSleep reports nothing.
func TestWatchSleepNoEvents(t *testing.T) {
	reasons := woken(t)
	select {
	case got := <-reasons:
		if got != "clock set" { // a time service may have set the clock
			t.Errorf("wake with the reason %q", got)
		}
	case <-time.After(500 * time.Millisecond):
	}
}
