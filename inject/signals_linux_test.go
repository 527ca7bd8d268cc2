package inject_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

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
func playUntil(args []string) int {
	signals, err := inject.CatchSignals()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ctx := context.Background()
	prepared := errors.New("prepared")
	if slices.Equal(args, []string{"ignored"}) {
		err := signals.Until(ctx, func(ctx context.Context) error {
			_ = unix.Kill(unix.Getpid(), unix.SIGHUP)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
				return prepared
			}
		})
		if !errors.Is(err, prepared) {
			fmt.Printf("an ignored signal: got %v\n", err)
		}
		return 0
	}
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
	if err := signals.Until(ctx, breakPipe); !errors.Is(err, unix.EPIPE) {
		fmt.Printf("a closed pipe we write to: got %v, want what the preparing gave\n", err)
	}
	err = signals.Until(ctx, func(context.Context) error { return unix.Kill(unix.Getpid(), unix.SIGWINCH) })
	if err != nil {
		fmt.Printf("a change of window size: %v\n", err)
	}
	return 0
}

// breakPipe writes to a pipe and to a connection whose other ends are closed.
func breakPipe(ctx context.Context) error {
	var p [2]int
	if err := errors.Join(unix.Pipe(p[:]), unix.Close(p[0])); err != nil {
		return err
	}
	s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Close(s[0]); err != nil {
		return err
	}
	_, onPipe := unix.Write(p[1], []byte("x"))
	_, onSocket := unix.Write(s[1], []byte("x"))
	select {
	case <-ctx.Done(): // it was taken for somebody's wish
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
	}
	if !errors.Is(onPipe, unix.EPIPE) {
		return fmt.Errorf("pipe: %w", onPipe)
	}
	return onSocket
}

// TestUntilIgnores: what was ignored as we started doesn't end the preparing.
func TestUntilIgnores(t *testing.T) {
	c := under(t, "until", false, "ignored")
	c.Path, c.Args = "/bin/sh", []string{"sh", "-c", `trap '' HUP; exec "$0" ignored`, c.Path}
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
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
