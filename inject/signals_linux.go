package inject

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// firstRealTime and lastRealTime are SIGRTMIN and SIGRTMAX as C libraries number them. No signal comes
// after them.
const firstRealTime, lastRealTime = 34, 64

// Signals is every signal sent to this process from CatchSignals on, so that none is lost or acted on
// between then and the start of a command.
type Signals struct {
	sent     chan os.Signal // to be forwarded
	children chan os.Signal // SIGCHLD: something changed, look at all
	broken   chan os.Signal // nobody listens: see CatchSignals
	relays   sigaction      // our own handler's
}

// CatchSignals takes over all signals that can be caught, but URG (Go's runtime uses it on itself).
// Call it once a process.
func CatchSignals() (*Signals, error) {
	s := &Signals{sent: make(chan os.Signal, 1024), children: make(chan os.Signal, 1), broken: make(chan os.Signal)}
	signal.Notify(s.children, unix.SIGCHLD)
	// A write of ours that meets a closed pipe is an error and no signal to pass on. Go's runtime would
	// make one of it, and end us if nobody had asked for it.
	signal.Notify(s.broken, unix.SIGPIPE)
	for n := syscall.Signal(1); n <= lastRealTime; n++ {
		switch {
		case n == unix.SIGKILL, n == unix.SIGSTOP, n == unix.SIGCHLD, n == unix.SIGURG, relayed(n):
		default:
			signal.Notify(s.sent, n)
		}
	}
	return s, s.relay()
}

// ignore makes some signals ignored, in us and in what we fork or become from now on. One case is out
// of reach: the runtime keeps PROF for its profiler, and sets it to its default in what is forked.
func ignore(some []os.Signal) {
	for _, sig := range some {
		if n := sig.(syscall.Signal); relayed(n) && n != unix.SIGPIPE { // that one the runtime knows of too
			_, _ = setAction(n, sigaction{handler: 1})
		} else {
			signal.Ignore(n)
		}
	}
}

// catch catches again what ignore ignored.
func (s *Signals) catch(some []os.Signal) {
	for _, sig := range some {
		switch n := sig.(syscall.Signal); {
		case n == unix.SIGCHLD:
			signal.Notify(s.children, n)
		case n == unix.SIGURG:
			signal.Reset(n)
		case n == unix.SIGPIPE:
			signal.Notify(s.broken, n)
			_, _ = setAction(n, s.relays)
		case relayed(n):
			_, _ = setAction(n, s.relays)
		default:
			signal.Notify(s.sent, n)
		}
	}
}

// Interrupted is a signal that asked us to end before there was a command to pass it on to.
type Interrupted struct{ Signal syscall.Signal }

func (e Interrupted) Error() string { return "stopped by " + signalName(e.Signal) }

// ExitCode is 128 plus the signal's number.
func (e Interrupted) ExitCode() int { return exitSignal + int(e.Signal) }

// Exit is how we are to end then.
func (e Interrupted) Exit() Exit { return exitBy(e.Signal) }

// mild are the signals that end nobody.
var mild = []syscall.Signal{unix.SIGCONT, unix.SIGWINCH, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU}

// Until runs what comes before the command. A signal that would end a program that neither catches it nor
// was started with it ignored cancels the context and is returned as Interrupted; any other stays for the command.
func (s *Signals) Until(ctx context.Context, prepare func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- prepare(ctx) }()
	var later []os.Signal
	defer func() {
		for _, sig := range later {
			select {
			case s.sent <- sig:
			default:
			}
		}
	}()
	for {
		select {
		case err := <-done:
			if cause := context.Cause(ctx); errors.As(cause, new(Interrupted)) {
				return cause
			}
			return err
		case sig := <-s.sent:
			switch {
			case slices.Contains(mild, sig.(syscall.Signal)), slices.Contains(startedIgnoring, sig):
				later = append(later, sig)
			default:
				cancel(Interrupted{sig.(syscall.Signal)})
			}
		}
	}
}

// What the handler of relaysig_linux_*.s reads. Set before it is installed.
var (
	relayPipe int32 //nolint:unused // where it writes; read by assembly
	ownPID    int32 //nolint:unused // whose SIGPIPE it drops; read by assembly
)

// relayHandler gives the addresses of the handler and of what the kernel runs after it.
func relayHandler() (handler, restorer uintptr)

// relayed tells of the signals that a handler of our own catches. Go's runtime keeps some from os/signal: the
// profiler's, two that C libraries use for threads, and SIGRTMIN. With SIGPIPE os/signal can't tell whether
// somebody sent it or a write of ours caused it.
func relayed(n syscall.Signal) bool {
	return n == unix.SIGPROF || n == unix.SIGPIPE || n >= 32 && n <= firstRealTime
}

// relay catches these with a handler of our own: it writes their numbers to a pipe, and a goroutine
// passes them on.
func (s *Signals) relay() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe for signals: %w", err)
	}
	// Only the writing side doesn't block: the handler may drop a signal, but never hang.
	if err := unix.SetNonblock(p[1], true); err != nil {
		return fmt.Errorf("pipe for signals: %w", err)
	}
	relayPipe, ownPID = int32(p[1]), int32(os.Getpid())
	go func() {
		var b [64]byte
		for {
			n, err := unix.Read(p[0], b[:])
			for _, sig := range b[:max(n, 0)] {
				s.sent <- syscall.Signal(sig)
			}
			if n == 0 || err != nil && err != unix.EINTR {
				return
			}
		}
	}()
	const withInfo, onStack, restart, hasRestorer = 0x4, 0x08000000, 0x10000000, 0x04000000
	handler, restorer := relayHandler()
	s.relays = sigaction{handler, withInfo | onStack | restart | hasRestorer, restorer, ^uint64(0)}
	for n := syscall.Signal(1); n <= lastRealTime; n++ {
		if relayed(n) {
			if _, err := setAction(n, s.relays); err != nil {
				return err
			}
		}
	}
	return nil
}

// sigaction is the kernel's struct sigaction, the same on amd64 and arm64.
type sigaction struct {
	handler  uintptr // 0: the default, 1: ignored
	flags    uint64
	restorer uintptr
	mask     uint64
}

// setAction is rt_sigaction(2) behind the runtime's back. It returns what was set before.
func setAction(n syscall.Signal, action sigaction) (old sigaction, err error) {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n),
		uintptr(unsafe.Pointer(&action)), uintptr(unsafe.Pointer(&old)), unsafe.Sizeof(action.mask), 0, 0)
	if errno != 0 {
		return old, fmt.Errorf("set action of %s: %w", signalName(n), errno)
	}
	return old, nil
}
