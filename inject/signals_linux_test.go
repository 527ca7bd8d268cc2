package inject_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject"
)

func TestParseSignal(t *testing.T) {
	for in, want := range map[string]syscall.Signal{
		"TERM": 15, "SIGTERM": 15, "term": 15, " sighup ": 1, "9": 9, "64": 64, "RTMIN": 34, "SIGRTMIN": 34,
		"RTMIN+3": 37, "RTMAX": 64, "RTMAX-2": 62,
		"": 0, "0": 0, "65": 0, "-1": 0, "RTMIN-1": 0, "RTMAX+1": 0, "RTMIN+": 0, "FOO": 0, "SIG": 0, "RTMIN+x": 0,
	} {
		got, err := inject.ParseSignal(in)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("ParseSignal(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
}

// playUntil is a program that is sent signals before it has a command. It prints what goes wrong.
func playUntil() int {
	signals, err := inject.CatchSignals()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ctx := context.Background()
	prepared := errors.New("prepared")
	if err := signals.Until(ctx, func(context.Context) error { return prepared }); !errors.Is(err, prepared) {
		fmt.Printf("got %v, want what the preparing gave\n", err)
	}
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGUSR1, unix.SIGPROF, 34, 64} {
		err := signals.Until(ctx, func(ctx context.Context) error {
			if err := unix.Kill(unix.Getpid(), sig); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		})
		var interrupted inject.Interrupted
		if !errors.As(err, &interrupted) || interrupted.ExitCode() != 128+int(sig) {
			fmt.Printf("signal %d: got %v\n", sig, err)
		}
	}
	err = signals.Until(ctx, func(context.Context) error { return unix.Kill(unix.Getpid(), unix.SIGWINCH) })
	if err != nil {
		fmt.Printf("a change of window size: %v\n", err)
	}
	return 0
}

// TestUntil: a signal before there is a command ends the preparing, and says so.
func TestUntil(t *testing.T) {
	for _, way := range ways[2:] {
		t.Run(way.name, func(t *testing.T) {
			out, err := under(t, "until", way.pid1).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
